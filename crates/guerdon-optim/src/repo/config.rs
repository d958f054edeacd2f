//! [`RepoConfig`]: the settings of an update, and presets.

use crate::advantage::gae::GaeConfig;
use crate::advantage::group::{Estimator, GroupConfig};
use crate::advantage::otb::OtbConfig;
use crate::advantage::whiten::WhitenConfig;
use crate::error::{OptimError, require};
use crate::loss::aggregate::Aggregation;
use crate::loss::kl::{KlConfig, KlEstimator, KlGradient};
use crate::loss::policy::{ClipRange, PolicyConfig, Surrogate};
use crate::loss::value::ValueConfig;
use crate::monitors::MonitorConfig;
use crate::reward::kl_control::KlController;

/// The source of advantages.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum AdvantageMethod {
    /// GAE from a critic; needs values.
    Gae(GaeConfig),
    /// Discounted rewards-to-go, to be whitened.
    ReinforcePlusPlus {
        /// Discount per token, within 0..=1.
        gamma: f64,
    },
    /// Rewards-to-go minus the reward of the greedy answer; needs baselines.
    ReMax,
    /// Comparison with siblings; needs groups. With [`Estimator::DrGrpo`] and whitening it is
    /// REINFORCE++-baseline.
    Group(GroupConfig),
    /// OPO: comparison with siblings weighted by length; needs groups.
    Opo,
    /// The optimal token baseline; needs groups and the sums of squared probabilities.
    Otb(OtbConfig),
    /// GAE whose steps are turns, from a critic; needs values.
    TurnGae(GaeConfig),
    /// Comparison of turns with the same turn of siblings (MT-GRPO); needs groups and the rewards
    /// of turns. The outcome is the reward of the rollout.
    TurnGroup {
        /// The estimator for turns and outcomes.
        group: GroupConfig,
        /// The coefficient of the outcome in turns before the last, finite.
        coefficient: f64,
    },
    /// GDPO: comparison with siblings, separately for reward model, judge and rules; needs groups
    /// and rewards by source.
    Gdpo {
        /// The estimator for each source.
        group: GroupConfig,
        /// The weights of reward model, judge and rules.
        weights: [f64; 3],
    },
}

/// The critic's term of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CriticConfig {
    /// The value loss.
    pub loss: ValueConfig,
    /// Its coefficient in the total loss, 0 or more. Default 1, for a critic that is a separate
    /// network.
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
    /// Its coefficient in the total loss per nat, 0 or more.
    pub coefficient: f64,
}

/// All settings of an update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RepoConfig {
    /// The source of advantages.
    pub advantage: AdvantageMethod,
    /// Whitening of the advantages over the batch's tokens; none to leave them as they are.
    pub whiten: Option<WhitenConfig>,
    /// The KL estimator of the charge in token rewards.
    pub kl: KlConfig,
    /// The coefficient of the KL charge in token rewards; above 0 it needs a reference policy. With
    /// GDPO, which compares the parts and not the charged rewards, it must be 0: use `kl_loss`.
    pub beta: KlController,
    /// The policy's surrogate and the weight of a token.
    pub policy: PolicyConfig,
    /// A KL term in the loss, in addition to the charge or instead of it.
    pub kl_loss: Option<KlLossConfig>,
    /// The coefficient of the entropy bonus in the total loss, 0 or more; above 0 it needs the
    /// batch's entropies.
    pub entropy_coefficient: f64,
    /// The critic's loss; none without a critic.
    pub critic: Option<CriticConfig>,
    /// The thresholds of the monitors.
    pub monitors: MonitorConfig,
}

impl RepoConfig {
    /// REPO (arXiv 2510.04214): actor and critic, generalized advantage estimation on the fused
    /// reward of a rollout, and a clipped update.
    ///
    /// The paper publishes the form but not the numbers. Those here are usual for PPO on language
    /// models: clip 0.2, gamma 1, lambda 0.95, whitened advantages, `k1` charged in the reward at
    /// 0.05 per nat, value clip 0.2.
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

    /// GRPO (arXiv 2402.03300): groups instead of a critic, equal weights of rows, `k3` in the loss
    /// at 0.04 per nat.
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

    /// DAPO (arXiv 2503.14476): GRPO without KL, with clip-higher and equal weights of tokens.
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

    /// GSPO (arXiv 2507.18071): one ratio per row, with the clip range 3e-4 and 4e-4.
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

    /// REINFORCE++-baseline (arXiv 2501.03262): group means, whitened over the batch, and `k2` in
    /// the loss.
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
        let range = "finite and 0 or more";
        let in_range = |x: f64| x >= 0.0 && x.is_finite();
        let entropy = self.entropy_coefficient;
        require(in_range(entropy), "entropy_coefficient", entropy, range)?;
        if let Some(CriticConfig { coefficient, .. }) = self.critic {
            require(in_range(coefficient), "critic.coefficient", coefficient, range)?;
        }
        if let Some(KlLossConfig { kl, coefficient }) = self.kl_loss {
            require(in_range(coefficient), "kl_loss.coefficient", coefficient, range)?;
            kl.check()?;
        }
        match &self.advantage {
            AdvantageMethod::Gae(gae) | AdvantageMethod::TurnGae(gae) => gae.check()?,
            AdvantageMethod::Otb(otb) => otb.check()?,
            AdvantageMethod::TurnGroup { coefficient, .. } => {
                require(coefficient.is_finite(), "coefficient", *coefficient, "finite")?;
            }
            AdvantageMethod::Gdpo { .. } => {
                let range = "0 with gdpo, which compares the parts and not the charged rewards; \
                             use kl_loss";
                require(!self.beta.charges(), "beta", self.beta.value(), range)?;
            }
            _ => {}
        }
        self.whiten.map_or(Ok(()), |whiten| whiten.check())?;
        self.kl.check()?;
        self.policy.surrogate.check()
    }

    /// Refuses a batch without an input that the terms of the loss need.
    pub(super) fn check_terms(&self, reference: bool, entropy: bool) -> Result<(), OptimError> {
        needs(reference || self.kl_loss.is_none(), "reference", "the loss has a KL term")?;
        let bonus = self.entropy_coefficient > 0.0;
        needs(entropy || !bonus, "entropy", "the loss has an entropy bonus")
    }
}

/// Refuses a batch without an input.
pub(super) fn needs(
    present: bool,
    what: &'static str,
    why: &'static str,
) -> Result<(), OptimError> {
    if present { Ok(()) } else { Err(OptimError::Missing { what, why }) }
}
