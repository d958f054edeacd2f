//! The reply of `POST /v1/score`: rewards with their parts, and the versions that made them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Abstention, Finite, GroupId, JudgePart, OtherPart, Problem, ProfileName, ReportedCalibration,
    ReportedFusion, RequestId, RmPart, RolloutId, RulesPart, SourceId, SourcePart, Usage, Verdict,
    Word,
};
#[cfg(feature = "openapi")]
use crate::{Calibration, FusionConfig};

/// The reply of `POST /v1/score`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ScoreResponse {
    /// The id of the request, as in the server's log.
    pub request_id: RequestId,
    /// One result per rollout, in the order of the request.
    pub results: Vec<RolloutResult>,
    /// Groups whose rollouts were not scored by the same sources. Their rewards must not be
    /// compared, and they have no advantages. Left out if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<IncomparableGroup>,
    /// The versions that made these rewards, of the request's profile.
    pub versions: Versions,
    /// The versions of the further profiles that rollouts name, by profile. Left out if there are
    /// none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, Versions>,
    /// The cost.
    pub usage: Usage,
}

impl ScoreResponse {
    /// A reply with these parts.
    #[must_use]
    pub const fn new(
        request_id: RequestId,
        results: Vec<RolloutResult>,
        versions: Versions,
        usage: Usage,
    ) -> Self {
        Self { request_id, results, groups: Vec::new(), versions, profiles: BTreeMap::new(), usage }
    }

    /// A copy with these incomparable groups.
    #[must_use]
    pub fn with_groups(self, groups: Vec<IncomparableGroup>) -> Self {
        Self { groups, ..self }
    }

    /// A copy with the versions of further profiles.
    #[must_use]
    pub fn with_profiles(self, profiles: BTreeMap<String, Versions>) -> Self {
        Self { profiles, ..self }
    }
}

/// One rollout's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RolloutResult {
    /// The caller's id, or the rollout's index in the request.
    pub id: RolloutId,
    /// The rollout's reward; `null`, never 0, if it could not be made. Then `error` has the reason.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub reward: Option<Finite>,
    /// The group-relative advantage, if it was requested, there is a reward, and the group is
    /// comparable: see `groups` of the reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advantage: Option<Finite>,
    /// The scored turns, in dialogue order.
    pub turns: Vec<TurnResult>,
    /// The reason of a missing reward.
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
    /// The sum of judge and rule points, clipped to the fusion's bound; `null` if both abstained.
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
    /// The parts of external sources, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other: BTreeMap<SourceId, OtherPart>,
    /// The part of every source that answered, by name and in one form for all kinds. There if the
    /// profile has `sources` of its own, or if the request has the header `x-guerdon-accept: 2`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<SourceId, SourcePart>,
    /// The verdict of the fusion on the turn, with the methods `hero` and `screen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Verdict>))]
    pub verdict: Option<Word<Verdict>>,
    /// The abstentions of sources.
    pub abstained: Vec<Abstention>,
    /// The result of the other generation for the same turn, while a candidate generation serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<OtherGenerationTurn>,
}

/// The other generation's rules and fusion on the same turn, with the same parts of reward model
/// and judge. It is reported and does not change the reward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Beside))]
pub struct OtherGenerationTurn {
    /// The other generation.
    pub generation: u64,
    /// The reward by that generation.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub reward: Option<Finite>,
    /// The part of its rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesPart>,
}

/// A group whose rollouts were not scored by the same sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IncomparableGroup {
    /// The group.
    pub id: GroupId,
    /// `false`: groups that are comparable are not listed.
    pub comparable: bool,
    /// The sources that a rollout of the group lacks and another one has, in the order of the
    /// request.
    pub missing: Vec<MissingSource>,
}

/// A source that abstained on a rollout, wholly or in part, and did not do so on all rollouts of
/// the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MissingSource {
    /// The source.
    pub source: SourceId,
    /// The id of the rollout, as in `results`.
    pub rollout: RolloutId,
}

/// The versions that made a reward. Stored with the reward, they explain it later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Versions {
    /// The profile.
    pub profile: ProfileName,
    /// The reward model, as a hash of the files in its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rm: Option<String>,
    /// The calibration of the reward model's scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Calibration>))]
    pub calibration: Option<ReportedCalibration>,
    /// Judge prompts with their content hashes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub judge: BTreeMap<String, String>,
    /// Rule packs with their content hashes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, String>,
    /// External sources with their versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other: BTreeMap<String, String>,
    /// The fusion, with the request's changes.
    #[cfg_attr(feature = "openapi", schema(value_type = FusionConfig))]
    pub fusion: ReportedFusion,
    /// The generation, from 1. It counts loads and rollbacks since the server started.
    pub generation: u64,
    /// The digest (`sha256:…`) of everything in the profile that shapes a reward. It is equal on
    /// all servers with the same configuration and files. Changes of `fusion` and `sources` in the
    /// request do not change it. A later server may use another form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Further settings, of which `sources` has kind, role, weight and version of each source by its
    /// name. There if the replies have `parts`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>, additional_properties = true))]
    pub settings: BTreeMap<String, serde_json::Value>,
}

impl Versions {
    /// Versions without any source.
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
            digest: None,
            settings: BTreeMap::new(),
        }
    }
}

/// One line of a streamed reply (`Accept: application/x-ndjson`): results as they become final,
/// then the summary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum StreamLine {
    /// The last line.
    Summary(Box<StreamSummary>),
    /// One rollout's result.
    Result(Box<StreamedResult>),
}

/// A rollout's result with its index in the request, since lines arrive in the order they become
/// final.
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
    /// The id of the request, as in the server's log.
    pub request_id: RequestId,
    /// The number of result lines before. Fewer than the request's rollouts means that lines were
    /// lost.
    pub results: usize,
    /// As in [`ScoreResponse`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<IncomparableGroup>,
    /// The versions that made these rewards.
    pub versions: Versions,
    /// As in [`ScoreResponse`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, Versions>,
    /// The cost.
    pub usage: Usage,
}
