//! A rule, compiled: when it applies, what it reads, what it looks for, and what that is worth.

use crate::engine::checks::Prices;
use crate::engine::expr::Expr;
use crate::engine::pattern::Pattern;
use crate::syntax::pack::{Across, Condition, Language, Measure, Mix, On, Repeated};
use crate::text::near::Near;
use crate::text::number::NumberSpec;

/// One rule, ready to run.
#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) pack: String,
    pub(crate) id: String,
    pub(crate) points: f64,
    pub(crate) per_hit: bool,
    pub(crate) cap: Option<f64>,
    pub(crate) veto: bool,
    pub(crate) shadow: bool,
    pub(crate) on: On,
    pub(crate) when: Vec<Condition>,
    /// `where` without a capture: said of the context alone.
    pub(crate) condition: Option<Expr>,
    pub(crate) matcher: Matcher,
}

/// A test, compiled.
#[derive(Debug)]
pub(crate) enum Matcher {
    Literals { leaf: u32, fold: bool, word: bool, near: Near, count: usize },
    Regex { pattern: Box<Pattern>, fold: bool, near: Near, condition: Option<Expr>, count: usize },
    Number { spec: NumberSpec, condition: Option<Expr>, count: usize },
    All { matchers: Vec<Self>, count: usize },
    Any { matchers: Vec<Self>, count: usize },
    Not(Box<Self>),
    Length { of: Measure, min: Option<usize>, max: Option<usize> },
    Unclosed,
    Json,
    Prices { numbers: NumberSpec, prices: Box<Prices> },
    Arithmetic { numbers: NumberSpec, tolerance: f64 },
    UnsupportedNumbers { numbers: NumberSpec, least: f64 },
    Repetition { across: Across, of: Repeated },
    LanguageMix { language: Option<Language>, mix: Mix },
}

impl Matcher {
    /// Bytes on the heap that its patterns hold.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Regex { pattern, .. } => pattern.memory(),
            Self::All { matchers, .. } | Self::Any { matchers, .. } => {
                matchers.iter().map(Self::memory).sum()
            }
            Self::Not(matcher) => matcher.memory(),
            _ => 0,
        }
    }
}
