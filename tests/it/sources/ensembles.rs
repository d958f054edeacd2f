//! Ensembles and normalisers: members are reported and only the ensemble is fused.

use guerdon_testing::{ServerReply, StandInServer};
use guerdon_tests::Server;
use serde_json::{Value, json};

use super::{near, server};

/// The tiny model three times, with three scales, and an ensemble as the base.
fn profile(combine: &str) -> String {
    let member = |name: &str, scale: f64| {
        format!(
            "[profiles.test.sources.{name}]\nkind = \"model\"\nmodel = \"tiny\"\nscale = {scale}\n"
        )
    };
    format!(
        "{}{}{}[profiles.test.sources.all]\nkind = \"ensemble\"\nof = [\"a\", \"b\", \"c\"]\n{combine}\n\
         [profiles.test.sources.rules]\nkind = \"rules\"\nrules = [\"tone.yaml\"]\n",
        member("a", 1.0),
        member("b", 2.0),
        member("c", 6.0),
    )
}

async fn turn(server: &Server, text: &str) -> Value {
    let reply = server.score(&json!({ "rollouts": [Server::rollout(text)] })).await;
    reply["results"][0]["turns"][0].clone()
}

#[tokio::test]
async fn ensemble_is_the_base_and_its_members_are_reported() {
    for (combine, value) in [
        ("combine = \"mean\"", 3.0),
        ("combine = \"median\"", 2.0),
        ("combine = \"lcb\"\nk = 0", 3.0),
    ] {
        let server = server(&profile(combine)).await;
        let turn = turn(&server, "whatever .").await;
        let parts = &turn["parts"];
        let raw = parts["a"]["value"].as_f64().unwrap();
        assert!(near(&parts["all"]["value"], value * raw), "{combine}: {parts}");
        assert_eq!(parts["b"]["role"], "member");
        assert!(near(&parts["all"]["components"]["c"], 6.0 * raw), "{parts}");
        let wanted = raw.abs() * 7.0_f64.sqrt();
        let uncertainty = parts["all"]["uncertainty"].as_f64().unwrap();
        assert!((uncertainty - wanted).abs() < 1e-9, "{uncertainty} is not {wanted}");
        let base = value * raw;
        assert!(near(&turn["reward"], base - base.abs() * 0.3), "{combine}: {turn}");
        server.stop().await;
    }
}

#[tokio::test]
async fn naming_an_ensemble_asks_its_members() {
    let server = server(&profile("")).await;
    let body = json!({ "rollouts": [Server::rollout("whatever .")], "sources": ["all"] });
    let reply = server.score(&body).await;
    let turn = &reply["results"][0]["turns"][0];
    assert_eq!(turn["reward"], turn["parts"]["all"]["value"]);
    assert_eq!(turn["parts"].as_object().unwrap().len(), 4);
    let refused = server.post("/v1/score", &json!({ "rollouts": [], "sources": ["a"] })).await;
    assert!(refused.text.contains("a member counts in its ensemble"), "{}", refused.text);
    server.stop().await;
}

#[tokio::test]
async fn normaliser_changes_the_term_and_leaves_the_value() {
    let profile = "[profiles.test.sources.rm]\nkind = \"model\"\nmodel = \"tiny\"\n\
                   normalise = { kind = \"par\", reference = 0.5 }\n\
                   [profiles.test.sources.length]\nkind = \"rules\"\nrules = [\"tone.yaml\"]\n\
                   normalise = { kind = \"length_debias\", slope = -1, mean_length = 4 }\n";
    let server = server(profile).await;
    let turn = turn(&server, "whatever .").await;
    let (rm, length) = (&turn["parts"]["rm"], &turn["parts"]["length"]);
    let raw = rm["value"].as_f64().unwrap();
    let preference = 1.0 / (1.0 + (0.5 - raw).exp());
    assert!(near(&rm["normalised"], preference), "{rm}");
    // -30 for the rule, and 1 for each of the 6 characters beyond 4.
    assert!(near(&length["value"], -30.0) && near(&length["normalised"], -24.0), "{length}");
    assert!(near(&turn["reward"], preference * 0.76), "{turn}");
    server.stop().await;
}

#[tokio::test]
async fn moments_of_an_online_normaliser_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let profile = |count: u32| {
        let state = folder.path().join("tone.json");
        format!(
            "[profiles.test.fusion]\nmethod = \"weighted_sum\"\n\
             [profiles.test.sources.tone]\nkind = \"rules\"\nrules = [\"tone.yaml\"]\n\
             normalise_state = \"{}\"\n\
             normalise = {{ kind = \"running\", count = {count}, mean = -3, m2 = 2, online = true }}\n",
            state.display()
        )
    };
    let ask = async |server: &Server| {
        let reply = server.score(&json!({ "rollouts": [Server::rollout("whatever .")] })).await;
        let normaliser = reply["versions"]["settings"]["sources"]["tone"]["normalise"].clone();
        let digest = reply["versions"]["digest"].as_str().unwrap().to_owned();
        (normaliser["count"].as_u64().unwrap(), reply["results"][0]["reward"].as_f64(), digest)
    };
    let first = server(&profile(2)).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(ask(&first).await);
    }
    first.stop().await;
    let second = server(&profile(2)).await;
    seen.push(ask(&second).await);
    second.stop().await;
    let counts: Vec<u64> = seen.iter().map(|(count, ..)| *count).collect();
    assert_eq!(counts, [2, 3, 4, 5, 6]);
    assert!(seen.windows(2).all(|pair| pair[0].1 < pair[1].1), "-30 becomes usual: {seen:?}");
    assert!(seen.iter().all(|one| one.2 == seen[0].2), "the digest has the configured moments");
    // Other configured moments are another configuration, and begin anew.
    let third = server(&profile(7)).await;
    let (count, _, digest) = ask(&third).await;
    third.stop().await;
    assert_eq!(count, 7);
    assert_ne!(digest, seen[0].2);
}

#[tokio::test]
async fn abstention_of_an_ensemble_is_counted_beside_that_of_its_member() {
    let silent = json!({ "version": "1", "results": [{ "abstain": "no price" }] });
    let function = StandInServer::start([ServerReply::body(200, silent.to_string())]).await;
    let profile = format!(
        "[profiles.test.sources.a]\nkind = \"model\"\nmodel = \"tiny\"\n\
         [profiles.test.sources.b]\nkind = \"http\"\nurl = \"{}/score\"\n\
         [profiles.test.sources.all]\nkind = \"ensemble\"\nof = [\"a\", \"b\"]\ncombine = \"mean\"\n",
        function.url()
    );
    let server = server(&profile).await;
    assert_eq!(turn(&server, "480 .").await["reward"], Value::Null);
    let metrics = server.get("/metrics").await.text;
    let of = |source: &str| {
        let counts = |line: &&str| {
            line.starts_with("guerdon_abstentions_total{")
                && line.contains(&format!("source=\"{source}\""))
                && line.ends_with(" 1")
        };
        metrics.lines().filter(counts).count()
    };
    assert_eq!((of("a"), of("b"), of("all")), (0, 1, 1), "{metrics}");
    server.stop().await;
}
