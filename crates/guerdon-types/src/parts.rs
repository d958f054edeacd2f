//! What each reward source says of one turn: a part when it has an opinion, and in writing what it abstained from.

use serde::{Deserialize, Serialize};

use crate::{Finite, SourceId, Vocabulary, Word};

/// What a source returns for one turn.
///
/// The constructors keep the law that a missing opinion is always explained: there is a part, or there is at least
/// one entry in `abstained`, or both (a judge whose second rubric failed).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Signal {
    /// The opinion, if there is one.
    pub part: Option<Part>,
    /// What the source could not say, and why.
    pub abstained: Vec<Abstained>,
    /// What it cost to ask.
    pub usage: Usage,
}

impl Signal {
    /// A whole opinion.
    #[must_use]
    pub fn scored(part: Part) -> Self {
        Self { part: Some(part), abstained: Vec::new(), usage: Usage::default() }
    }

    /// No opinion, and why.
    #[must_use]
    pub fn abstained(abstained: Abstained) -> Self {
        Self { part: None, abstained: vec![abstained], usage: Usage::default() }
    }

    /// Adds something the source could not say.
    #[must_use]
    pub fn and_abstained(mut self, abstained: impl IntoIterator<Item = Abstained>) -> Self {
        self.abstained.extend(abstained);
        self
    }

    /// Adds what it cost.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage.add(&usage);
        self
    }
}

/// An opinion about one turn.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Part {
    /// The preference reward model's score.
    Rm(RmPart),
    /// The judge's criteria.
    Judge(JudgePart),
    /// The rule packs' hits.
    Rules(RulesPart),
    /// A source that guerdon does not ship.
    Other(OtherPart),
}

impl Part {
    /// The number that enters the fusion: the RM's calibrated score, or the points of a modulating source.
    #[must_use]
    pub const fn value(&self) -> f64 {
        match self {
            Self::Rm(part) => part.score.get(),
            Self::Judge(part) => part.points.get(),
            Self::Rules(part) => part.points.get(),
            Self::Other(part) => part.points.get(),
        }
    }

    /// Whether a rule or a criterion marked `veto` fired.
    #[must_use]
    pub fn vetoes(&self) -> bool {
        match self {
            Self::Rm(_) => false,
            Self::Judge(part) => part.criteria.iter().any(|criterion| criterion.veto),
            Self::Rules(part) => part.hits.iter().any(|hit| hit.veto),
            Self::Other(part) => part.veto,
        }
    }
}

/// The preference reward model's opinion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RmPart {
    /// The calibrated score: what enters the fusion.
    pub score: Finite,
    /// The model's own output, before calibration.
    pub raw: f32,
    /// Tokens the model read.
    pub tokens: usize,
    /// Whether earlier turns were dropped to fit the model's limit.
    pub truncated: bool,
}

/// The judge's opinion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JudgePart {
    /// The sum of the criteria's points.
    pub points: Finite,
    /// The criteria that changed the points, and every veto.
    pub criteria: Vec<CriterionVerdict>,
    /// Whether every answer came from the cache.
    pub cached: bool,
    /// The model that answered.
    pub model: String,
}

/// One criterion of a judge prompt, as judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CriterionVerdict {
    /// The judge prompt.
    pub prompt: String,
    /// The criterion in it.
    pub id: String,
    /// The level that was chosen.
    pub level: String,
    /// The points that this level carries.
    pub points: Finite,
    /// The judge's quote from the turn, verified to occur in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// Whether this criterion forbids a reward above the floor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub veto: bool,
}

/// The rule packs' opinion.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RulesPart {
    /// The sum of the hits' points.
    pub points: Finite,
    /// The rules that hit, in pack and rule order.
    pub hits: Vec<RuleHit>,
    /// Rules that hit but are on trial (`shadow: true`): reported, not counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<RuleHit>,
    /// Rules that could not be decided, such as for a context value that is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abstained: Vec<RuleAbstained>,
}

/// One rule that hit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuleHit {
    /// The pack.
    pub pack: String,
    /// The rule in it.
    pub rule: String,
    /// What it adds.
    pub points: Finite,
    /// Where: half-open ranges of Unicode scalar values in the original content of the turn.
    pub spans: Vec<[usize; 2]>,
    /// What was measured, such as the price that was read, when a span alone does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether this rule forbids a reward above the floor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub veto: bool,
}

/// One rule that could not be decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuleAbstained {
    /// The pack.
    pub pack: String,
    /// The rule in it.
    pub rule: String,
    /// Why, such as "context.target_price is missing".
    pub detail: String,
}

/// The opinion of a source that guerdon does not ship.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OtherPart {
    /// What enters the fusion.
    pub points: Finite,
    /// Whether it forbids a reward above the floor.
    #[serde(default)]
    pub veto: bool,
    /// Whatever explains the points.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub detail: serde_json::Value,
}

/// Something that a source could not say of a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Abstained {
    /// The source.
    pub source: SourceId,
    /// The reason. A later server may give one that this version does not know.
    #[cfg_attr(feature = "openapi", schema(value_type = AbstainWhy))]
    pub why: Word<AbstainWhy>,
    /// The reason in a sentence.
    pub detail: String,
}

impl Abstained {
    /// `source` abstains.
    pub fn new(source: SourceId, why: AbstainWhy, detail: impl Into<String>) -> Self {
        Self { source, why: why.into(), detail: detail.into() }
    }
}

/// Why a source abstained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AbstainWhy {
    /// It was not ready when the request's deadline passed.
    Deadline,
    /// Its endpoint refused for rate, and went on refusing.
    RateLimited,
    /// Its queue is full.
    Overloaded,
    /// Its endpoint could not be reached, or broke off.
    Unreachable,
    /// Its endpoint answered with an error that a retry does not cure.
    EndpointError,
    /// The judge model refused to answer.
    Refused,
    /// The judge model's answer was cut off.
    Truncated,
    /// The answer was not what was asked for.
    Malformed,
    /// The answer held two verdicts that disagree.
    Ambiguous,
    /// The turn does not fit.
    TooLong,
    /// The score was NaN or infinite.
    NotFinite,
    /// A context value that the source needs is missing.
    MissingContext,
    /// A fault of guerdon's own; the log has more.
    Internal,
}

impl AbstainWhy {
    /// The reason as it is written on the wire; also a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Unreachable => "unreachable",
            Self::EndpointError => "endpoint_error",
            Self::Refused => "refused",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::Ambiguous => "ambiguous",
            Self::TooLong => "too_long",
            Self::NotFinite => "not_finite",
            Self::MissingContext => "missing_context",
            Self::Internal => "internal",
        }
    }
}

impl Vocabulary for AbstainWhy {
    fn as_str(self) -> &'static str {
        self.as_str()
    }
}

/// What a request cost.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Usage {
    /// Calls made to judge endpoints, retries included.
    pub judge_calls: u64,
    /// Questions answered from the cache or by a call that another question was already waiting for.
    pub judge_cache_hits: u64,
    /// Prompt tokens of the calls, as the endpoints counted them.
    pub prompt_tokens: u64,
    /// Completion tokens of the calls, as the endpoints counted them.
    pub completion_tokens: u64,
    /// What the calls cost, in the currency of the configured prices; the most that it might be where nobody counted.
    pub cost: f64,
}

impl Usage {
    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        let Self { judge_calls, judge_cache_hits, prompt_tokens, completion_tokens, cost } = other;
        self.judge_calls += judge_calls;
        self.judge_cache_hits += judge_cache_hits;
        self.prompt_tokens += prompt_tokens;
        self.completion_tokens += completion_tokens;
        self.cost += cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_reason_is_the_metric_label() {
        for why in [
            AbstainWhy::Deadline,
            AbstainWhy::RateLimited,
            AbstainWhy::EndpointError,
            AbstainWhy::NotFinite,
        ] {
            assert_eq!(serde_json::to_value(why).unwrap(), why.as_str());
        }
    }
}
