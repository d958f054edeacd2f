//! Gold labels by people, as JSON lines.

use std::collections::BTreeMap;

use guerdon_text::quote;
use guerdon_types::{Message, Rollout};
use serde::Deserialize;

use crate::rubric::Criterion;

/// Gold labels.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Gold {
    /// Turns with levels: `{"messages": […], "context": {…}, "labels": {"<criterion>":
    /// "<level>"}}`, and perhaps `"second": {…}`, the labels of a second pass. The last message is
    /// the turn.
    #[non_exhaustive]
    Levels {
        /// The lines.
        items: Vec<LabelledTurn>,
        /// The file's hash.
        hash: String,
    },
    /// Pairs: `{"source": …, "prompt": [messages], "output_a": …, "output_b": …, "human_label": "a"
    /// | "b" | "tie"}`.
    #[non_exhaustive]
    Pairs {
        /// The lines.
        items: Vec<PreferencePair>,
        /// The file's hash.
        hash: String,
    },
}

/// A turn with levels.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledTurn {
    pub(super) rollout: Rollout,
    pub(super) labels: BTreeMap<String, String>,
    /// The labels of a second, independent pass.
    pub(super) second: BTreeMap<String, String>,
    /// The line, counted from 1.
    pub(super) line: usize,
}

impl LabelledTurn {
    /// Checks that the labels name criteria and levels that exist.
    pub(super) fn check(&self, criteria: &[Criterion]) -> Result<(), GoldError> {
        for (id, label) in self.labels.iter().chain(&self.second) {
            let wrong = |detail: String| Err(GoldError { line: self.line, detail });
            let Some(criterion) = criteria.iter().find(|criterion| criterion.id == *id) else {
                return wrong(format!("the prompt has no criterion {}", quote(id)));
            };
            if criterion.level(label).is_none() {
                return wrong(format!("criterion `{id}` has no level {}", quote(label)));
            }
        }
        Ok(())
    }
}

/// Two replies with the preference of people. Other fields of a line are ignored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PreferencePair {
    #[serde(default)]
    pub(super) source: String,
    pub(super) prompt: Vec<Message>,
    pub(super) output_a: String,
    pub(super) output_b: String,
    pub(super) human_label: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GoldLine {
    messages: Vec<Message>,
    #[serde(default)]
    context: guerdon_types::Context,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    second: BTreeMap<String, String>,
}

/// A line that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("gold line {line}: {detail}")]
pub struct GoldError {
    line: usize,
    detail: String,
}

impl GoldError {
    pub(super) const fn new(line: usize, detail: String) -> Self {
        Self { line, detail }
    }
}

impl Gold {
    /// Reads JSON lines of either form; the first line decides which.
    ///
    /// # Errors
    /// [`GoldError`], naming the line.
    pub fn read(text: &str) -> Result<Self, GoldError> {
        let hash = guerdon_text::content_hash(text);
        let lines = || text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let wrong = |line: usize, detail: String| GoldError { line: line + 1, detail };
        let Some((_, first)) = lines().next() else {
            return Err(wrong(0, "the file is empty".to_owned()));
        };
        let is_pair = serde_json::from_str::<serde_json::Value>(first)
            .is_ok_and(|first| first.get("output_a").is_some());
        if is_pair {
            let read = |(number, line): (usize, &str)| {
                let pair: PreferencePair =
                    serde_json::from_str(line).map_err(|error| wrong(number, error.to_string()))?;
                if !matches!(pair.human_label.as_str(), "a" | "b" | "tie") {
                    return Err(wrong(
                        number,
                        format!("`human_label` is `{}`; write a, b or tie", pair.human_label),
                    ));
                }
                Ok(pair)
            };
            return Ok(Self::Pairs { items: lines().map(read).collect::<Result<_, _>>()?, hash });
        }
        let read = |(number, line): (usize, &str)| {
            let line: GoldLine =
                serde_json::from_str(line).map_err(|error| wrong(number, error.to_string()))?;
            let GoldLine { messages, context, labels, second } = line;
            Ok(LabelledTurn {
                rollout: Rollout { messages, context, ..Rollout::default() },
                labels,
                second,
                line: number + 1,
            })
        };
        Ok(Self::Levels { items: lines().map(read).collect::<Result<_, _>>()?, hash })
    }

    pub(super) fn hash(&self) -> &str {
        match self {
            Self::Levels { hash, .. } | Self::Pairs { hash, .. } => hash,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_a_wrong_line_is_named() {
        let levels =
            r#"{"messages": [{"role": "assistant", "content": "x"}], "labels": {"rude": "no"}}"#;
        assert!(
            matches!(Gold::read(levels).unwrap(), Gold::Levels { items, .. } if items.len() == 1)
        );
        let pair =
            r#"{"id": "1", "prompt": [], "output_a": "x", "output_b": "y", "human_label": "a"}"#;
        assert!(matches!(Gold::read(pair).unwrap(), Gold::Pairs { items, .. } if items.len() == 1));
        let error = Gold::read(&format!("{pair}\n{}", pair.replace("\"a\"", "\"left\"")))
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 2") && error.contains("left"), "{error}");
        assert!(Gold::read("\n").unwrap_err().to_string().contains("empty"));
        assert!(Gold::read(&format!("{levels}\n{{")).unwrap_err().to_string().contains("line 2"));
    }
}
