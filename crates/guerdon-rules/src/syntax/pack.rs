//! A pack as its author wrote it: read and checked for shape, not yet compiled. `schema.rs` tells the same to editors.

use std::ops::Range;

use guerdon_types::{Context, Message, Role};
use serde_json::Value as Json;

use crate::syntax::yaml::At;

/// One file, read.
#[derive(Debug, Clone)]
pub(crate) struct Pack {
    pub(crate) id: At<String>,
    pub(crate) about: Option<String>,
    pub(crate) version: Option<u64>,
    pub(crate) language: Vec<String>,
    pub(crate) rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) id: At<String>,
    pub(crate) about: Option<String>,
    pub(crate) points: f64,
    /// Each hit counts, up to `cap`.
    pub(crate) per_hit: bool,
    pub(crate) cap: Option<At<f64>>,
    pub(crate) tags: Vec<String>,
    pub(crate) veto: bool,
    pub(crate) shadow: bool,
    pub(crate) expires: Option<At<Date>>,
    pub(crate) on: On,
    pub(crate) when: Vec<Condition>,
    pub(crate) test: Test,
    pub(crate) condition: Option<At<String>>,
    pub(crate) hits: Vec<Example>,
    pub(crate) misses: Vec<Example>,
}

/// Which messages a rule reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct On {
    pub(crate) role: Role,
    pub(crate) turn: Turn,
}

/// Which of the role's messages, seen from the turn that is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The scored turn itself; for another role, its latest message before it.
    Current,
    /// The role's message before that.
    Previous,
    /// Each of the role's messages so far, on its own.
    Any,
    /// All of the role's messages so far, as one text.
    Dialogue,
}

/// `when:` one context value must be one of these.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) path: Vec<String>,
    pub(crate) values: Vec<Json>,
}

/// What makes a rule hit.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    Literals {
        words: Vec<At<String>>,
        fold: bool,
        word: bool,
        near: Nearby,
        count: usize,
    },
    Regex {
        pattern: At<String>,
        fold: bool,
        near: Nearby,
        count: usize,
    },
    Number {
        numbers: Numbers,
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
        of: Measure,
        min: Option<usize>,
        max: Option<usize>,
    },
    Unclosed,
    Json,
    /// `prices:` names, each with the words that announce its number.
    Prices {
        names: Vec<(String, Vec<String>)>,
        unit: Vec<String>,
        must: At<String>,
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
        of: Repeated,
    },
    LanguageMix {
        language: Option<Language>,
        mix: Mix,
    },
}

/// `number:` as written.
#[derive(Debug, Clone)]
pub(crate) struct Numbers {
    pub(crate) span: Range<usize>,
    pub(crate) unit: Vec<String>,
    pub(crate) near: Nearby,
}

/// `near:`, `not_near:` and `within:`.
#[derive(Debug, Clone)]
pub(crate) struct Nearby {
    /// Of these words one must be near, if there are any.
    pub(crate) near: Vec<String>,
    /// And of these none.
    pub(crate) not_near: Vec<String>,
    /// How many characters is near.
    pub(crate) within: usize,
}

impl Nearby {
    /// Whether it asks for nothing.
    pub(crate) const fn is_nothing(&self) -> bool {
        self.near.is_empty() && self.not_near.is_empty()
    }
}

/// What a length is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    Characters,
    Tokens,
    Sentences,
}

/// Where a repetition's first telling may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Across {
    /// In earlier turns of the same role.
    Previous,
    /// In the turn itself.
    Within,
}

/// What is counted as repeated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Repeated {
    /// A share of the runs of `n` tokens, of a turn of at least `min` tokens.
    Ngrams { n: usize, share: f64, min: usize },
    /// A whole sentence of at least `tokens` tokens.
    Sentence { tokens: usize },
}

/// How much of another language is too much.
#[derive(Debug, Clone)]
pub(crate) struct Mix {
    /// Of the letters.
    pub(crate) share: f64,
    /// Fewer foreign letters are none.
    pub(crate) min: usize,
    /// Words of no language.
    pub(crate) allow: Vec<String>,
    /// Whether capitalised words are names, and of no language.
    pub(crate) names: bool,
}

/// A language a turn may be declared to be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Zh,
    En,
}

impl On {
    /// The scored turn itself, which is what most rules read.
    pub(crate) const SCORED: Self = Self { role: Role::Assistant, turn: Turn::Current };
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

/// A text beside a rule that must hit, or must not.
#[derive(Debug, Clone)]
pub(crate) struct Example {
    pub(crate) span: Range<usize>,
    pub(crate) text: String,
    pub(crate) context: Context,
    pub(crate) before: Vec<Message>,
}

/// A day of the Gregorian calendar, as days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date(pub(crate) i64);

impl Date {
    /// Reads `2027-01-31`.
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
        // Years that begin in March put the leap day last: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
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
    fn days_are_counted_from_1970_and_days_that_are_none_are_refused() {
        assert_eq!(Date::parse("1970-01-01"), Some(Date(0)));
        assert_eq!(Date::parse("2027-01-31"), Some(Date(20_849)));
        assert_eq!(Date::parse("2024-02-29"), Some(Date(19_782)));
        for none in ["2027-02-29", "2027-13-01", "27-01-01", "2027-1-1", "2027-01-01-01", "soon"] {
            assert_eq!(Date::parse(none), None, "{none}");
        }
    }
}
