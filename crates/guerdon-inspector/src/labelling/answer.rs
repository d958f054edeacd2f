//! An answer of a rater, as a line of the labels' file.

use guerdon_types::Message;
use serde::{Deserialize, Serialize};

/// An answer of a rater.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// The better one of two replies.
    Pair(PairAnswer),
    /// The level of a criterion.
    Level(LevelAnswer),
}

/// The better one of two replies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairAnswer {
    /// The rater's name.
    pub rater: String,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// The group of both rollouts.
    pub group: Option<String>,
    /// The place of the first rollout in the store, the smaller one.
    pub a: i64,
    /// The place of the second rollout.
    pub b: i64,
    /// The messages before both replies.
    pub prompt: Vec<Message>,
    /// The reply of the first rollout.
    pub output_a: String,
    /// The reply of the second rollout.
    pub output_b: String,
    /// `a`, `b` or `tie`.
    pub human_label: String,
}

/// The level of a criterion, or a verdict on a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelAnswer {
    /// The rater's name.
    pub rater: String,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// The place of the rollout in the store.
    pub key: i64,
    /// The rollout.
    pub rollout: String,
    /// The index of the message.
    pub turn: usize,
    /// The messages up to that one.
    pub messages: Vec<Message>,
    /// The criterion, or `pack/rule`.
    pub criterion: String,
    /// The level; `yes` or `no` for a rule.
    pub level: String,
}

impl Answer {
    /// The answers of a labels' file, in the order of its lines. Lines that are no answer, such as
    /// one that was cut by a full disk, are left out.
    #[must_use]
    pub fn read(text: &str) -> Vec<Self> {
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The rater's name.
    pub(crate) fn rater(&self) -> &str {
        match self {
            Self::Pair(answer) => &answer.rater,
            Self::Level(answer) => &answer.rater,
        }
    }

    /// The question and the rollouts of the answer: the key of an agreement.
    pub(crate) fn item(&self) -> (&str, [i64; 2]) {
        match self {
            Self::Pair(answer) => ("pairs", [answer.a, answer.b]),
            Self::Level(answer) => {
                let turn = i64::try_from(answer.turn).unwrap_or(i64::MAX);
                (&answer.criterion, [answer.key, turn])
            }
        }
    }

    /// The answer itself.
    pub(crate) fn said(&self) -> &str {
        match self {
            Self::Pair(answer) => &answer.human_label,
            Self::Level(answer) => &answer.level,
        }
    }
}
