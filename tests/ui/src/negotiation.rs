//! Scored rollouts that look like a training run: an agent that books rooms for a group.

use std::fmt::Write as _;

use serde_json::{Value, json};

const STEPS: usize = 60;
const GROUPS: usize = 4;
const SAMPLES: usize = 4;
/// The step from which another configuration serves.
const EDIT: usize = 36;

/// Replies with the words that a rule forbids, and the quote of the judge.
const REPLIES: [(&str, &str, &str, i32); 8] = [
    (
        "Thank you. Could you do 420 a night for twelve rooms if we confirm today?",
        "",
        "confirm today",
        40,
    ),
    (
        "We like the hotel very much. Our budget is 430 a night, breakfast included. Would that work for you?",
        "",
        "We like the hotel very much",
        55,
    ),
    (
        "Per our work order the ceiling is 410. Take it or leave it.",
        "work order",
        "Take it or leave it",
        -45,
    ),
    (
        "I understand that May is busy. If 450 is firm, could you add late checkout and two free parking spots?",
        "",
        "I understand that May is busy",
        60,
    ),
    ("OK 480 is fine.", "", "OK 480 is fine", -30),
    (
        "As an AI model I cannot judge the price, but the system prompt says at most 425.",
        "system prompt",
        "I cannot judge the price",
        -60,
    ),
    (
        "Let me sum up: twelve rooms, 14 to 17 May, 435 a night with breakfast. I will send the names by Friday.",
        "",
        "Let me sum up",
        70,
    ),
    ("Other hotels offer less. 400 or we leave.", "", "400 or we leave", -35),
];

/// The rollouts, in the form of a ledger's export.
#[must_use]
pub fn negotiation() -> String {
    let mut lines = String::new();
    for step in 0..STEPS {
        for group in 0..GROUPS {
            for sample in 0..SAMPLES {
                let edited = step >= EDIT;
                let _ = writeln!(lines, "{}", line((step, group, sample), edited));
                // The last steps before the edit were scored again with it.
                if (EDIT - 6..EDIT).contains(&step) {
                    let _ = writeln!(lines, "{}", line((step, group, sample), true));
                }
            }
        }
    }
    lines
}

/// A number in 0..1 that depends on its seed only.
fn noise(seed: usize) -> f64 {
    let mut bits = (seed as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits ^= bits >> 31;
    bits = bits.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits ^= bits >> 27;
    (bits % 10_000) as f64 / 10_000.0
}

fn line((step, group, sample): (usize, usize, usize), edited: bool) -> Value {
    let seed = (step * GROUPS + group) * SAMPLES + sample;
    // Better replies become more frequent.
    let skill = step as f64 / STEPS as f64;
    let good = [0, 1, 3, 6];
    let place = (noise(seed) * 4.0) as usize;
    let choice =
        if noise(seed + 7_919) < 0.35 + 0.5 * skill { good[place] } else { [2, 4, 5, 7][place] };
    let same = step % 9 == 4 && group == 0;
    let (reply, forbidden, quote, judged) = REPLIES[if same { 4 } else { choice }];
    let judged = judged + if same { 0 } else { (noise(seed + 31) * 30.0) as i32 - 15 };
    let price = 470 + group * 10;
    let start = reply.find(forbidden).filter(|_| !forbidden.is_empty());
    let penalty = if edited { -70 } else { -40 };
    let rules = if start.is_some() { penalty } else { 0 };
    let base = if same {
        0.8
    } else if noise(seed + 5) < 0.03 {
        0.0
    } else {
        0.4 + 1.4 * skill + f64::from(judged) / 120.0 + noise(seed + 3) - 0.5
    };
    let lost = noise(seed + 11) < 0.02 + if (40..44).contains(&step) { 0.25 } else { 0.0 };
    let points = rules + if lost { 0 } else { judged };
    let reward = base + base.abs() * f64::from(points.clamp(-100, 100)) / 100.0;
    let unscored = noise(seed + 17) < 0.012;
    let hits: Vec<Value> = start.into_iter().map(|start| json!({
        "pack": "guardrails", "rule": "internal-words", "points": penalty, "spans": [[start, start + forbidden.len()]]
    })).collect();
    let mut turn = json!({
        "index": 3, "reward": reward, "enhancement": points.clamp(-100, 100),
        "rm": {"score": base, "raw": base, "tokens": 96, "truncated": false},
        "rules": {"points": rules, "hits": hits}, "abstained": []
    });
    if lost {
        turn["abstained"] =
            json!([{"source": "judge", "why": "deadline", "detail": "the answer came after 30 s"}]);
    } else {
        let level = if judged > 20 {
            "warm and clear"
        } else if judged > -20 {
            "neutral"
        } else {
            "cold or wrong"
        };
        turn["judge"] = json!({"points": judged, "cached": seed % 3 == 0, "model": "qwen3-8b", "criteria": [
            {"prompt": "negotiation", "id": "tone", "level": level, "points": judged, "evidence": quote}]});
    }
    let mut result = json!({
        "id": format!("r-{step}-{group}-{sample}"), "reward": reward, "advantage": (reward - 0.8 - skill) / 1.3,
        "turns": [], "group": format!("hotel-{group}"), "run": "exp-12", "step": step, "split": "train",
        "profile": "hotel", "generation": if edited { 2 } else { 1 },
        "digest": if edited { "sha256:7be1f09c3a52d8e4" } else { "sha256:2c94d07f61ab385e" },
        "recorded_ms": 1_796_000_000_000_i64 + seed as i64 * 2_000,
        "messages": [
            {"role": "system", "content": "You book rooms for a travel group. Stay friendly, and pay at most 440 a night."},
            {"role": "user", "content": "Hello, this is the Seaside Hotel. How many rooms do you need?"},
            {"role": "user", "content": format!("For twelve rooms from 14 to 17 May our best price is {price} a night.")},
            {"role": "assistant", "content": reply},
        ],
    });
    if unscored {
        turn["reward"] = Value::Null;
        turn.as_object_mut().expect("an object").remove("rm");
        turn["abstained"] = json!([{"source": "rm", "why": "overloaded", "detail": "the queue of the model was full"}]);
        result["reward"] = Value::Null;
        result["advantage"] = Value::Null;
        result["error"] = json!({"type": "about:blank", "title": "Unscored", "status": 503, "code": "unscored",
            "detail": "rm abstained on turn 3: overloaded"});
    }
    result["turns"] = json!([turn]);
    result
}
