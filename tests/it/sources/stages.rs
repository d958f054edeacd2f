//! `screen`, `hero` and `gdpo` over HTTP, compared with their equations.

use guerdon_tests::Server;
use serde_json::{Value, json};

use super::near;

/// The model, a rule of points, and a veto.
fn profile(fusion: &str) -> String {
    format!(
        "[profiles.test]\nmodel = \"tiny\"\nrules = [\"price.yaml\", \"taboo.yaml\"]\n\
         [profiles.test.fusion]\n{fusion}\n"
    )
}

fn group(replies: &[&str]) -> Vec<Value> {
    let rollout = |reply: &&str| {
        let mut rollout = Server::rollout(reply);
        rollout["group"] = "p".into();
        rollout
    };
    replies.iter().map(rollout).collect()
}

fn numbers(reply: &Value, name: &str) -> Vec<Option<f64>> {
    let results = reply["results"].as_array().unwrap();
    results.iter().map(|result| result[name].as_f64()).collect()
}

/// The number of source `name` on the last turn of each rollout.
fn scores(reply: &Value, pointer: &str) -> Vec<f64> {
    let results = reply["results"].as_array().unwrap();
    results
        .iter()
        .map(|result| result["turns"][0].pointer(pointer).unwrap().as_f64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_screened_rollout_leaves_its_group_and_no_trace_in_its_siblings() {
    let server = super::server(&profile("method = \"screen\"\ninner = \"repo\"")).await;
    let ask = |replies: &[&str]| json!({ "rollouts": group(replies), "advantages": { "estimator": "grpo" } });
    let with = server.score(&ask(&["420 .", "see the work order .", "480 whatever ."])).await;
    let without = server.score(&ask(&["420 .", "480 whatever ."])).await;
    let result = &with["results"][1];
    assert_eq!((&result["reward"], &result["advantage"]), (&Value::Null, &Value::Null));
    assert_eq!(result["error"]["code"], "screened");
    assert_eq!(result["turns"][0]["verdict"], "screened");
    for name in ["reward", "advantage"] {
        let (with, without) = (numbers(&with, name), numbers(&without, name));
        for (place, alone) in [(0, 0), (2, 1)] {
            let difference = with[place].unwrap() - without[alone].unwrap();
            assert!(difference.abs() < 1e-6, "{name}: {with:?} and {without:?}");
        }
    }
    assert!(numbers(&with, "advantage")[0].unwrap().abs() > 0.1, "{with}");
    server.stop().await;
}

#[tokio::test]
async fn hero_orders_each_stratum_by_the_model_and_right_above_wrong() {
    let (alpha, beta) = (0.2, 0.1);
    let fusion =
        format!("method = \"hero\"\nhero = {{ alpha = {alpha}, beta = {beta}, pass = 0 }}");
    let server = super::server(&profile(&fusion)).await;
    // A veto and too few points are wrong.
    let replies =
        ["420 .", "see the work order .", "480 .", "see you .", "480 whatever .", "yes ."];
    let right = [true, false, false, true, false, true];
    let reply = server.score(&json!({ "rollouts": group(&replies) })).await;
    let scores = scores(&reply, "/rm/score");
    let rewards = numbers(&reply, "reward");
    let of = |is_right: bool| (0..replies.len()).filter(move |at| right[*at] == is_right);
    for is_right in [true, false] {
        let low = of(is_right).map(|at| scores[at]).fold(f64::MAX, f64::min);
        let high = of(is_right).map(|at| scores[at]).fold(f64::MIN, f64::max);
        assert!(high > low, "the model tells the replies apart: {scores:?}");
        for at in of(is_right) {
            let place = (scores[at] - low) / (high - low + 1e-6);
            let expected = if is_right {
                1.0 - beta + 2.0 * beta * place
            } else {
                -alpha + 2.0 * alpha * place
            };
            let found = rewards[at].unwrap();
            assert!((found - expected).abs() < 1e-9, "{}: {found} and {expected}", replies[at]);
            let verdict = if is_right { "right" } else { "wrong" };
            assert_eq!(reply["results"][at]["turns"][0]["verdict"], verdict, "{}", replies[at]);
        }
    }
    server.stop().await;
}

/// `(x - mean) / sqrt(variance + eps)`, with `n - 1`.
fn standardised(numbers: &[f64], eps: f64) -> Vec<f64> {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    let deviation = (squares / (count - 1.0) + eps).sqrt();
    numbers.iter().map(|number| (number - mean) / deviation).collect()
}

#[tokio::test]
async fn gdpo_compares_each_source_in_its_group_before_they_are_added() {
    let server = super::server(&profile("method = \"repo\"")).await;
    let replies = ["420 .", "see the work order .", "480 .", "see you ."];
    let advantages = json!({ "estimator": "gdpo", "weights": { "rules": 2 } });
    let body = json!({ "rollouts": group(&replies), "advantages": advantages });
    let reply = server.score(&body).await;
    let by_source = [("/rm/score", 1.0), ("/rules/points", 2.0)]
        .map(|(pointer, weight)| (standardised(&scores(&reply, pointer), 0.0), weight));
    let sums: Vec<f64> = (0..replies.len())
        .map(|at| by_source.iter().map(|(advantages, weight)| weight * advantages[at]).sum())
        .collect();
    let expected = standardised(&sums, 0.0);
    for (found, expected) in numbers(&reply, "advantage").iter().zip(&expected) {
        // The constants that the estimators add to the deviations are 1e-4 at most.
        assert!((found.unwrap() - expected).abs() < 2e-3, "{found:?} and {expected}");
    }
    let summed = json!({ "rollouts": group(&replies), "advantages": { "estimator": "grpo" } });
    let summed = numbers(&server.score(&summed).await, "advantage");
    assert!(summed.iter().zip(&expected).any(|(one, other)| (one.unwrap() - other).abs() > 0.05));
    let unknown = json!({ "estimator": "gdpo", "weights": { "ruels": 2 } });
    let refused = json!({ "rollouts": group(&replies), "advantages": unknown });
    let refused = server.post("/v1/score", &refused).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert_eq!(refused.json()["pointer"], "/advantages/weights/ruels");
    assert!(refused.text.contains("`rules`"), "{}", refused.text);
    server.stop().await;
}

#[tokio::test]
async fn gdpo_weighs_named_sources_by_their_terms() {
    let server = super::server(super::THREE_PACKS).await;
    let replies = ["480 whatever .", "480 .", "whatever .", "see you ."];
    let advantages = json!({ "estimator": "gdpo", "weights": { "rm": 0, "price": 0 } });
    let body = json!({ "rollouts": group(&replies), "advantages": advantages });
    let found = numbers(&server.score(&body).await, "advantage");
    // Only `tone` counts, and it hits the first and the third reply.
    let expected = [-0.75_f64.sqrt(), 0.75_f64.sqrt(), -0.75_f64.sqrt(), 0.75_f64.sqrt()];
    for (found, expected) in found.iter().zip(expected) {
        assert!(near(&json!((found.unwrap() * 100.0).round()), (expected * 100.0).round()));
    }
    server.stop().await;
}
