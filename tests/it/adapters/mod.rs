//! The protocols of trainers and serving engines: the server accepts their clients' requests and
//! returns the fields that those clients read.
//!
//! | file | content |
//! |---|---|
//! | `recorded.rs` | recorded requests of each client, from `recorded/`, and the fields it reads |
//! | `examples.rs` | the examples of the OpenAPI document |
//! | `engines.rs` | replies of serving engines other than classifications |
//! | `rules.rs` | the thirteen rules learnt from clients, one test per rule |
//! | `thoughts.rs` | one reward for one dialogue, in whatever form it was written |

mod engines;
mod examples;
mod recorded;
mod rules;
mod thoughts;

use guerdon_tests::{Reply, Server};
use serde_json::{Value, json};

use super::judge::{PROMPT, configured};

/// A prompt in ChatML, up to the start of the assistant's turn.
const ASKED: &str = "<|im_start|>user\n480 is our best price .<|im_end|>\n<|im_start|>assistant\n";

/// A server with the profile `test` and two more: `strict`, which gives no reward because its judge
/// is unreachable, and `gated`, whose rules may veto.
async fn server() -> Server {
    with_limits("").await
}

async fn with_limits(limits: &str) -> Server {
    let judged = configured("http://127.0.0.1:9/v1");
    let (judge, endpoint) = judged.split_once("[judges").expect("an endpoint");
    let profiles = format!(
        "{limits}\n[profiles.strict]\nmodel = \"tiny\"\n{judge}\n[profiles.strict.fusion]\non_abstain = \"null\"\n\
         [profiles.gated]\nmodel = \"tiny\"\nrules = [\"rules.yaml\"]\n[profiles.gated.fusion]\nmethod = \"gated\"\n\
         floor = -9.5\n[judges{endpoint}"
    );
    let toml = format!("default_profile = \"test\"\n{}{profiles}", Server::config());
    Server::from_config(&toml, &[("kind.md", PROMPT)]).await
}

/// The reward from `/v1/score` of a dialogue in which the partner names a price and the agent
/// replies with `reply`.
async fn reward(server: &Server, reply: &str) -> f64 {
    let scored = server.score(&json!({ "rollouts": [Server::rollout(reply)] })).await;
    scored["results"][0]["reward"].as_f64().expect("a reward")
}

fn query(reply: &str) -> String {
    format!("{ASKED}{reply}<|im_end|>\n")
}

/// Every route that scores one text or a batch of texts, with a body that contains `reply` and the
/// JSON pointer of the reward in the response.
fn texts(reply: &str) -> [(&'static str, Value, &'static str); 13] {
    let (query, split) = (query(reply), json!({ "prompts": [ASKED], "responses": [reply] }));
    [
        (
            "/get_reward",
            json!({ "query": [query], "prompts": [ASKED], "labels": [null] }),
            "/rewards/0",
        ),
        ("/get_reward", split, "/rewards/0"),
        ("/rm", json!({ "prompt": ASKED, "response": reply, "label": null }), ""),
        (
            "/classify",
            json!({ "model": "rm", "input": query, "use_activation": false }),
            "/data/0/probs/0",
        ),
        ("/classify", json!({ "text": query }), "/embedding/0"),
        ("/classify", json!({ "input": [query], "raw_scores": true }), "/data/0/0/score"),
        ("/v1/embeddings", json!({ "model": "rm", "input": query }), "/data/0/embedding/0"),
        ("/pooling", json!({ "input": query, "use_activation": false }), "/data/0/data/0"),
        (
            "/score",
            json!({ "queries": ASKED, "documents": reply, "use_activation": false }),
            "/data/0/score",
        ),
        ("/rerank", json!({ "query": ASKED, "texts": [reply], "raw_scores": true }), "/0/score"),
        ("/predict", json!({ "inputs": query, "raw_scores": true }), "/0/score"),
        (
            "/",
            json!({ "inputs": query, "parameters": { "function_to_apply": "none" } }),
            "/0/0/score",
        ),
        ("/v1/score/evaluation", json!({ "model": "model", "messages": [query] }), "/scores/0"),
    ]
}

fn near(value: &Value, expected: f64) -> bool {
    value.as_f64().is_some_and(|value| (value - expected).abs() < 1e-5)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The keys of a JSON object.
fn names(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

async fn ok(server: &Server, path: &str, body: &Value) -> Value {
    let reply = server.post(path, body).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text);
    reply.json()
}

/// The value of the header that counts texts with an unknown template.
fn unrecognised(reply: &Reply) -> &str {
    reply.headers["x-guerdon-unrecognised"].to_str().expect("a number")
}
