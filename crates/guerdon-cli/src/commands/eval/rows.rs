//! Ratings, verdicts and outcomes of conversations, one JSON object per line.

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// One line.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "measure", rename_all = "snake_case")]
pub(super) enum EvalRow {
    Reply(ReplyRating),
    BadCase(FixVerdict),
    Outcome(ObservedOutcome),
}

/// A rater's rating of one reply.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplyRating {
    pub(super) method: String,
    /// The training run of the method. With several runs, means are taken over runs.
    #[serde(default)]
    pub(super) run: String,
    pub(super) conversation: String,
    /// The reply in the conversation. A rating of the whole conversation needs none.
    #[serde(default)]
    pub(super) turn: usize,
    pub(super) rater: String,
    /// On any scale where higher is better.
    pub(super) rating: f64,
}

/// A rater's verdict on a case that a method is meant to fix.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FixVerdict {
    pub(super) method: String,
    #[serde(default)]
    pub(super) run: String,
    pub(super) case: String,
    pub(super) rater: String,
    /// Set if the error is gone.
    pub(super) fixed: bool,
    /// Set if something else broke.
    #[serde(default)]
    pub(super) broken: bool,
}

/// An event of a conversation, and its occurrence.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ObservedOutcome {
    pub(super) method: String,
    #[serde(default)]
    pub(super) run: String,
    pub(super) conversation: String,
    /// Its name, such as `responded`.
    pub(super) outcome: String,
    pub(super) yes: bool,
}

/// Parses the rows of a file. `name` is the file's, for errors.
pub(super) fn parse(text: &str, name: &str) -> anyhow::Result<Vec<EvalRow>> {
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let row: EvalRow = serde_json::from_str(line).with_context(|| {
            format!("{name}:{} is not a rating, a verdict or an outcome; see --help", number + 1)
        })?;
        if let EvalRow::Reply(reply) = &row {
            ensure!(reply.rating.is_finite(), "{name}:{}: the rating is not finite", number + 1);
        }
        rows.push(row);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_line_is_reported_with_its_number() {
        let good = r#"{"measure": "outcome", "method": "a", "conversation": "1", "outcome": "responded", "yes": true}"#;
        assert_eq!(parse(&format!("{good}\n\n{good}\n"), "x").unwrap().len(), 2);
        let error = parse(&format!("{good}\n{{\"measure\": \"reply\"}}\n"), "x.jsonl").unwrap_err();
        assert!(error.to_string().starts_with("x.jsonl:2"), "{error}");
        let typo = good.replace("\"yes\"", "\"yess\": 1, \"yes\"");
        assert!(parse(&typo, "x").is_err(), "an unknown key is refused");
    }
}
