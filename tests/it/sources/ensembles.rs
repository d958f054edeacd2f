//! Ensembles and normalisers: members are reported and only the ensemble is fused.

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
