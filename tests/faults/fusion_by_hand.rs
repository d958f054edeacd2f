//! Rewards recomputed from the parts of the reply, by formulas of the method's paper that are
//! written here again.

use guerdon_tests::{GuerdonProcess, JudgeThread, ProcessSetup, Server, wire_request};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::light;

/// The server of [`light`] with the small reward model of guerdon-model's tests.
fn modelled() -> ProcessSetup {
    light().profile("model = \"tiny\"").tables(
        "[models.tiny]\npath = \"@REPOSITORY@/crates/guerdon-model/tests/tiny\"\n\
         runtime = \"@REPOSITORY@/.guerdon/onnxruntime\"\n",
    )
}

/// Words with points of the judge and of the rules, and words of neither.
const WORDS: [&str; 8] = [
    "480 .",
    "frosty",
    "brisk",
    "work order",
    "guarantee",
    "we meet at 420 .",
    "thank you",
    "no .",
];

fn reply_text(random: &mut StdRng) -> String {
    // An empty reply is judged without a call.
    let count = random.random_range(1..6);
    (0..count).map(|_| WORDS[random.random_range(0..WORDS.len())]).collect::<Vec<_>>().join(" ")
}

fn random_rollout(random: &mut StdRng, group: usize) -> Value {
    let mut messages = Vec::new();
    for _ in 0..random.random_range(1..4) {
        messages.push(json!({ "role": "user", "content": "480 is our best price ." }));
        messages.push(json!({ "role": "assistant", "content": reply_text(random) }));
    }
    json!({ "messages": messages, "score": "all", "group": format!("g{}", group / 3) })
}

fn patches() -> Vec<Value> {
    let mut patches = Vec::new();
    for method in ["repo", "weighted_sum", "gated"] {
        for bound in [1e-3, 7.0, 100.0, 1e6] {
            for aggregate in ["last", "mean", "sum", "min"] {
                let inner = if patches.len() % 2 == 0 { "repo" } else { "weighted_sum" };
                let weights =
                    json!({ "rm": 0.5 * (patches.len() % 4) as f64, "judge": 1.5, "rules": 0.25 });
                patches.push(json!({ "method": method, "inner": inner, "bound": bound, "aggregate": aggregate,
                    "floor": -2.0, "weights": weights }));
            }
        }
    }
    patches
}

/// The reward of a turn from its parts, by the paper's formulas.
fn by_hand(turn: &Value, fusion: &Value) -> f64 {
    let number = |value: &Value| value.as_f64().unwrap();
    let (rm, bound) = (number(&turn["rm"]["score"]), number(&fusion["bound"]));
    let (judge, rules) =
        (turn["judge"]["points"].as_f64().unwrap_or(0.0), number(&turn["rules"]["points"]));
    let weights = &fusion["weights"];
    let method = |name: &str| match name {
        "repo" => rm + rm.abs() * (judge + rules).clamp(-bound, bound) / bound,
        _ => {
            let clipped = |points: f64| points.clamp(-bound, bound) / bound;
            number(&weights["rm"]) * rm
                + number(&weights["judge"]) * clipped(judge)
                + number(&weights["rules"]) * clipped(rules)
        }
    };
    if fusion["method"] != "gated" {
        return method(fusion["method"].as_str().unwrap());
    }
    let inner = method(fusion["inner"].as_str().unwrap());
    let veto = turn["rules"]["hits"].as_array().unwrap().iter().any(|hit| hit["veto"] == true);
    if veto { inner.min(number(&fusion["floor"])) } else { inner }
}

fn aggregated(turns: &[f64], how: &str) -> f64 {
    let sum: f64 = turns.iter().sum();
    match how {
        "last" => *turns.last().unwrap(),
        "mean" => sum / turns.len() as f64,
        "sum" => sum,
        _ => turns.iter().copied().fold(f64::INFINITY, f64::min),
    }
}

#[track_caller]
fn assert_near(given: f64, expected: f64, what: &str) {
    let scale = expected.abs().max(1.0);
    assert!((given - expected).abs() <= 1e-9 * scale, "{what}: {given} is not {expected}");
}

/// The results of a request, as one reply or as a stream.
fn results(server: &GuerdonProcess, body: &Value, streamed: bool) -> Vec<Value> {
    if !streamed {
        return server.score(body)["results"].as_array().unwrap().clone();
    }
    let headers = [("content-type", "application/json"), ("accept", "application/x-ndjson")];
    let bytes = wire_request("POST", "/v1/score", &headers, body.to_string().as_bytes());
    let reply = server.exchange(&bytes).unwrap();
    let lines: Vec<Value> =
        reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (summary, lines) = lines.split_last().unwrap();
    assert_eq!(summary["results"], lines.len());
    let mut sorted = lines.to_vec();
    sorted.sort_by_key(|line| line["index"].as_u64());
    sorted
}

#[test]
fn rewards_equal_the_paper_s_formulas() {
    let judge = JudgeThread::start();
    let mut random = StdRng::seed_from_u64(15);
    for (name, server) in
        [("rules", modelled().start()), ("judge and rules", judge.added_to(modelled(), "").start())]
    {
        for (index, fusion) in patches().iter().enumerate() {
            let rollouts: Vec<Value> =
                (0..6).map(|group| random_rollout(&mut random, group)).collect();
            let body = json!({ "rollouts": rollouts, "fusion": fusion, "advantages": { "estimator": "grpo" } });
            let results = results(&server, &body, index % 2 == 1);
            assert_eq!(results.len(), rollouts.len());
            let mut rewards = Vec::new();
            for (rollout, result) in rollouts.iter().zip(&results) {
                let what = format!("{name}, {fusion}: {result}");
                let mut turns = Vec::new();
                for turn in result["turns"].as_array().unwrap() {
                    assert_eq!(turn["abstained"], json!([]), "{what}");
                    let expected = by_hand(turn, fusion);
                    assert_near(turn["reward"].as_f64().unwrap(), expected, &what);
                    turns.push(expected);
                    if name != "rules" {
                        let index = usize::try_from(turn["index"].as_u64().unwrap()).unwrap();
                        let dialogue = &rollout["messages"].as_array().unwrap()[..=index];
                        let points = JudgeThread::points(&json!(dialogue).to_string());
                        assert_near(turn["judge"]["points"].as_f64().unwrap(), points, &what);
                    }
                }
                let reward = aggregated(&turns, fusion["aggregate"].as_str().unwrap());
                assert_near(result["reward"].as_f64().unwrap(), reward, &what);
                rewards.push(reward);
            }
            assert_advantages(&results, &rewards);
        }
    }
}

/// Checks GRPO's advantages in groups of three: `(r - mean) / (sample std + 1e-6)`.
fn assert_advantages(results: &[Value], rewards: &[f64]) {
    for (group, results) in rewards.chunks(3).zip(results.chunks(3)) {
        let mean = group.iter().sum::<f64>() / group.len() as f64;
        let squares: f64 = group.iter().map(|reward| (reward - mean).powi(2)).sum();
        let deviation = (squares / (group.len() as f64 - 1.0)).sqrt();
        for (reward, result) in group.iter().zip(results) {
            let expected = (reward - mean) / (deviation + 1e-6);
            let given = result["advantage"].as_f64().unwrap();
            assert!((given - expected).abs() < 1e-6, "{group:?}: {given} is not {expected}");
        }
    }
}

#[test]
fn lonely_rollouts_have_no_advantage_over_others() {
    let server = light().start();
    let with_group = |text: &str, group: &str| {
        let mut rollout = Server::rollout(text);
        rollout["group"] = json!(group);
        rollout
    };
    let rollouts = [with_group("work order", "a"), with_group("480", "b")];
    let body = json!({ "rollouts": rollouts, "advantages": { "estimator": "grpo" } });
    let reply = server.score(&body);
    assert_eq!(
        (&reply["results"][0]["advantage"], &reply["results"][1]["advantage"]),
        (&json!(0.0), &json!(0.0))
    );
}
