//! Scored rollouts for tests: two digests, groups, abstentions, vetoes and hostile texts.

use std::fmt::Write as _;

use guerdon_inspector::{Record, read_results};
use serde_json::json;

/// Texts that would run or break out if a page did not escape them.
pub(crate) const HOSTILE: [&str; 5] = [
    "<script>window.pwned = 1</script>",
    "\"><img src=x onerror=\"window.pwned = 1\">",
    "' onmouseover='window.pwned = 1",
    "</title></style><svg onload=window.pwned=1>",
    "javascript:window.pwned=1//&amp;\u{202e}",
];

/// `count` scored rollouts in groups of four, the second half under another digest.
pub(crate) fn records(count: usize) -> Vec<Record> {
    let mut lines = String::new();
    for index in 0..count {
        let _ = writeln!(lines, "{}", line(index, count));
    }
    read_results("generated.jsonl", &lines).unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "the counts of a test are small")]
fn line(index: usize, count: usize) -> serde_json::Value {
    let hostile = HOSTILE[index % HOSTILE.len()];
    let place = index % (count / 2).max(1);
    let (half, step) = (index / (count / 2).max(1), place / 8);
    let wave = (place as f64 * 0.7).sin();
    let base = 1.5 + wave - half as f64 * 0.25 * (place % 3) as f64;
    let judge = -20.0 + (place % 5) as f64 * 40.0;
    let rules = if place.is_multiple_of(4) { -30.0 } else { 0.0 };
    let points: f64 = judge + rules;
    let reward = base * (1.0 + points.clamp(-100.0, 100.0) / 100.0);
    let text = format!("Größe \u{1F600} {hostile} we can do 420.");
    let is_silent = place % 11 == 3;
    let mut turn = json!({
        "index": 1, "reward": reward, "enhancement": points.clamp(-100.0, 100.0),
        "rm": {"score": base, "raw": base, "tokens": 12, "truncated": false},
        "judge": {"points": judge, "cached": false, "model": format!("m {hostile}"), "criteria": [
            {"prompt": format!("p{hostile}"), "id": "tone", "level": hostile, "points": judge, "evidence": "we can do 420"}]},
        "rules": {"points": rules, "hits": [
            {"pack": format!("pack {hostile}"), "rule": hostile, "points": rules, "spans": [[6, 9], [8, 20], [5, 900]], "detail": hostile}]},
        "abstained": []
    });
    if is_silent {
        turn["reward"] = json!(null);
        turn.as_object_mut().unwrap().remove("rm");
        turn["abstained"] = json!([{"source": "rm", "why": "overloaded", "detail": hostile}]);
    }
    json!({
        "id": format!("r-{place} {hostile}"), "reward": if is_silent { json!(null) } else { json!(reward) },
        "advantage": if is_silent { json!(null) } else { json!(wave) },
        "turns": [turn], "group": format!("g-{} {hostile}", place / 4), "run": format!("exp {}", HOSTILE[0]), "step": step,
        "profile": hostile, "digest": format!("sha256:{half}{}", "ab".repeat(31)), "generation": half + 1,
        "recorded_ms": 1_796_000_000_000_i64 + index as i64 * 1_000,
        "context": {"target_price": 400 + index % 50, "note": hostile},
        "messages": [{"role": "user", "content": hostile}, {"role": "assistant", "content": text}]
    })
}
