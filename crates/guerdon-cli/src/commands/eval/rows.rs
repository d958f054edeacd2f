//! What people and machines said of conversations, one JSON object a line.

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// One line.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "measure", rename_all = "snake_case")]
pub(super) enum Row {
    Reply(Reply),
    BadCase(BadCase),
    Outcome(Outcome),
}

/// A rater's rating of one reply.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reply {
    pub(super) method: String,
    /// Which training run of the method; runs are what means are taken over where there are several.
    #[serde(default)]
    pub(super) run: String,
    pub(super) conversation: String,
    /// Which reply of the conversation; one rating of the whole conversation needs none.
    #[serde(default)]
    pub(super) turn: usize,
    pub(super) rater: String,
    /// On any scale whose order means better.
    pub(super) rating: f64,
}

/// A rater's verdict on a case that used to go wrong.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BadCase {
    pub(super) method: String,
    #[serde(default)]
    pub(super) run: String,
    pub(super) case: String,
    pub(super) rater: String,
    /// What was wrong is right now.
    pub(super) fixed: bool,
    /// Something is wrong now that was right.
    #[serde(default)]
    pub(super) broken: bool,
}

/// Something that happened in a conversation, or did not.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outcome {
    pub(super) method: String,
    #[serde(default)]
    pub(super) run: String,
    pub(super) conversation: String,
    /// Its name, such as `responded`.
    pub(super) outcome: String,
    pub(super) yes: bool,
}

/// The rows of a file's text. `name` is the file's, for errors.
pub(super) fn parse(text: &str, name: &str) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let row: Row = serde_json::from_str(line).with_context(|| {
            format!("{name}:{} is no rating, verdict or outcome; see --help", number + 1)
        })?;
        if let Row::Reply(reply) = &row {
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
    fn a_line_that_is_none_is_told_with_its_place() {
        let good = r#"{"measure": "outcome", "method": "a", "conversation": "1", "outcome": "responded", "yes": true}"#;
        assert_eq!(parse(&format!("{good}\n\n{good}\n"), "x").unwrap().len(), 2);
        let error = parse(&format!("{good}\n{{\"measure\": \"reply\"}}\n"), "x.jsonl").unwrap_err();
        assert!(error.to_string().starts_with("x.jsonl:2"), "{error}");
        let typo = good.replace("\"yes\"", "\"yess\": 1, \"yes\"");
        assert!(parse(&typo, "x").is_err(), "an unknown key is refused");
    }
}
