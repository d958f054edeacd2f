//! Recorded requests of each client, and the fields of the reply that it reads.

use guerdon_tests::{Reply, Server};
use serde_json::{Value, json};

use super::{names, near, reward, server, sigmoid, unrecognised};

/// Sends a recorded request to a server that requires no token.
async fn send(server: &Server, request: &Value) -> Reply {
    let method = request["method"].as_str().unwrap().parse().unwrap();
    let url = format!("{}{}", server.url, request["path"].as_str().unwrap());
    let mut sent = server.http.request(method, url).json(&request["body"]);
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        sent = sent.header(name, value.as_str().unwrap());
    }
    Reply::read(sent.send().await.unwrap()).await
}

/// Sends all requests of a recording and returns the replies, each of which must be a 200.
pub(super) async fn replies(server: &Server, recording: &str) -> Vec<Value> {
    let recording: Value = serde_json::from_str(recording).unwrap();
    let mut replies = Vec::new();
    for request in recording["requests"].as_array().unwrap() {
        let reply = send(server, request).await;
        assert_eq!(reply.status, 200, "{}: {}", recording["client"], reply.text);
        replies.push(reply.json());
    }
    replies
}

/// The reward from `/v1/score` of the recorded dialogue.
pub(super) async fn expected(server: &Server, reply: &str) -> f64 {
    let messages = json!([
        { "role": "system", "content": "You negotiate room prices." },
        { "role": "user", "content": "480 is our best price ." },
        { "role": "assistant", "content": reply },
    ]);
    let scored = server.score(&json!({ "rollouts": [{ "messages": messages }] })).await;
    scored["results"][0]["reward"].as_f64().unwrap()
}

pub(super) const LEAKED: &str = "see the work order .";

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("recorded/", $name, ".json"))
    };
}
pub(super) use recording;

#[tokio::test]
async fn openrlhf_query_is_scored_as_the_dialogue() {
    let server = server().await;
    let replies = replies(&server, recording!("openrlhf")).await;
    assert!(near(&replies[0]["rewards"][0], expected(&server, LEAKED).await), "{}", replies[0]);
    assert!(near(&replies[0]["extra_logs"]["rules"][0], -50.0), "{}", replies[0]);
    assert!(near(&replies[0]["extra_logs"]["recognised"][0], 1.0), "{}", replies[0]);
    server.stop().await;
}

#[tokio::test]
async fn align_anything_prompts_and_responses_are_scored_as_the_dialogue() {
    let server = server().await;
    let replies = replies(&server, recording!("align-anything")).await;
    assert!(near(&replies[0]["rewards"][0], expected(&server, LEAKED).await), "{}", replies[0]);
    server.stop().await;
}

#[tokio::test]
async fn slime_reply_body_is_one_number() {
    let server = server().await;
    let replies = replies(&server, recording!("slime")).await;
    assert!(near(&replies[0], expected(&server, LEAKED).await), "{}", replies[0]);
    assert!(
        near(&replies[1], reward(&server, LEAKED).await),
        "a prompt of messages: {}",
        replies[1]
    );
    server.stop().await;
}

#[tokio::test]
async fn slime_dict_reply_has_the_reward_under_its_key() {
    let server = server().await;
    let body = json!({ "prompt": super::ASKED, "response": LEAKED, "label": null });
    let dict = super::ok(&server, "/rm?reply=dict", &body).await;
    assert!(near(&dict["reward"], reward(&server, LEAKED).await), "{dict}");
    assert!(dict.as_object().unwrap().values().all(Value::is_number), "{dict}");
    server.stop().await;
}

#[tokio::test]
async fn verl_gets_the_raw_reward_from_classify_and_embeddings() {
    let server = server().await;
    let replies = replies(&server, recording!("verl")).await;
    let wanted = expected(&server, LEAKED).await;
    assert!(near(&replies[0]["data"][0]["probs"][0], wanted), "{}", replies[0]);
    assert!(near(&replies[1]["data"][0]["embedding"][0], wanted), "{}", replies[1]);
    server.stop().await;
}

#[tokio::test]
async fn vllm_classify_scores_texts_and_conversations_equally() {
    let server = server().await;
    let replies = replies(&server, recording!("vllm")).await;
    let wanted = sigmoid(expected(&server, LEAKED).await);
    for reply in &replies {
        assert!(near(&reply["data"][0]["probs"][0], wanted), "{reply}");
        assert_eq!(
            (&reply["object"], &reply["data"][0]["num_classes"]),
            (&json!("list"), &json!(1))
        );
        assert!(reply["usage"]["prompt_tokens"].as_u64().unwrap() > 0, "{reply}");
    }
    server.stop().await;
}

#[tokio::test]
async fn sglang_returns_an_object_for_a_text_and_a_list_for_a_list() {
    let server = server().await;
    let replies = replies(&server, recording!("sglang")).await;
    let wanted = expected(&server, LEAKED).await;
    assert!(near(&replies[0]["embedding"][0], wanted), "{}", replies[0]);
    assert!(near(&replies[1][0]["embedding"][0], wanted), "{}", replies[1]);
    assert_eq!(replies[1].as_array().unwrap().len(), 2);
    assert!(replies[0]["meta_info"]["prompt_tokens"].as_u64().unwrap() > 0, "{}", replies[0]);
    server.stop().await;
}

#[tokio::test]
async fn infinity_returns_a_list_of_labels_for_each_text() {
    let server = server().await;
    let replies = replies(&server, recording!("infinity")).await;
    assert_eq!(replies[0]["object"], "classify");
    assert!(
        near(&replies[0]["data"][0][0]["score"], expected(&server, LEAKED).await),
        "{}",
        replies[0]
    );
    assert_eq!(replies[0]["data"].as_array().unwrap().len(), 2);
    assert!(replies[0]["usage"]["total_tokens"].is_u64() && replies[0]["model"].is_string());
    server.stop().await;
}

#[tokio::test]
async fn tei_returns_labels_and_scores_a_pair_as_prompt_and_response() {
    let server = server().await;
    let replies = replies(&server, recording!("tei")).await;
    assert!(
        near(&replies[0][0]["score"], sigmoid(expected(&server, LEAKED).await)),
        "{}",
        replies[0]
    );
    assert!(near(&replies[1][0][0]["score"], expected(&server, LEAKED).await), "{}", replies[1]);
    assert!(near(&replies[1][1][0]["score"], expected(&server, "480 .").await), "{}", replies[1]);
    server.stop().await;
}

#[tokio::test]
async fn hugging_face_client_gets_a_list_for_each_text() {
    let server = server().await;
    let replies = replies(&server, recording!("huggingface-hub")).await;
    let wanted = expected(&server, LEAKED).await;
    assert!(near(&replies[0][0][0]["score"], sigmoid(wanted)), "{}", replies[0]);
    assert!(near(&replies[1][0][0]["score"], wanted), "{}", replies[1]);
    assert!(replies[0][0][0]["label"].is_string());
    server.stop().await;
}

#[tokio::test]
async fn llama_factory_padding_is_removed_before_scoring() {
    let server = server().await;
    let replies = replies(&server, recording!("llama-factory")).await;
    let wanted = [expected(&server, LEAKED).await, expected(&server, "480 .").await];
    for (score, wanted) in replies[0]["scores"].as_array().unwrap().iter().zip(wanted) {
        assert!(near(score, wanted), "{}", replies[0]);
    }
    server.stop().await;
}

#[tokio::test]
async fn nemo_gym_verify_echoes_the_request_and_scores_the_last_message() {
    let server = server().await;
    let recording: Value = serde_json::from_str(recording!("nemo-gym")).unwrap();
    let replies = replies(&server, recording!("nemo-gym")).await;
    assert_eq!(replies[0], json!({}));
    let (sent, verified) = (&recording["requests"][1]["body"], &replies[1]);
    for (name, value) in sent.as_object().unwrap() {
        assert_eq!(&verified[name], value, "{name} is echoed");
    }
    // The model reads the results of tools. Reasoning and tool calls are not part of the dialogue.
    let messages = json!([
        { "role": "system", "content": "You negotiate room prices." },
        { "role": "user", "content": "480 is our best price ." },
        { "role": "tool", "content": "400 last year" },
        { "role": "assistant", "content": LEAKED },
    ]);
    let scored = server.score(&json!({ "rollouts": [{ "messages": messages }] })).await;
    assert!(
        near(&verified["reward"], scored["results"][0]["reward"].as_f64().unwrap()),
        "{verified}"
    );
    assert!(near(&verified["rules"], -50.0), "parts are metrics: {verified}");
    assert_eq!(server.get("/reverify_mode").await.json(), "stateless");
    server.stop().await;
}

#[tokio::test]
async fn reward_kit_metrics_are_between_0_and_1_with_a_reason() {
    let server = server().await;
    let replies = replies(&server, recording!("reward-kit")).await;
    let result = &replies[0];
    assert!(near(&result["score"], reward(&server, LEAKED).await), "{result}");
    assert!(near(&result["metrics"]["rules"]["score"], 0.25), "{result}");
    assert_eq!(result["metrics"]["rules"]["success"], true);
    assert!(
        result["metrics"]["rules"]["reason"].as_str().unwrap().contains("words/internal"),
        "{result}"
    );
    assert!((0.0..=1.0).contains(&result["metrics"]["rm"]["score"].as_f64().unwrap()), "{result}");
    server.stop().await;
}

#[tokio::test]
async fn eval_protocol_steps_are_the_scored_turns() {
    let server = server().await;
    let replies = replies(&server, recording!("eval-protocol")).await;
    assert_eq!(replies[0]["step_outputs"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&replies[0]["step_outputs"][0]["step_index"], &replies[0]["is_score_valid"]),
        (&json!(3), &json!(true))
    );
    let recording: Value = serde_json::from_str(recording!("eval-protocol")).unwrap();
    let all = super::ok(&server, "/evaluate?score=all", &recording["requests"][0]["body"]).await;
    assert_eq!(all["step_outputs"].as_array().unwrap().len(), 2, "{all}");
    assert_eq!(
        all["score"], all["step_outputs"][1]["base_reward"],
        "the last turn's, as the profile says"
    );
    server.stop().await;
}

#[tokio::test]
async fn eval_protocol_unscored_rollout_is_marked_invalid() {
    let server = server().await;
    let body = json!({ "messages": [{ "role": "assistant", "content": "480 ." }] });
    let unscored = super::ok(&server, "/evaluate?profile=strict", &body).await;
    assert_eq!(unscored["is_score_valid"], false, "{unscored}");
    assert!(!unscored["error"].as_str().unwrap().is_empty(), "{unscored}");
    assert_eq!(unscored["metrics"]["judge"]["is_score_valid"], false, "{unscored}");
    server.stop().await;
}

#[tokio::test]
async fn roll_task_is_submitted_and_its_result_polled() {
    let server = server().await;
    let recording: Value = serde_json::from_str(recording!("roll")).unwrap();
    let submitted = send(&server, &recording["requests"][0]).await.json();
    assert_eq!(submitted["errcode"], 0, "{submitted}");
    let mut question = recording["requests"][1].clone();
    question["body"]["reward_request_id"] = submitted["reward_request_id"].clone();
    for _ in 0..2 {
        let result = send(&server, &question).await.json();
        assert_eq!(result["errcode"], 0, "{result}");
        assert!(near(&result["reward_score"], expected(&server, LEAKED).await), "{result}");
        assert!(result["dimention_reward_score"]["rules"]["score"].is_number(), "{result}");
    }
    question["body"]["reward_request_id"] = json!("unknown");
    let unknown = send(&server, &question).await.json();
    assert_eq!(
        (&unknown["errcode"], &unknown["reward_score"]),
        (&json!(0), &Value::Null),
        "{unknown}"
    );
    server.stop().await;
}

#[tokio::test]
async fn roll_task_that_cannot_be_scored_ends_without_a_score() {
    let server = server().await;
    let body = json!({ "prompt": super::ASKED, "response": "480 .", "timeout": 300 });
    let submitted = super::ok(&server, "/submit_task?profile=strict", &body).await;
    let question = json!({ "method": "GET", "path": "/task_result", "body": { "reward_request_id": submitted["reward_request_id"] } });
    let result = send(&server, &question).await.json();
    assert_eq!(
        (&result["errcode"], &result["reward_score"]),
        (&json!(0), &Value::Null),
        "{result}"
    );
    assert!(!result["errmsg"].as_str().unwrap().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn text_with_unknown_template_is_scored_and_reported() {
    let server = server().await;
    let reply =
        server.post("/get_reward", &json!({ "query": ["see you", super::query("480 .")] })).await;
    assert_eq!(reply.json()["extra_logs"]["recognised"], json!([0.0, 1.0]));
    assert_eq!(unrecognised(&reply), "1");
    let reply = server.post("/v1/embeddings", &json!({ "input": ["see you"] })).await;
    assert_eq!(
        (reply.status, unrecognised(&reply)),
        (200, "1"),
        "where the reply has no room for it, a header says so"
    );
    server.stop().await;
}

#[tokio::test]
async fn label_with_facts_is_passed_to_the_rules() {
    let pack = "pack: price\nabout: Prices.\nversion: 1\nrules:\n  - id: fact\n    about: The deal is on.\n    points: 30\n    \
                match: { any_of: ['deal'] }\n    when: { context.open: true }\n    examples:\n      hits: [{ text: 'deal', context: { open: true } }]\n      \
                misses: ['no']\n";
    let toml = format!(
        "{}[profiles.facts]\nmodel = \"tiny\"\nrules = [\"price.yaml\"]\n",
        Server::config()
    );
    let toml = format!("default_profile = \"facts\"\n{toml}");
    let server = Server::from_config(&toml, &[("price.yaml", pack)]).await;
    for (label, points) in
        [(json!("{\"open\": true}"), 30.0), (json!({ "open": true }), 30.0), (json!("x"), 0.0)]
    {
        let body = json!({ "query": [super::query("deal")], "prompts": [super::ASKED], "labels": [label] });
        let reply = super::ok(&server, "/get_reward", &body).await;
        assert!(near(&reply["extra_logs"]["rules"][0], points), "{label}: {reply}");
    }
    assert_eq!(
        names(&super::ok(&server, "/get_reward", &json!({ "query": [] })).await),
        ["extra_logs", "rewards", "scores"]
    );
    server.stop().await;
}
