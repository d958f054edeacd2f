//! The arms of the study: fusion and optimizer settings.

use clap::ValueEnum;
use guerdon_client::optim::RepoConfig;
use guerdon_client::{Finite, FusionMethod, FusionPatch, Weights};
use serde::{Deserialize, Serialize};

/// A training method. All arms share policy, data and budget.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// REPO: the reward model modulated by judge and rules; actor and critic.
    Repo,
    /// The reward model alone; groups instead of a critic.
    GrpoRm,
    /// The reward model alone; actor and critic.
    PpoRm,
    /// Reward model, judge and rules added up; actor and critic.
    WeightedSum,
    /// REPO, with a veto that lowers the reward to the floor; actor and critic.
    Gated,
}

impl Arm {
    /// Every arm, REPO first.
    pub const ALL: [Self; 5] =
        [Self::Repo, Self::GrpoRm, Self::PpoRm, Self::WeightedSum, Self::Gated];

    /// The name in files and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Repo => "repo",
            Self::GrpoRm => "grpo-rm",
            Self::PpoRm => "ppo-rm",
            Self::WeightedSum => "weighted-sum",
            Self::Gated => "gated",
        }
    }

    /// The optimizer's settings: the paper's form for all but GRPO.
    #[must_use]
    pub fn optimizer(self) -> RepoConfig {
        if self == Self::GrpoRm { RepoConfig::grpo() } else { RepoConfig::paper() }
    }

    /// The fusion requested from the server. The arms on the reward model alone give judge and
    /// rules the weight 0, so that their parts are still reported and plotted, but do not affect
    /// training.
    #[must_use]
    pub fn fusion(self) -> FusionPatch {
        let weights = |others: Finite| Weights {
            rm: Finite::ONE,
            judge: others,
            rules: others,
            other: others,
        };
        let (method, weights) = match self {
            Self::Repo => (FusionMethod::Repo, None),
            Self::Gated => (FusionMethod::Gated, None),
            Self::WeightedSum => (FusionMethod::WeightedSum, Some(weights(Finite::ONE))),
            Self::GrpoRm | Self::PpoRm => {
                (FusionMethod::WeightedSum, Some(weights(Finite::from(0))))
            }
        };
        FusionPatch { method: Some(method), weights, ..FusionPatch::default() }
    }
}
