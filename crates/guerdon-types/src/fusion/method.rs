//! The methods of the fusion, and the aggregates of turn rewards.

use serde::{Deserialize, Serialize};

use crate::Vocabulary;

/// The method of the fusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FusionMethod {
    /// The paper's bounded, sign-keeping modulation of the RM by judge and rules.
    Repo,
    /// A weighted sum.
    WeightedSum,
    /// As `inner`, but the reward of a turn with a `veto` is at most `floor`.
    Gated,
    /// The soft minimum of the terms of `weighted_sum`, with temperature `beta`.
    SoftMin,
    /// As `inner`, but a rollout with a `veto` has no reward and leaves its group.
    Screen,
    /// The RM's order within the strata of right and wrong replies, over the samples of a group.
    Hero,
}

/// The fusion that `gated` and `screen` apply to a turn without a veto.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum InnerMethod {
    /// As the method `repo`.
    Repo,
    /// As the method `weighted_sum`.
    WeightedSum,
    /// As the method `soft_min`.
    SoftMin,
}

/// The combination of turn rewards into the rollout's reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// The last scored turn's reward.
    Last,
    /// The mean.
    Mean,
    /// The sum.
    Sum,
    /// The lowest turn's reward.
    Min,
}

impl Vocabulary for FusionMethod {
    fn as_str(self) -> &'static str {
        match self {
            Self::Repo => "repo",
            Self::WeightedSum => "weighted_sum",
            Self::Gated => "gated",
            Self::SoftMin => "soft_min",
            Self::Screen => "screen",
            Self::Hero => "hero",
        }
    }
}

impl Vocabulary for InnerMethod {
    fn as_str(self) -> &'static str {
        match self {
            Self::Repo => "repo",
            Self::WeightedSum => "weighted_sum",
            Self::SoftMin => "soft_min",
        }
    }
}

impl Vocabulary for Aggregate {
    fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Mean => "mean",
            Self::Sum => "sum",
            Self::Min => "min",
        }
    }
}
