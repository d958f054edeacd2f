//! The signal of a reward source for one turn: its part of the reward, and its abstentions with
//! reasons.

mod source_part;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use source_part::{Evidence, SourceKind, SourcePart, SourceRole};

use crate::{AbstainCause, AbstainEffect, AbstainReason, Finite, SourceId, Vocabulary, Word};

/// A source's result for one turn.
///
/// The constructors guarantee that a signal has a part, at least one entry in `abstained`, or both
/// (for example if one of two rubrics failed).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Signal {
    /// The part, if the source has one.
    pub part: Option<Part>,
    /// The abstentions.
    pub abstained: Vec<Abstention>,
    /// The cost.
    pub usage: Usage,
}

impl Signal {
    /// A signal with a part and no abstention.
    #[must_use]
    pub fn scored(part: Part) -> Self {
        Self { part: Some(part), abstained: Vec::new(), usage: Usage::default() }
    }

    /// A signal without a part.
    #[must_use]
    pub fn abstained(abstained: Abstention) -> Self {
        Self { part: None, abstained: vec![abstained], usage: Usage::default() }
    }

    /// Adds abstentions.
    #[must_use]
    pub fn and_abstained(mut self, abstained: impl IntoIterator<Item = Abstention>) -> Self {
        self.abstained.extend(abstained);
        self
    }

    /// Adds a cost.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage.add(&usage);
        self
    }
}

/// A source's part of one turn's reward.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Part {
    /// The preference reward model's score.
    Rm(RmPart),
    /// The judge's criteria.
    Judge(JudgePart),
    /// The rule packs' hits.
    Rules(RulesPart),
    /// An external source's points.
    Other(OtherPart),
}

impl Part {
    /// The number that enters the fusion: the RM's calibrated score, or the points of a modulating
    /// source.
    #[must_use]
    pub const fn value(&self) -> f64 {
        self.number().get()
    }

    /// As [`value`](Self::value), as a finite number.
    #[must_use]
    pub const fn number(&self) -> Finite {
        match self {
            Self::Rm(part) => part.score,
            Self::Judge(part) => part.points,
            Self::Rules(part) => part.points,
            Self::Other(part) => part.points,
        }
    }

    /// True if a rule or a criterion marked `veto` fired.
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

/// The preference reward model's part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RmPart {
    /// The calibrated score, which enters the fusion.
    pub score: Finite,
    /// The model's own output, before calibration.
    pub raw: f32,
    /// The objectives of a model with several, by name, as the model returned them. Left out for a
    /// model whose manifest names none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub objectives: BTreeMap<String, f32>,
    /// The scores of the turn's steps in order, before calibration, of which a process reward model
    /// makes `raw`. Of a turn with more than 256 steps, those of the first 256. Left out for other
    /// models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<f32>,
    /// The number of tokens that the model read.
    pub tokens: usize,
    /// Set when a part of the dialogue was left out to fit the model's limit.
    pub truncated: bool,
    /// The messages that the model read, if it did not read all of them whole: each that was cut
    /// by itself, and whole ones in ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<MessagesRead>,
}

/// Consecutive messages of a rollout that a model read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessagesRead {
    /// Index of the first message.
    pub first: usize,
    /// Index of the last message.
    pub last: usize,
    /// The tokens of the messages' contents that were read, each content by itself. A template's
    /// own tokens and the prefixes of messages are not among them.
    pub tokens: usize,
    /// Set if a part of the message was left out.
    pub cut: bool,
}

/// The judge's part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JudgePart {
    /// The sum of the criteria's points.
    pub points: Finite,
    /// The criteria that changed the points, and every veto; of a rollout's own rubric, every
    /// criterion that was judged.
    pub criteria: Vec<CriterionVerdict>,
    /// Set when every answer came from the cache.
    pub cached: bool,
    /// The model that answered.
    pub model: String,
    /// The joint judgement of the group, if a prompt judged its replies together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupJudgement>,
    /// The ids of the criteria that were asked, by prompt, if they are not those of all prompts of
    /// the profile: the rollout has a rubric of its own, or criteria were dropped.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<String, Vec<String>>,
}

/// A joint judgement of the replies of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupJudgement {
    /// The number of rollouts that were judged together.
    pub rollouts: usize,
    /// The number of distinct replies that the judge was shown.
    pub replies: usize,
    /// The number of questions to the judge for the whole group, cached ones included.
    pub questions: usize,
    /// The mean difference in points between the last place and the first place of a list, measured
    /// on the same replies at several places. Only with several shuffles, and of pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_bias: Option<Finite>,
    /// The standard error of the points that prompts gave which compare replies two by two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertainty: Option<Finite>,
}

/// The judge's verdict on one criterion of a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CriterionVerdict {
    /// The judge prompt.
    pub prompt: String,
    /// The criterion in it.
    pub id: String,
    /// The chosen level.
    pub level: String,
    /// The points of this level.
    pub points: Finite,
    /// The judge's quote from the turn, which was verified to occur in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// Set when this criterion forbids a reward above the floor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub veto: bool,
}

/// The rule packs' part.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RulesPart {
    /// The sum of the hits' points.
    pub points: Finite,
    /// The rules that hit, in pack and rule order.
    pub hits: Vec<RuleHit>,
    /// Hits of shadow rules (`shadow: true`), which are reported but not counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<RuleHit>,
    /// Rules that could not be decided, for example because a context value is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abstained: Vec<RuleAbstention>,
    /// Matches that did not count because of how their words are meant (`unless` in a rule).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suppressed: Vec<SuppressedMatch>,
}

/// A hit of one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuleHit {
    /// The pack.
    pub pack: String,
    /// The rule in it.
    pub rule: String,
    /// The points that this hit adds.
    pub points: Finite,
    /// Half-open ranges of Unicode scalar values in the original content of the turn.
    pub spans: Vec<[usize; 2]>,
    /// The measured value, such as a price, if the spans do not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Set when this rule forbids a reward above the floor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub veto: bool,
}

/// The matches of a rule that did not count because of how their words are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SuppressedMatch {
    /// The pack.
    pub pack: String,
    /// The rule in it.
    pub rule: String,
    /// The speech act of the first match: `negated`, `question`, `reported`, `conditional` or
    /// `past`. New ones may be added.
    pub suppressed_by: String,
    /// The word that shows it, folded, such as `never`.
    pub cue: String,
    /// The matches, as half-open ranges of Unicode scalar values in the original content of the
    /// turn. Empty if they are in other messages.
    pub spans: Vec<[usize; 2]>,
}

/// A rule that could not be decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = RuleAbstained))]
pub struct RuleAbstention {
    /// The pack.
    pub pack: String,
    /// The rule in it.
    pub rule: String,
    /// The reason, such as "context.target_price is missing".
    pub detail: String,
    /// Set for a shadow rule. It never counts, so the part is complete without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}

/// The part of a source of any other kind.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OtherPart {
    /// The points, which enter the fusion.
    pub points: Finite,
    /// Set when this source forbids a reward above the floor.
    #[serde(default)]
    pub veto: bool,
    /// An explanation of the points, in any form.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub detail: serde_json::Value,
    /// The numbers that the points are made of, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub components: BTreeMap<String, Finite>,
    /// Half-open ranges of Unicode scalar values in the original content of the turn, which explain
    /// the points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<[usize; 2]>,
    /// The uncertainty of the points, in points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertainty: Option<Finite>,
    /// The version that the source declared with these points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// An abstention of a source on a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Abstained))]
pub struct Abstention {
    /// The source.
    pub source: SourceId,
    /// The reason. A later server may send one that this version does not know.
    #[cfg_attr(feature = "openapi", schema(value_type = AbstainWhy))]
    pub why: Word<AbstainWhy>,
    /// The reason in a sentence.
    pub detail: String,
    /// More about the reason, where `why` alone says too little.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<AbstainReason>))]
    pub reason: Option<Word<AbstainReason>>,
    /// The judge prompt that was not answered. Default: the whole source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The effect on the reward, with `on_abstain` by cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<AbstainEffect>))]
    pub effect: Option<Word<AbstainEffect>>,
}

impl Abstention {
    /// An abstention of `source`.
    pub fn new(source: SourceId, why: AbstainWhy, detail: impl Into<String>) -> Self {
        let (reason, prompt, effect) = (None, None, None);
        Self { source, why: why.into(), detail: detail.into(), reason, prompt, effect }
    }

    /// Adds the reason, if there is one.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Option<AbstainReason>>) -> Self {
        self.reason = reason.into().map(Word::Known);
        self
    }

    /// Adds the judge prompt that was not answered.
    #[must_use]
    pub fn about(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = Some(prompt.into());
        self
    }

    /// The cause. Unknown words of a later version count as content, which is the stricter one.
    #[must_use]
    pub fn cause(&self) -> AbstainCause {
        if self.reason == Some(Word::Known(AbstainReason::BadRequest)) {
            return AbstainCause::Content;
        }
        self.why.known().map_or(AbstainCause::Content, AbstainWhy::cause)
    }

    /// True if a deadline or a limit is the reason, which a longer reply meets sooner.
    #[must_use]
    pub fn is_of_a_limit(&self) -> bool {
        let limits = [AbstainWhy::Deadline, AbstainWhy::RateLimited, AbstainWhy::Overloaded];
        // Money is spent by all rollouts together.
        let over_budget = self.reason == Some(Word::Known(AbstainReason::Budget));
        let timed_out = self.reason == Some(Word::Known(AbstainReason::TimedOut));
        let is_limit = self.why.known().is_some_and(|why| limits.contains(&why));
        (is_limit || timed_out) && !over_budget
    }
}

/// The reason of an abstention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AbstainWhy {
    /// The source was not ready when the request's deadline passed.
    Deadline,
    /// The source's endpoint refused because of its rate limit, and retries did not help.
    RateLimited,
    /// The source's queue is full.
    Overloaded,
    /// The source's endpoint could not be reached, or the connection broke.
    Unreachable,
    /// The source's endpoint answered with an error that a retry does not fix.
    EndpointError,
    /// The judge model refused to answer.
    Refused,
    /// The judge model's answer was cut off.
    Truncated,
    /// The answer did not have the requested form.
    Malformed,
    /// The answer had two different verdicts.
    Ambiguous,
    /// The turn is too long for the source.
    TooLong,
    /// The score was NaN or infinite.
    NotFinite,
    /// A context value that the source needs is missing.
    MissingContext,
    /// The store that replicas share did not answer, and the source's shared limits do not allow a
    /// call without it. Only with `[cluster]` in the configuration.
    Coordination,
    /// A fault of guerdon; the server's log has the details.
    Internal,
}

impl AbstainWhy {
    /// The cause. A missing context value is the trainer's, and the same for all samples of a
    /// prompt.
    #[must_use]
    pub const fn cause(self) -> AbstainCause {
        match self {
            Self::Deadline
            | Self::RateLimited
            | Self::Overloaded
            | Self::Unreachable
            | Self::EndpointError
            | Self::MissingContext
            | Self::Coordination
            | Self::Internal => AbstainCause::Infrastructure,
            Self::Refused
            | Self::Truncated
            | Self::Malformed
            | Self::Ambiguous
            | Self::TooLong
            | Self::NotFinite => AbstainCause::Content,
        }
    }

    /// The reason as it is written in JSON and in metric labels.
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
            Self::Coordination => "coordination",
            Self::Internal => "internal",
        }
    }
}

impl Vocabulary for AbstainWhy {
    fn as_str(self) -> &'static str {
        self.as_str()
    }
}

/// The cost of a request.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Usage {
    /// Calls to judge endpoints, including retries.
    pub judge_calls: u64,
    /// Questions answered from the cache, or coalesced with an identical question in flight.
    pub judge_cache_hits: u64,
    /// Prompt tokens of the calls, as counted by the endpoints.
    pub prompt_tokens: u64,
    /// Completion tokens of the calls, as counted by the endpoints.
    pub completion_tokens: u64,
    /// The cost of the calls, in the currency of the configured prices. An upper bound for calls
    /// whose tokens were not counted.
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
    fn objectives_and_steps_are_in_json_only_if_there_are_any() {
        let old = r#"{"score":1.5,"raw":2.0,"tokens":9,"truncated":false}"#;
        let part: RmPart = serde_json::from_str(old).unwrap();
        assert!(part.objectives.is_empty() && part.steps.is_empty());
        let json = serde_json::to_string(&part).unwrap();
        assert!(!json.contains("objectives") && !json.contains("steps"), "{json}");
        let objectives = BTreeMap::from([("helpfulness".to_owned(), 0.25)]);
        let part = RmPart { objectives, steps: vec![0.5, -1.0], ..part };
        let json = serde_json::to_value(&part).unwrap();
        assert_eq!(json["objectives"], serde_json::json!({ "helpfulness": 0.25 }));
        assert_eq!(json["steps"], serde_json::json!([0.5, -1.0]));
        assert_eq!(serde_json::from_value::<RmPart>(json).unwrap(), part);
    }

    #[test]
    fn reason_has_the_same_name_in_json_and_in_metric_labels() {
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
