//! Replies in the formats of serving engines, except classifications: pairs, ranks, vectors, and
//! health.

use guerdon_tests::Server;
use serde_json::{Value, json};

use super::recorded::{LEAKED, expected, recording, replies};
use super::{near, ok, server, sigmoid};

#[tokio::test]
async fn vllm_score_pairs_are_scored_as_prompt_and_reply() {
    let server = server().await;
    let replies = replies(&server, recording!("vllm-pairs")).await;
    let (leaked, price) = (expected(&server, LEAKED).await, expected(&server, "480 .").await);
    for (reply, wanted) in replies.iter().zip([
        vec![sigmoid(leaked), sigmoid(price)],
        vec![leaked, price],
        vec![leaked],
    ]) {
        let scores = reply["data"].as_array().unwrap();
        assert_eq!(scores.len(), wanted.len(), "{reply}");
        for (index, (score, wanted)) in scores.iter().zip(wanted).enumerate() {
            assert_eq!((&score["index"], &score["object"]), (&json!(index), &json!("score")));
            assert!(near(&score["score"], wanted), "{reply}");
        }
        assert!(reply["usage"]["prompt_tokens"].as_u64().unwrap() > 0, "{reply}");
    }
    server.stop().await;
}

#[tokio::test]
async fn vllm_pooling_returns_a_vector_with_one_reward() {
    let server = server().await;
    let replies = replies(&server, recording!("vllm-pairs")).await;
    let wanted = expected(&server, LEAKED).await;
    assert!(near(&replies[3]["data"][0]["data"][0], wanted), "{}", replies[3]);
    assert!(near(&replies[4]["data"][0]["data"][0], sigmoid(wanted)), "{}", replies[4]);
    assert_eq!(replies[4]["data"][0]["object"], "pooling");
    server.stop().await;
}

#[tokio::test]
async fn different_numbers_of_queries_and_documents_are_refused() {
    let server = server().await;
    let refused = server
        .post("/score", &json!({ "queries": ["a", "b"], "documents": ["1", "2", "3"] }))
        .await;
    assert_eq!(
        (refused.status, refused.json()["pointer"].as_str()),
        (422, Some("/documents")),
        "{}",
        refused.text
    );
    server.stop().await;
}

#[tokio::test]
async fn rerank_sorts_best_first_in_the_format_of_each_engine() {
    let server = server().await;
    let replies = replies(&server, recording!("rerank")).await;
    let (leaked, price) = (expected(&server, LEAKED).await, expected(&server, "480 .").await);
    assert!(price > leaked, "the recording's first text is the worse one");
    let [squashed, raw, infinity, vllm] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(
        (&squashed[0]["index"], &squashed[1]["index"]),
        (&json!(1), &json!(0)),
        "{squashed}"
    );
    assert!(
        near(&squashed[0]["score"], sigmoid(price)) && squashed[0].get("text").is_none(),
        "{squashed}"
    );
    assert!(near(&raw[1]["score"], leaked) && raw[1]["text"] == LEAKED, "{raw}");
    assert_eq!(infinity["results"].as_array().unwrap().len(), 1, "top_n: {infinity}");
    assert_eq!(infinity["results"][0]["document"], "480 .", "{infinity}");
    assert!(near(&infinity["results"][0]["relevance_score"], price), "{infinity}");
    assert_eq!(vllm["results"][1]["document"]["text"], LEAKED, "{vllm}");
    assert!(near(&vllm["results"][1]["relevance_score"], sigmoid(leaked)), "{vllm}");
    server.stop().await;
}

#[tokio::test]
async fn rerank_orders_by_raw_reward_when_sigmoids_are_equal() {
    let toml = format!(
        "default_profile = \"far\"\n{}\n[profiles.far]\nmodel = \"tiny\"\nrules = [\"rules.yaml\"]\n[profiles.far.fusion]\n\
         method = \"weighted_sum\"\nweights = {{ rm = 1000.0 }}\n",
        Server::config()
    );
    let server = Server::from_config(&toml, &[]).await;
    let texts = ["480 .", "see the work order .", "we guarantee it .", "no"];
    let ranks = |raw| json!({ "query": super::ASKED, "texts": texts, "raw_scores": raw });
    let (raw, squashed) =
        (ok(&server, "/rerank", &ranks(true)).await, ok(&server, "/rerank", &ranks(false)).await);
    let scores: Vec<f64> =
        raw.as_array().unwrap().iter().map(|rank| rank["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a > b), "{raw}");
    let order = |ranks: &Value| -> Vec<u64> {
        ranks.as_array().unwrap().iter().map(|rank| rank["index"].as_u64().unwrap()).collect()
    };
    assert_eq!(order(&raw), order(&squashed));
    server.stop().await;
}

#[tokio::test]
async fn rerank_puts_unscored_reply_last_with_on_failure_null() {
    let server = super::with_limits("[limits]\nmax_message_bytes = 100\n").await;
    let body = json!({ "query": super::ASKED, "texts": ["x".repeat(101), "480 .".to_owned()] });
    assert_eq!(server.post("/rerank", &body).await.status, 503);
    let ranked = ok(&server, "/rerank?on_failure=null", &body).await;
    assert_eq!((&ranked[0]["index"], &ranked[1]["score"]), (&json!(1), &Value::Null), "{ranked}");
    server.stop().await;
}

#[tokio::test]
async fn profiles_are_listed_as_models_with_the_default_first() {
    let server = server().await;
    let listed = server.get("/v1/models").await.json();
    let names = |listed: &Value| -> Vec<String> {
        let models = listed["data"].as_array().unwrap();
        assert!(models.iter().all(|model| model["object"] == "model"), "{listed}");
        models.iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    };
    let info = server.get("/v1/info").await.json();
    let all = names(&listed);
    assert_eq!((&listed["object"], &json!(all[0])), (&json!("list"), &info["default_profile"]));
    let mut sorted = all.clone();
    sorted.sort();
    let profiles: Vec<_> = info["profiles"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(sorted, profiles);
    for name in &all {
        for path in [format!("/profiles/{name}/v1/models"), format!("/v1/models?profile={name}")] {
            assert_eq!(names(&server.get(&path).await.json()), [name.as_str()], "{path}");
        }
    }
    assert_eq!(server.get("/v1/models?profile=nowhere").await.status, 422);
    server.stop().await;
}

#[tokio::test]
async fn health_needs_no_token_and_info_needs_one() {
    let tokens =
        "[auth]\ntokens = [{ name = \"trainer\", env = \"TEST_TOKEN\", scopes = [\"score\"] }]\n";
    let server = super::with_limits(tokens).await;
    assert_eq!(server.get("/health").await.status, 200);
    assert_eq!(server.get("/info").await.status, 401);
    let info = server.get("/info?key=let-me-in-please").await.json();
    assert_eq!(
        (&info["model_id"], &info["model_type"]["reranker"]["id2label"]["0"]),
        (&json!("test"), &json!("LABEL_0"))
    );
    assert!(info["model_sha"].as_str().unwrap().starts_with("sha256:"), "{info}");
    assert_eq!(server.get("/info?key=let-me-in-please&profile=gatd").await.status, 422);
    server.stop().await;
}

#[tokio::test]
async fn nemo_gym_aggregates_match_the_recorded_ones() {
    let server = server().await;
    let recording: Value = serde_json::from_str(recording!("nemo-gym-metrics")).unwrap();
    let replies = replies(&server, recording!("nemo-gym-metrics")).await;
    for (request, reply) in recording["requests"].as_array().unwrap().iter().zip(&replies) {
        same(&request["reply"], reply, request["about"].as_str().unwrap());
    }
    server.stop().await;
}

#[tokio::test]
async fn aggregates_omit_failed_rollouts_and_duplicates_are_refused() {
    let server = server().await;
    let rollouts = json!([
        { "_ng_task_index": 0, "_ng_rollout_index": 0, "reward": 3.0 },
        { "_ng_task_index": 0, "_ng_rollout_index": 1, "reward": 0.0, "_ng_failure_class": "judge_failed" },
    ]);
    let metrics = ok(&server, "/aggregate_metrics", &json!({ "verify_responses": rollouts })).await;
    assert!(near(&metrics["key_metrics"]["mean/reward"], 3.0), "{metrics}");
    assert_eq!(metrics["group_level_metrics"][0]["num_rollouts"], 1, "{metrics}");
    let twice = json!({ "verify_responses": [rollouts[0], rollouts[0]] });
    let refused = server.post("/aggregate_metrics", &twice).await;
    assert_eq!(
        (refused.status, refused.json()["pointer"].as_str()),
        (422, Some("/verify_responses/1"))
    );
    server.stop().await;
}

/// Asserts that two JSON values are equal. Numbers are compared by value, because Python wrote
/// those of one side.
fn same(wanted: &Value, got: &Value, place: &str) {
    match (wanted, got) {
        (Value::Object(wanted), Value::Object(got)) => {
            let names = |object: &serde_json::Map<String, Value>| {
                object.keys().cloned().collect::<std::collections::BTreeSet<_>>()
            };
            assert_eq!(names(wanted), names(got), "{place}");
            for (name, wanted) in wanted {
                same(wanted, &got[name], &format!("{place}/{name}"));
            }
        }
        (Value::Array(wanted), Value::Array(got)) => {
            assert_eq!(wanted.len(), got.len(), "{place}");
            for (index, (wanted, got)) in wanted.iter().zip(got).enumerate() {
                same(wanted, got, &format!("{place}/{index}"));
            }
        }
        (Value::Number(wanted), got) => {
            assert!(near(got, wanted.as_f64().unwrap()), "{place}: {got} is not {wanted}");
        }
        _ => assert_eq!(wanted, got, "{place}"),
    }
}
