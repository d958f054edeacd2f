//! A pack as written: parsed, with valid types and ranges, not yet compiled. `schema.rs` describes
//! the same for editors.

use std::ops::Range;

use guerdon_types::{Context, Message, Role, ToolCall};
use serde_json::Value as Json;

use crate::syntax::facts::Facts;
use crate::syntax::yaml::WithSpan;
use crate::text::speech::SpeechActs;

/// One parsed file.
#[derive(Debug, Clone)]
pub(crate) struct Pack {
    pub(crate) id: WithSpan<String>,
    pub(crate) about: Option<String>,
    pub(crate) version: Option<u64>,
    pub(crate) language: Vec<String>,
    /// The facts that its rules may use; `None` if it declares none.
    pub(crate) facts: Option<Facts>,
    pub(crate) rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) id: WithSpan<String>,
    pub(crate) about: Option<String>,
    pub(crate) points: f64,
    /// Set if each hit counts, up to `cap`.
    pub(crate) per_hit: bool,
    pub(crate) cap: Option<WithSpan<f64>>,
    pub(crate) tags: Vec<String>,
    pub(crate) veto: bool,
    pub(crate) shadow: bool,
    pub(crate) expires: Option<WithSpan<Date>>,
    pub(crate) on: MessageSelector,
    pub(crate) when: Vec<Condition>,
    pub(crate) test: Predicate,
    pub(crate) condition: Option<WithSpan<String>>,
    pub(crate) hits: Vec<RuleExample>,
    pub(crate) misses: Vec<RuleExample>,
}

/// The messages that a rule reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MessageSelector {
    pub(crate) role: Role,
    pub(crate) turn: TurnSelector,
}

/// A selection among the messages of a role, seen from the scored turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnSelector {
    /// The scored turn itself; for another role, its latest message before it.
    Current,
    /// The message of the role before that one.
    Previous,
    /// Each message of the role so far, one by one.
    Any,
    /// All messages of the role so far, as one text.
    Dialogue,
}

/// A condition of `when:`: a context value must be one of these values.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) path: Vec<String>,
    pub(crate) values: Vec<Json>,
}

/// The `match` or `check` of a rule.
#[derive(Debug, Clone)]
pub(crate) enum Predicate {
    Literals {
        words: Vec<WithSpan<String>>,
        fold: bool,
        word: bool,
        near: NearWords,
        unless: SpeechActs,
        count: usize,
    },
    Regex {
        pattern: WithSpan<String>,
        /// The pattern with the spellings that the pack declares, if it has a word with one.
        spelt: Option<String>,
        fold: bool,
        /// The rule that the digits of a match must keep.
        checksum: Option<Checksum>,
        near: NearWords,
        unless: SpeechActs,
        count: usize,
    },
    Number {
        numbers: NumberWords,
        unless: SpeechActs,
        count: usize,
    },
    All {
        tests: Vec<Self>,
        count: usize,
    },
    Any {
        tests: Vec<Self>,
        count: usize,
    },
    Not(Box<Self>),
    Length {
        of: LengthUnit,
        min: Option<usize>,
        max: Option<usize>,
    },
    Unclosed,
    Json,
    /// `prices:`, with the words that announce the number of each name.
    Prices {
        names: Vec<(String, Vec<String>)>,
        unit: Vec<String>,
        must: WithSpan<String>,
    },
    Arithmetic {
        tolerance: f64,
    },
    UnsupportedNumbers {
        unit: Vec<String>,
        least: f64,
    },
    Repetition {
        across: Across,
        of: RepetitionOf,
    },
    LanguageMix {
        language: Option<Language>,
        mix: MixLimits,
    },
    ToolCall(CallMatch),
    ToolCalls(CallTest),
    JsonSchema(SchemaCheck),
    State(StateCheck),
}

/// The tools that a match or a check is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallNames {
    Any,
    Of(Vec<String>),
    /// All but these.
    Except(Vec<String>),
}

/// `tool_call:` as written.
#[derive(Debug, Clone)]
pub(crate) struct CallMatch {
    pub(crate) names: CallNames,
    /// Values that arguments must have, by their path.
    pub(crate) arguments: Vec<Condition>,
    pub(crate) count: usize,
}

/// `tool_calls:` as written.
#[derive(Debug, Clone)]
pub(crate) enum CallTest {
    /// Each tool is called only after the one before it.
    Order(Vec<String>),
    Number(CallLimits),
    /// Calls fit the tools that the rollout declares.
    Declared,
}

/// The least and the greatest number of calls.
#[derive(Debug, Clone)]
pub(crate) struct CallLimits {
    pub(crate) names: CallNames,
    pub(crate) min: Option<usize>,
    pub(crate) max: Option<usize>,
}

/// `json_schema:` as written.
#[derive(Debug, Clone)]
pub(crate) struct SchemaCheck {
    /// The tools whose arguments are checked; `None` for the reply itself.
    pub(crate) arguments_of: Option<CallNames>,
    pub(crate) schema: WithSpan<Json>,
}

/// `state:` as written: two paths of the context.
#[derive(Debug, Clone)]
pub(crate) struct StateCheck {
    pub(crate) actual: Vec<String>,
    pub(crate) expected: Vec<String>,
    /// Unset if the actual state may have more keys.
    pub(crate) equal: bool,
}

impl Predicate {
    /// Returns true if the predicate reads tool calls.
    pub(crate) fn reads_calls(&self) -> bool {
        match self {
            Self::ToolCall(_) | Self::ToolCalls(_) => true,
            Self::JsonSchema(check) => check.arguments_of.is_some(),
            Self::All { tests, .. } | Self::Any { tests, .. } => {
                tests.iter().any(Self::reads_calls)
            }
            Self::Not(test) => test.reads_calls(),
            _ => false,
        }
    }
}

/// `number:` as written.
#[derive(Debug, Clone)]
pub(crate) struct NumberWords {
    pub(crate) span: Range<usize>,
    pub(crate) unit: Vec<String>,
    pub(crate) near: NearWords,
}

/// `near:`, `not_near:` and `within:`.
#[derive(Debug, Clone)]
pub(crate) struct NearWords {
    /// Required words: if there are any, at least one must be near.
    pub(crate) near: Vec<String>,
    /// Forbidden words: none may be near.
    pub(crate) not_near: Vec<String>,
    /// The greatest distance, in characters.
    pub(crate) within: usize,
}

impl NearWords {
    /// Returns true if it requires and forbids nothing.
    pub(crate) const fn is_nothing(&self) -> bool {
        self.near.is_empty() && self.not_near.is_empty()
    }
}

/// A rule of check digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// Luhn's, of payment cards.
    Luhn,
    /// ISO 7064 MOD 11-2, of Chinese identity cards.
    Mod11,
}

/// The unit of a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LengthUnit {
    Characters,
    Tokens,
    Sentences,
}

/// The place of the text that a repetition repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Across {
    /// In earlier turns of the same role.
    Previous,
    /// In the turn itself.
    Within,
}

/// The unit of a repetition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RepetitionOf {
    /// Runs of `n` tokens: at least the share `share` of the runs of a turn of at least `min`
    /// tokens.
    Ngrams { n: usize, share: f64, min: usize },
    /// A whole sentence of at least `tokens` tokens.
    Sentence { tokens: usize },
}

/// The limits of a mix of languages.
#[derive(Debug, Clone)]
pub(crate) struct MixLimits {
    /// The greatest share of foreign letters.
    pub(crate) share: f64,
    /// The least number of foreign letters that hits.
    pub(crate) min: usize,
    /// Words that belong to no language.
    pub(crate) allow: Vec<String>,
    /// Set if capitalised words are names, which belong to no language.
    pub(crate) names: bool,
}

/// A language that a turn may be declared to be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Zh,
    En,
}

impl MessageSelector {
    /// The scored turn, which most rules read.
    pub(crate) const SCORED: Self = Self { role: Role::Assistant, turn: TurnSelector::Current };
}

impl Language {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "zh" => Some(Self::Zh),
            "en" => Some(Self::En),
            _ => None,
        }
    }
}

/// An example of a rule: a text that it must hit or must not hit.
#[derive(Debug, Clone)]
pub(crate) struct RuleExample {
    pub(crate) span: Range<usize>,
    pub(crate) text: String,
    pub(crate) context: Context,
    pub(crate) before: Vec<Message>,
    pub(crate) tool_calls: Vec<ToolCall>,
    /// The tools that the rollout declares.
    pub(crate) tools: Vec<Json>,
    /// Unset if its facts have errors, so that its result means nothing.
    pub(crate) is_sound: bool,
}

/// A day of the Gregorian calendar, as days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date(pub(crate) i64);

impl Date {
    /// Parses a date such as `2027-01-31`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut part = |len: usize| -> Option<i64> {
            let digits =
                parts.next().filter(|p| p.len() == len && p.bytes().all(|b| b.is_ascii_digit()))?;
            digits.parse().ok()
        };
        let (year, month, day) = (part(4)?, part(2)?, part(2)?);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            _ => return None,
        };
        if parts.next().is_some() || !(1..=length).contains(&day) {
            return None;
        }
        // Years that begin in March have the leap day at their end: Howard Hinnant,
        // "chrono-Compatible Low-Level Date Algorithms".
        let year = if month <= 2 { year - 1 } else { year };
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        Some(Self(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_since_1970_and_invalid_dates_are_refused() {
        assert_eq!(Date::parse("1970-01-01"), Some(Date(0)));
        assert_eq!(Date::parse("2027-01-31"), Some(Date(20_849)));
        assert_eq!(Date::parse("2024-02-29"), Some(Date(19_782)));
        for none in ["2027-02-29", "2027-13-01", "27-01-01", "2027-1-1", "2027-01-01-01", "soon"] {
            assert_eq!(Date::parse(none), None, "{none}");
        }
    }
}
