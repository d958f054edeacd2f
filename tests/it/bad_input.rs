//! Invalid input gets a clear error, and the rest of its batch is scored.

use guerdon_tests::{Reply, Server};
use serde_json::{Value, json};

async fn send(server: &Server, body: impl Into<reqwest::Body>) -> Reply {
    let request = server
        .http
        .post(format!("{}/v1/score", server.url))
        .header("content-type", "application/json");
    Reply::read(request.body(body).send().await.unwrap()).await
}

fn with_message(role: &str, content: &str) -> Value {
    json!({ "rollouts": [Server::rollout("480 ."), { "messages": [{ "role": role, "content": content }] }] })
}

#[tokio::test]
async fn invalid_request_is_refused_with_code_and_pointer() {
    let server = Server::new().await;
    let nan = r#"{"rollouts": [{"messages": [{"role": "assistant", "content": "a"}], "context": {"price": NaN}}]}"#;
    for (body, status, code, pointer) in [
        (nan.to_owned(), 400, "malformed_json", "/rollouts/0/context"),
        ("{".to_owned(), 400, "malformed_json", ""),
        ("{}".to_owned(), 422, "invalid_request", ""),
        (json!({ "rollouts": {} }).to_string(), 422, "invalid_request", "/rollouts"),
        (json!({ "rollouts": [], "rolouts": [] }).to_string(), 422, "invalid_request", "/rolouts"),
        (
            json!({ "rollouts": [], "fusion": { "bond": 1 } }).to_string(),
            422,
            "invalid_request",
            "/fusion",
        ),
        (
            json!({ "rollouts": [], "fusion": { "bound": 0 } }).to_string(),
            422,
            "invalid_request",
            "/fusion/bound",
        ),
        (
            json!({ "rollouts": [], "profile": "hotl" }).to_string(),
            422,
            "unknown_profile",
            "/profile",
        ),
        (
            json!({ "rollouts": [], "sources": ["rn"] }).to_string(),
            422,
            "unknown_source",
            "/sources/0",
        ),
        (
            json!({ "rollouts": [], "sources": ["rules"] }).to_string(),
            422,
            "fusion_needs_source",
            "/sources",
        ),
        (
            json!({ "rollouts": [], "advantages": { "estimator": "x" } }).to_string(),
            422,
            "invalid_request",
            "/advantages/estimator",
        ),
    ] {
        let reply = send(&server, body.clone()).await;
        let problem = reply.json();
        assert_eq!(reply.status, status, "{body}: {}", reply.text);
        assert_eq!(reply.headers["content-type"], "application/problem+json");
        assert_eq!(problem["code"], code, "{body}");
        let at = problem["pointer"].as_str().unwrap_or_default();
        assert!(at.starts_with(pointer), "{body}: {at} is not {pointer}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["instance"], "/v1/score");
        assert_eq!(problem["request_id"], reply.headers["x-request-id"].to_str().unwrap());
    }
    server.stop().await;
}

/// Bodies of rollouts that cannot be scored, each with the code and the pointer of its error, and
/// the id in its result.
const UNSCORABLE: [(&str, &str, &str, &str); 11] = [
    (r#"{"messages": [{"role": "user", "content": "a"}]}"#, "no_assistant_turn", "/messages", "1"),
    (r#"{"id": "x", "messages": []}"#, "no_assistant_turn", "/messages", "x"),
    (
        r#"{"messages": [{"role": "assistant", "content": "a"}], "score": [7]}"#,
        "no_assistant_turn",
        "/score/0",
        "1",
    ),
    (
        r#"{"messages": [{"role": "assistant", "content": "a"}], "score": "first"}"#,
        "invalid_request",
        "/score",
        "1",
    ),
    (
        r#"{"id": "x", "messages": [{"role": "robot", "content": "a"}]}"#,
        "invalid_request",
        "/messages/0/role",
        "x",
    ),
    (r#"{"mesages": [], "id": "x"}"#, "invalid_request", "", "x"),
    (
        r#"{"messages": [{"role": "assistant", "content": [3]}]}"#,
        "invalid_request",
        "/messages/0/content",
        "1",
    ),
    (
        r#"{"messages": [{"role": "assistant", "content": "half an emoji \ud83d"}], "id": "x"}"#,
        "malformed_json",
        "/messages/0/content",
        "x",
    ),
    (r#"{"messages": [], "context": {"price": 1e999}}"#, "malformed_json", "/context", "1"),
    ("null", "invalid_request", "", "1"),
    ("[[[]]]", "invalid_request", "", "1"),
];

#[tokio::test]
async fn invalid_rollout_fails_and_the_others_are_scored() {
    let server = Server::new().await;
    let good = Server::rollout("480 .").to_string();
    for (broken, code, pointer, id) in UNSCORABLE {
        for padding in [0, 200 << 10] {
            // The second body is large enough to be parsed on a blocking thread.
            let body =
                format!(r#"{{"rollouts": [{good}, {broken}, {good}]{}}}"#, " ".repeat(padding));
            let reply = send(&server, body).await;
            assert_eq!(reply.status, 200, "{broken}: {}", reply.text);
            let results = &reply.json()["results"];
            assert!(results[0]["reward"].is_number() && results[2]["reward"].is_number());
            assert!(results[1]["reward"].is_null(), "{results}");
            assert_eq!(results[1]["id"], id, "{broken}");
            let error = &results[1]["error"];
            assert_eq!(error["code"], code, "{broken}: {error}");
            let at = error["pointer"].as_str().unwrap();
            assert!(at.starts_with(&format!("/rollouts/1{pointer}")), "{broken}: {error}");
        }
    }
    let misspelt = send(&server, r#"{"rollouts": [{"mesages": []}]}"#).await.json();
    assert_eq!(misspelt["results"][0]["error"]["hint"], "did you mean `messages`?");
    server.stop().await;
}

#[tokio::test]
async fn rollouts_with_a_duplicate_id_fail_and_the_others_are_scored() {
    let server = Server::new().await;
    let with_id = |id: &str| {
        let mut rollout = Server::rollout("480 .");
        rollout["id"] = json!(id);
        rollout
    };
    let request = json!({ "rollouts": [with_id("a"), with_id("b"), with_id("a")] });
    let results = server.score(&request).await["results"].clone();
    for (index, other) in [(0, 2), (2, 0)] {
        let result = &results[index];
        assert!(result["reward"].is_null(), "{result}");
        assert_eq!(result["id"], "a");
        assert_eq!(result["error"]["pointer"], format!("/rollouts/{index}/id"));
        assert!(result["error"]["detail"].as_str().unwrap().contains(&format!("rollout {other}")));
    }
    assert!(results[1]["reward"].is_number(), "{results}");
    server.stop().await;
}

#[tokio::test]
async fn batch_in_which_every_rollout_fails_returns_200() {
    let server = Server::new().await;
    let reply = server.score(&json!({ "rollouts": [{}, 1, { "messages": [] }] })).await;
    let results = reply["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    assert!(results.iter().all(|result| result["reward"].is_null() && result["error"].is_object()));
    assert_eq!(reply["versions"]["generation"], 1);
    server.stop().await;
}

#[tokio::test]
async fn unscored_group_member_does_not_change_the_advantages() {
    let server = Server::new().await;
    let sample = |reply: &str| {
        let mut rollout = Server::rollout(reply);
        rollout["group"] = json!("p");
        rollout
    };
    for estimator in ["dr_grpo", "batch_std"] {
        let good = [sample("see the work order ."), sample("480 .")];
        let broken = [json!({ "group": "p", "messages": "x" }), json!(3)];
        let advantages = async |rollouts: Vec<Value>| {
            let request = json!({
                "rollouts": rollouts, "sources": ["rules"],
                "fusion": { "method": "weighted_sum" }, "advantages": { "estimator": estimator },
            });
            let results = server.score(&request).await["results"].clone();
            let of = |result: &Value| result["advantage"].as_f64();
            results.as_array().unwrap().iter().map(of).collect::<Vec<_>>()
        };
        let alone = advantages(good.to_vec()).await;
        assert!(alone.iter().all(Option::is_some), "{alone:?}");
        let together = advantages([&good[..], &broken[..]].concat()).await;
        assert_eq!(together, [&alone[..], &[None, None]].concat(), "{estimator}");
    }
    server.stop().await;
}

#[tokio::test]
async fn message_of_10_mb_fails_and_the_others_are_scored() {
    let server = Server::new().await;
    let reply = server.score(&with_message("assistant", &"a".repeat(10 << 20))).await;
    assert!(reply["results"][0]["reward"].is_number());
    let broken = &reply["results"][1];
    assert!(broken["reward"].is_null());
    assert_eq!(broken["error"]["code"], "rollout_too_large");
    assert_eq!(broken["error"]["pointer"], "/rollouts/1/messages/0/content");
    assert!(broken["error"]["detail"].as_str().unwrap().contains("1048576"));
    server.stop().await;
}

#[tokio::test]
async fn body_or_batch_over_the_limit_is_refused_with_the_limit() {
    let server = Server::with("[limits]\nmax_body_bytes = 2000\nmax_rollouts = 2\n", &[]).await;
    let large = send(&server, with_message("assistant", &"a".repeat(3000)).to_string()).await;
    assert_eq!((large.status, large.json()["code"].as_str()), (413, Some("too_large")));
    assert!(large.text.contains("2000"), "{}", large.text);
    let many =
        server.post("/v1/score", &json!({ "rollouts": vec![Server::rollout("a"); 3] })).await;
    assert_eq!((many.status, many.json()["pointer"].as_str()), (413, Some("/rollouts")));
    server.stop().await;
}

#[tokio::test]
async fn unknown_path_method_and_media_type_return_problem_json() {
    let server = Server::new().await;
    let nowhere = server.get("/v2/score").await;
    assert_eq!((nowhere.status, nowhere.json()["code"].as_str()), (404, Some("not_found")));
    let wrong = server.get("/v1/score").await;
    assert_eq!((wrong.status, wrong.json()["code"].as_str()), (405, Some("method_not_allowed")));
    let form =
        server.http.post(format!("{}/v1/score", server.url)).body("a=b").send().await.unwrap();
    assert_eq!(form.status(), 415);
    let packed =
        server.http.post(format!("{}/v1/score", server.url)).header("content-encoding", "br");
    let packed = Reply::read(packed.json(&json!({ "rollouts": [] })).send().await.unwrap()).await;
    assert_eq!(
        (packed.status, packed.json()["code"].as_str()),
        (415, Some("unsupported_media_type"))
    );
    assert_eq!(wrong.headers["allow"], "POST");
    server.stop().await;
}

#[tokio::test]
async fn rules_check_runs_a_pack_without_installing_it() {
    let server = Server::new().await;
    let rollouts = json!([Server::rollout("see the work order .")]);
    let fine = json!({ "packs": [{ "name": "words.yaml", "text": Server::pack() }], "rollouts": rollouts });
    let checked = server.post("/v1/rules/check", &fine).await.json();
    assert_eq!(checked["ok"], true);
    assert_eq!(checked["results"][0]["turns"][0]["rules"]["hits"][0]["rule"], "internal");
    let broken = json!({ "packs": [{ "name": "words.yaml", "text": Server::pack().replace("points: -50", "pionts: -50") }] });
    let checked = server.post("/v1/rules/check", &broken).await.json();
    assert_eq!(checked["ok"], false);
    assert!(checked["report"].as_str().unwrap().contains("words.yaml:"), "{checked}");
    assert!(!checked["diagnostics"].as_array().unwrap().is_empty());
    assert_eq!(server.get("/v1/info").await.json()["generation"], 1);
    server.stop().await;
}
