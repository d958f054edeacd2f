//! Scored rollouts whose texts attack the pages.

use std::fmt::Write as _;

use serde_json::json;

const ATTACKS: [&str; 6] = [
    "<script>window.pwned = 1</script>",
    "\"><img src=x onerror=\"window.pwned = 1\">",
    "' onfocus='window.pwned = 1' autofocus x='",
    "</title></style></textarea><svg onload=window.pwned=1>",
    "javascript:window.pwned=1",
    "{{constructor.constructor('window.pwned=1')()}}\u{202e}&lt;b&gt;",
];

/// Attacks in messages, ids, names of groups, runs, profiles, rules, criteria, levels, sources,
/// models, evidence, details, errors and digests.
#[must_use]
pub fn hostile() -> String {
    let mut lines = String::new();
    for (index, attack) in ATTACKS.into_iter().enumerate().flat_map(|one| [one, one]) {
        let half = lines.lines().count() % 2;
        let points = -10 - 20 * half as i64;
        let reward = 2.0 * (1.0 + points as f64 / 100.0);
        let line = json!({
            "id": attack, "reward": reward, "advantage": 0.5 - half as f64, "group": attack, "run": attack,
            "step": index, "split": attack, "profile": attack, "digest": format!("sha256:{attack}{half}"),
            "generation": 1, "request_id": attack, "recorded_ms": 1_796_000_000_000_i64,
            "messages": [
                {"role": "user", "content": attack, "name": "x"},
                {"role": "assistant", "content": format!("ab {attack} cd"), "reasoning_content": attack,
                 "tool_calls": [{"id": attack, "type": "function", "function": {"name": attack, "arguments": attack}}]},
            ],
            "turns": [{"index": 1, "reward": reward, "enhancement": points,
                "rm": {"score": 2.0, "raw": 2.0, "tokens": 3, "truncated": false},
                "judge": {"points": 0, "cached": false, "model": attack, "criteria": [
                    {"prompt": attack, "id": attack, "level": attack, "points": 0, "evidence": attack}]},
                "rules": {"points": points, "hits": [
                    {"pack": attack, "rule": attack, "points": points, "spans": [[1, 9]], "detail": attack}],
                    "suppressed": [{"pack": attack, "rule": attack, "suppressed_by": attack, "cue": attack, "spans": []}],
                    "abstained": [{"pack": attack, "rule": attack, "detail": attack}]},
                "abstained": [{"source": attack, "why": attack, "detail": attack, "prompt": attack}]}],
        });
        let _ = writeln!(lines, "{line}");
    }
    lines
}
