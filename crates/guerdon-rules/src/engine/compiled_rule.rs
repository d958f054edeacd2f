//! A compiled rule: its conditions, the messages it reads, its matcher and its points.

use crate::engine::checks::{CompiledSchema, PriceRelation};
use crate::engine::expr::Expr;
use crate::engine::pattern::Pattern;
use crate::syntax::pack::{
    Across, CallNames, CallTest, Checksum, Condition, Language, LengthUnit, MessageSelector,
    MixLimits, RepetitionOf, StateCheck,
};
use crate::text::near::Near;
use crate::text::number::NumberSpec;
use crate::text::speech::SpeechActs;

/// One compiled rule.
#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) pack: String,
    pub(crate) id: String,
    pub(crate) points: f64,
    pub(crate) per_hit: bool,
    pub(crate) cap: Option<f64>,
    pub(crate) veto: bool,
    pub(crate) shadow: bool,
    pub(crate) on: MessageSelector,
    pub(crate) when: Vec<Condition>,
    /// A `where` expression that uses no capture, only the context.
    pub(crate) condition: Option<Expr>,
    pub(crate) matcher: Matcher,
}

/// A compiled `match` or `check`.
#[derive(Debug)]
pub(crate) enum Matcher {
    Literals(LiteralMatcher),
    Regex(RegexMatcher),
    Number(NumberMatcher),
    All { matchers: Vec<Self>, count: usize },
    Any { matchers: Vec<Self>, count: usize },
    Not(Box<Self>),
    Length { of: LengthUnit, min: Option<usize>, max: Option<usize> },
    Unclosed,
    Json,
    Prices { numbers: NumberSpec, prices: Box<PriceRelation> },
    Arithmetic { numbers: NumberSpec, tolerance: f64 },
    UnsupportedNumbers { numbers: NumberSpec, least: f64 },
    Repetition { across: Across, of: RepetitionOf },
    LanguageMix { language: Option<Language>, mix: MixLimits },
    ToolCall(CallMatcher),
    ToolCalls(CallTest),
    JsonSchema(SchemaMatcher),
    State(StateCheck),
}

/// Calls of tools, with a condition on the arguments of each.
#[derive(Debug)]
pub(crate) struct CallMatcher {
    pub(crate) names: CallNames,
    pub(crate) arguments: Vec<Condition>,
    pub(crate) condition: Option<Expr>,
    /// The least number of calls.
    pub(crate) count: usize,
}

/// A schema of replies or of the arguments of tools.
#[derive(Debug)]
pub(crate) struct SchemaMatcher {
    /// The tools whose arguments are checked; `None` for the reply itself.
    pub(crate) arguments_of: Option<CallNames>,
    pub(crate) schema: Box<CompiledSchema>,
}

/// A list of words.
#[derive(Debug)]
pub(crate) struct LiteralMatcher {
    pub(crate) leaf: u32,
    pub(crate) fold: bool,
    /// Set if only whole Latin words match.
    pub(crate) word: bool,
    pub(crate) near: Near,
    pub(crate) unless: SpeechActs,
    /// The least number of hits.
    pub(crate) count: usize,
}

/// A regex, with a condition on the number that it captures.
#[derive(Debug)]
pub(crate) struct RegexMatcher {
    pub(crate) pattern: Box<Pattern>,
    pub(crate) fold: bool,
    /// The rule that the digits of a match must keep.
    pub(crate) checksum: Option<Checksum>,
    pub(crate) near: Near,
    pub(crate) unless: SpeechActs,
    pub(crate) condition: Option<Expr>,
    /// The least number of hits.
    pub(crate) count: usize,
}

/// Numbers, with a condition on each.
#[derive(Debug)]
pub(crate) struct NumberMatcher {
    pub(crate) spec: NumberSpec,
    pub(crate) unless: SpeechActs,
    pub(crate) condition: Option<Expr>,
    /// The least number of hits.
    pub(crate) count: usize,
}

impl Matcher {
    /// True if it reads something else than text: calls of tools, or states of the context.
    pub(crate) fn reads_calls(&self) -> bool {
        match self {
            Self::ToolCall(_) | Self::ToolCalls(_) | Self::JsonSchema(_) | Self::State(_) => true,
            Self::All { matchers, .. } | Self::Any { matchers, .. } => {
                matchers.iter().any(Self::reads_calls)
            }
            Self::Not(matcher) => matcher.reads_calls(),
            _ => false,
        }
    }

    /// The size of its patterns on the heap, in bytes.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Regex(matcher) => matcher.pattern.memory(),
            Self::All { matchers, .. } | Self::Any { matchers, .. } => {
                matchers.iter().map(Self::memory).sum()
            }
            Self::Not(matcher) => matcher.memory(),
            _ => 0,
        }
    }
}
