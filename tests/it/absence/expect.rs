//! A request that expects another configuration than the one that serves is refused with 409, on
//! every scoring route.

use guerdon_client::Client;
use guerdon_tests::{Reply, Server};
use guerdon_types::{ConfigDigest, ProblemCode, ScoreRequest};
use serde_json::{Value, json};

use crate::corpus::{recorded_posts, trainers_server};

const HEADER: &str = "x-guerdon-expect";

async fn digest(server: &Server, profile: &str) -> String {
    let info = server.get("/v1/info").await.json();
    info["profiles"][profile]["versions"]["digest"].as_str().unwrap().to_owned()
}

fn other() -> String {
    ConfigDigest::of("another configuration").to_string()
}

/// `POST path` with the header.
async fn post(server: &Server, path: &str, body: &Value, expected: &str) -> Reply {
    let url = format!("{}{path}", server.url);
    let sent = server.http.post(url).header(HEADER, expected).json(body).send();
    Reply::read(sent.await.unwrap()).await
}

#[tokio::test]
async fn request_is_served_by_the_expected_configuration_only() {
    let server = Server::new().await;
    let digest = digest(&server, "test").await;
    let expecting = |digest: &str| json!({ "rollouts": [Server::rollout("420 .")], "expect": { "digest": digest } });
    let reply = server.score(&expecting(&digest)).await;
    assert_eq!(reply["versions"]["digest"], json!(digest));
    let refused = server.post("/v1/score", &expecting(&other())).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    let problem = refused.json();
    assert_eq!(problem["code"], "conflict");
    assert_eq!(problem["pointer"], "/expect/digest");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(&digest) && detail.contains(&other()), "{detail}");

    let plain = json!({ "rollouts": [Server::rollout("420 .")] });
    assert_eq!(post(&server, "/v1/score", &plain, &digest).await.status, 200);
    assert_eq!(
        post(&server, "/v1/score", &plain, &digest.to_uppercase().replace("SHA", "sha"))
            .await
            .status,
        200
    );
    let refused = post(&server, "/v1/score", &plain, &other()).await;
    assert_eq!((refused.status, refused.json()["pointer"].clone()), (409, json!("")));
    for malformed in ["", "1", "sha256:1", "*"] {
        let refused = post(&server, "/v1/score", &plain, malformed).await;
        assert_eq!(refused.status, 422, "{malformed}: {}", refused.text);
        assert!(refused.json()["detail"].as_str().unwrap().contains(HEADER));
        let refused = server.post("/v1/score", &expecting(malformed)).await;
        assert_eq!(
            (refused.status, refused.json()["pointer"].clone()),
            (422, json!("/expect/digest"))
        );
    }
    let refused = post(&server, "/v1/score", &expecting(&digest), &other()).await;
    assert_eq!(refused.status, 422, "header and body differ: {}", refused.text);
    assert_eq!(server.get("/v1/info").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn changes_of_the_request_do_not_change_the_digest() {
    let server = Server::new().await;
    let digest = digest(&server, "test").await;
    let body = json!({
        "rollouts": [Server::rollout("420 .")], "sources": ["rules"],
        "fusion": { "method": "weighted_sum", "bound": 7 }, "expect": { "digest": digest },
    });
    assert_eq!(server.score(&body).await["versions"]["digest"], json!(digest));
    server.stop().await;
}

/// Routes of trainers' protocols that score nothing.
const SCORES_NOTHING: [&str; 2] = ["/seed_session", "/aggregate_metrics"];

#[tokio::test]
async fn every_scoring_route_refuses_another_configuration() {
    let (_judges, server) = trainers_server().await;
    let mut refused = 0;
    for name in ["trainers", "trainers_forms", "trainers_under_profile"] {
        for (path, body) in recorded_posts(name) {
            let scores = !SCORES_NOTHING.iter().any(|route| path.ends_with(route));
            let profile = if path.starts_with("/profiles/gated") { "gated" } else { "test" };
            let right = post(&server, &path, &body, &digest(&server, profile).await).await;
            let wrong = post(&server, &path, &body, &other()).await;
            assert_eq!(right.status, 200, "{path} {body}: {}", right.text);
            if scores && wrong.status != 200 {
                assert_eq!(wrong.status, 409, "{path} {body}: {}", wrong.text);
                assert_eq!(wrong.json()["code"], "conflict", "{path}: {}", wrong.text);
                refused += 1;
            } else {
                assert_eq!(wrong.text, right.text, "{path} {body}");
            }
        }
    }
    assert!(refused > 60, "{refused} requests were refused");
    server.stop().await;
}

#[tokio::test]
async fn client_with_an_expected_digest_is_refused_by_another_configuration() {
    let server = Server::new().await;
    let rollouts = vec![serde_json::from_value(Server::rollout("420 .")).unwrap()];
    let request = ScoreRequest { rollouts, ..ScoreRequest::default() };
    let client = |digest: &str| Client::builder(&server.url).expect_digest(digest).build().unwrap();
    let digest = digest(&server, "test").await;
    let scored = client(&digest).score(&request).await.unwrap();
    assert_eq!(scored.one_version().unwrap().digest.as_deref(), Some(digest.as_str()));
    let error = client(&other()).score(&request).await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, ProblemCode::Conflict);
    assert!(!error.is_transient(), "a retry does not help");
    assert!(client(&other()).stream(&request).await.is_err());
    server.stop().await;
}

/// While a candidate serves a share of the requests, an expected digest chooses the generation.
#[tokio::test]
async fn expected_digest_chooses_between_the_current_generation_and_the_candidate() {
    for share in ["0.5", "0.0"] {
        let config = format!("{}[reload]\nwatch = false\nshare = {share}\n", Server::config());
        let server = Server::from_config(&config, &[]).await;
        let current = digest(&server, "test").await;
        server.replace("rules.yaml", &Server::pack().replace("points: -50", "points: -5"));
        let reply = server.post("/v1/reload", &json!({})).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let request = |digest: &str| json!({ "rollouts": [Server::rollout("420 .")], "expect": { "digest": digest } });
        for _ in 0..20 {
            let reply = server.score(&request(&current)).await;
            assert_eq!(reply["versions"]["generation"], 1);
            assert_eq!(reply["versions"]["digest"], json!(current));
            assert_eq!(reply["results"][0]["turns"][0]["beside"]["generation"], 2);
        }
        let twin = Server::from_config(
            &config,
            &[("rules.yaml", &Server::pack().replace("points: -50", "points: -5"))],
        )
        .await;
        let candidate = digest(&twin, "test").await;
        assert_ne!(candidate, current);
        for _ in 0..20 {
            let reply = server.post("/v1/score", &request(&candidate)).await;
            if share == "0.0" {
                assert_eq!(reply.status, 409, "the candidate serves nothing: {}", reply.text);
            } else {
                assert_eq!(reply.json()["versions"]["generation"], 2, "{}", reply.text);
            }
        }
        twin.stop().await;
        server.stop().await;
    }
}
