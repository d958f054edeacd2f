//! The settings of an update, and the named sets of them.

use crate::advantage::gae::GaeConfig;
use crate::advantage::group::{Estimator, GroupConfig};
use crate::advantage::whiten::WhitenConfig;
use crate::error::{OptimError, require};
use crate::loss::aggregate::Aggregation;
use crate::loss::kl::{KlConfig, KlEstimator, KlGradient};
use crate::loss::policy::{ClipRange, PolicyConfig, Surrogate};
use crate::loss::value::ValueConfig;
use crate::monitors::MonitorConfig;
use crate::reward::kl_control::KlController;

/// Where advantages come from.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum AdvantageMethod {
    /// A critic; needs values.
    Gae(GaeConfig),
    /// Discounted rewards-to-go; whiten them. `gamma` within 0..=1.
    ReinforcePlusPlus {
        /// Discount per token.
        gamma: f64,
    },
    /// Rewards-to-go less the reward of a greedy answer; needs baselines.
    ReMax,
    /// Siblings; needs groups. With [`Estimator::DrGrpo`] and whitening it is REINFORCE++-baseline.
    Group(GroupConfig),
    /// Siblings, weighed by length; needs groups.
    Opo,
    /// Siblings, reward model, judge and rules each by itself; needs groups and parts.
    Gdpo {
        /// How each part is compared.
        group: GroupConfig,
        /// What reward model, judge and rules count.
        weights: [f64; 3],
    },
}

/// The critic's part of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CriticConfig {
    /// How its error is measured.
    pub loss: ValueConfig,
    /// What it counts in the whole loss, 0 or more. Default 1: the critic is a network of its own.
    pub coefficient: f64,
}

impl Default for CriticConfig {
    fn default() -> Self {
        Self { loss: ValueConfig::default(), coefficient: 1.0 }
    }
}

/// A KL term in the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KlLossConfig {
    /// The estimator and its gradient.
    pub kl: KlConfig,
    /// What a nat counts in the whole loss, 0 or more.
    pub coefficient: f64,
}

/// All settings of an update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RepoConfig {
    /// Where advantages come from.
    pub advantage: AdvantageMethod,
    /// Whether they are whitened over the batch's tokens.
    pub whiten: Option<WhitenConfig>,
    /// The estimator of the KL that token rewards are charged for.
    pub kl: KlConfig,
    /// The price of a nat in token rewards. Without a reference policy in the batch nothing is charged.
    pub beta: KlController,
    /// The policy's surrogate and the weight of a token.
    pub policy: PolicyConfig,
    /// A KL term in the loss, besides or instead of the charge.
    pub kl_loss: Option<KlLossConfig>,
    /// What a nat of entropy is worth in the whole loss, 0 or more; reads the batch's entropies.
    pub entropy_coefficient: f64,
    /// The critic's loss, where there is one.
    pub critic: Option<CriticConfig>,
    /// The limits that the monitors count against.
    pub monitors: MonitorConfig,
}

impl RepoConfig {
    /// REPO (arXiv 2510.04214): an actor and a critic, generalized advantage estimation on the fused reward of a
    /// rollout, a clipped update.
    ///
    /// The paper publishes the form, not the numbers; those here are the usual ones of PPO for language models: clip
    /// 0.2, gamma 1, lambda 0.95, whitened advantages, `k1` at 0.05 a nat charged in the reward, value clip 0.2.
    pub fn paper() -> Self {
        Self {
            advantage: AdvantageMethod::Gae(GaeConfig::default()),
            whiten: Some(WhitenConfig::default()),
            kl: KlConfig::default(),
            beta: KlController::default(),
            policy: PolicyConfig::default(),
            kl_loss: None,
            entropy_coefficient: 0.0,
            critic: Some(CriticConfig::default()),
            monitors: MonitorConfig::default(),
        }
    }

    /// GRPO (arXiv 2402.03300): groups instead of a critic, rows weighed alike, `k3` at 0.04 a nat in the loss.
    pub fn grpo() -> Self {
        let k3 = KlConfig { estimator: KlEstimator::K3, ..KlConfig::default() };
        Self {
            advantage: AdvantageMethod::Group(GroupConfig::default()),
            whiten: None,
            beta: KlController::free(),
            policy: PolicyConfig {
                aggregation: Aggregation::SeqMeanTokenMean,
                ..PolicyConfig::default()
            },
            kl_loss: Some(KlLossConfig { kl: k3, coefficient: 0.04 }),
            critic: None,
            ..Self::paper()
        }
    }

    /// DAPO (arXiv 2503.14476): GRPO without KL, with clip-higher and every token weighed alike.
    pub fn dapo() -> Self {
        let clip = ClipRange { low: 0.2, high: 0.28 };
        Self {
            policy: PolicyConfig {
                surrogate: Surrogate::Ppo { clip, dual: None },
                aggregation: Aggregation::TokenMean,
            },
            kl_loss: None,
            ..Self::grpo()
        }
    }

    /// GSPO (arXiv 2507.18071): one ratio for a row, clipped within 3e-4 and 4e-4.
    pub fn gspo() -> Self {
        let clip = ClipRange { low: 3e-4, high: 4e-4 };
        Self {
            policy: PolicyConfig {
                surrogate: Surrogate::Gspo { clip },
                aggregation: Aggregation::SeqMeanTokenMean,
            },
            kl_loss: None,
            ..Self::grpo()
        }
    }

    /// REINFORCE++-baseline (arXiv 2501.03262): group means, whitened over the batch, `k2` in the loss.
    pub fn reinforce_plus_plus_baseline() -> Self {
        let group = GroupConfig { estimator: Estimator::DrGrpo, ..GroupConfig::default() };
        let kl = KlConfig {
            estimator: KlEstimator::K2,
            gradient: KlGradient::Formula,
            ..KlConfig::default()
        };
        Self {
            advantage: AdvantageMethod::Group(group),
            whiten: Some(WhitenConfig::default()),
            policy: PolicyConfig::default(),
            kl_loss: Some(KlLossConfig { kl, coefficient: 0.01 }),
            ..Self::grpo()
        }
    }

    pub(super) fn check(&self) -> Result<(), OptimError> {
        let law = "finite and 0 or more";
        let holds = |x: f64| x >= 0.0 && x.is_finite();
        let entropy = self.entropy_coefficient;
        require(holds(entropy), "entropy_coefficient", entropy, law)?;
        if let Some(CriticConfig { coefficient, .. }) = self.critic {
            require(holds(coefficient), "critic.coefficient", coefficient, law)?;
        }
        if let Some(KlLossConfig { coefficient, .. }) = self.kl_loss {
            require(holds(coefficient), "kl_loss.coefficient", coefficient, law)?;
        }
        Ok(())
    }
}
