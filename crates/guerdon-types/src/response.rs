//! The reply of `POST /v1/score`: every reward with its parts, and the versions that made it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Abstained, Finite, JudgePart, OtherPart, Problem, ProfileName, ReportedCalibration,
    ReportedFusion, RequestId, RmPart, RolloutId, RulesPart, SourceId, Usage,
};
#[cfg(feature = "openapi")]
use crate::{Calibration, FusionConfig};

/// The whole reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ScoreResponse {
    /// Also in the log.
    pub request_id: RequestId,
    /// One result a rollout, in the request's order.
    pub results: Vec<RolloutResult>,
    /// What made these rewards.
    pub versions: Versions,
    /// What they cost.
    pub usage: Usage,
}

impl ScoreResponse {
    /// The whole reply from its parts.
    #[must_use]
    pub const fn new(
        request_id: RequestId,
        results: Vec<RolloutResult>,
        versions: Versions,
        usage: Usage,
    ) -> Self {
        Self { request_id, results, versions, usage }
    }
}

/// One rollout's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RolloutResult {
    /// The caller's id, or the rollout's index in the request.
    pub id: RolloutId,
    /// The rollout's reward; `null`, never 0, if it could not be made: see `error`.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub reward: Option<Finite>,
    /// The group-relative advantage, if it was asked for and there is a reward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advantage: Option<Finite>,
    /// The scored turns, in dialogue order.
    pub turns: Vec<TurnResult>,
    /// Why there is no reward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// One turn's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TurnResult {
    /// The turn's index in the rollout's messages.
    pub index: usize,
    /// The fused reward; `null`, never 0, if it could not be made.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub reward: Option<Finite>,
    /// Judge and rule points together, clipped to the fusion's bound; `null` if neither had an opinion.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub enhancement: Option<Finite>,
    /// The reward model's part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rm: Option<RmPart>,
    /// The judge's part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<JudgePart>,
    /// The rules' part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesPart>,
    /// Parts of sources that guerdon does not ship, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other: BTreeMap<SourceId, OtherPart>,
    /// What was not said, by whom and why.
    pub abstained: Vec<Abstained>,
    /// While a new generation is being tried: what the other one makes of the same turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Beside>,
}

/// The other generation's rules and fusion on the same turn, with the same reward model's and judge's parts. It is told, and
/// changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Beside {
    /// The other generation.
    pub generation: u64,
    /// The reward that it would have given.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub reward: Option<Finite>,
    /// What its rules say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesPart>,
}

/// What made a reward. Keep it with the reward, and the reward can be explained a month later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Versions {
    /// The profile that was used.
    pub profile: ProfileName,
    /// The reward model: a hash of its manifest's files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rm: Option<String>,
    /// How the RM's raw output became its score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Calibration>))]
    pub calibration: Option<ReportedCalibration>,
    /// Judge prompts, each with its content hash.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub judge: BTreeMap<String, String>,
    /// Rule packs, each with its content hash.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, String>,
    /// Sources that guerdon does not ship.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other: BTreeMap<String, String>,
    /// The fusion, with the request's override applied.
    #[cfg_attr(feature = "openapi", schema(value_type = FusionConfig))]
    pub fusion: ReportedFusion,
    /// Counts reloads since the server started, from 1.
    pub generation: u64,
}

impl Versions {
    /// Versions with no source named yet.
    #[must_use]
    pub fn new(profile: ProfileName, fusion: impl Into<ReportedFusion>, generation: u64) -> Self {
        Self {
            profile,
            rm: None,
            calibration: None,
            judge: BTreeMap::new(),
            rules: BTreeMap::new(),
            other: BTreeMap::new(),
            fusion: fusion.into(),
            generation,
        }
    }
}

/// One line of a streamed reply (`Accept: application/x-ndjson`): results as they become final, then the summary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum StreamLine {
    /// The last line.
    Summary(Box<StreamSummary>),
    /// One rollout's result.
    Result(Box<StreamedResult>),
}

/// A rollout's result with its place in the request, since lines come in the order they become final.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StreamedResult {
    /// The rollout's index in the request.
    pub index: usize,
    /// The result itself.
    #[serde(flatten)]
    pub result: RolloutResult,
}

/// The last line of a streamed reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StreamSummary {
    /// Also in the log.
    pub request_id: RequestId,
    /// How many result lines came before; fewer than the request's rollouts means that the stream was cut.
    pub results: usize,
    /// What made these rewards.
    pub versions: Versions,
    /// What they cost.
    pub usage: Usage,
}
