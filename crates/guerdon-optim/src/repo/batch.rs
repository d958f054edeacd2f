//! [`RepoBatch`]: the inputs of an update.

use std::ops::Range;

use super::config::{AdvantageMethod, RepoConfig, needs};
use crate::error::OptimError;
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;
use crate::loss::aggregate::Normaliser;
use crate::monitors::SourceRewards;

/// A batch of rollouts. `[B, T]` slices are row-major; the contents of padded slots are ignored.
#[derive(Clone, Copy, Debug)]
pub struct RepoBatch<'a, F> {
    pub(super) mask: RowMask<'a>,
    pub(super) logp: &'a [F],
    pub(super) old_logp: &'a [F],
    pub(super) rewards: &'a [F],
    pub(super) reference: Option<&'a [F]>,
    pub(super) values: Option<&'a [F]>,
    pub(super) old_values: Option<&'a [F]>,
    pub(super) bootstrap: Option<&'a [F]>,
    pub(super) groups: Option<&'a [usize]>,
    pub(super) baselines: Option<&'a [F]>,
    pub(super) correction: Option<&'a [F]>,
    pub(super) sum_pi_squared: Option<&'a [F]>,
    pub(super) turn_rewards: Option<&'a [F]>,
    pub(super) entropy: Option<&'a [F]>,
    pub(super) normaliser: Option<Normaliser>,
    pub(super) parts: SourceRewards<'a, F>,
}

impl<'a, F: Float> RepoBatch<'a, F> {
    /// Log-probs (`[B, T]`, nats) of the tokens under the current policy and under the policy that
    /// sampled them, and the fused reward of each rollout (`[B]`, NaN if it was not scored).
    pub fn new(mask: RowMask<'a>, logp: &'a [F], old_logp: &'a [F], rewards: &'a [F]) -> Self {
        Self {
            mask,
            logp,
            old_logp,
            rewards,
            reference: None,
            values: None,
            old_values: None,
            bootstrap: None,
            groups: None,
            baselines: None,
            correction: None,
            sum_pi_squared: None,
            turn_rewards: None,
            entropy: None,
            normaliser: None,
            parts: SourceRewards { rm: &[], judge: &[], rules: &[] },
        }
    }

    /// A batch for [`Repo::estimate`](super::Repo::estimate), which needs no log-probs of the
    /// current policy.
    pub fn sampled(mask: RowMask<'a>, old_logp: &'a [F], rewards: &'a [F]) -> Self {
        Self::new(mask, old_logp, old_logp, rewards)
    }

    /// Sets the log-probs under the reference policy, `[B, T]`.
    #[must_use]
    pub fn with_reference(self, logp: &'a [F]) -> Self {
        Self { reference: Some(logp), ..self }
    }

    /// Sets the critic's predictions now and when the tokens were sampled, `[B, T]`, each of the
    /// state before the token.
    #[must_use]
    pub fn with_critic(self, values: &'a [F], old_values: &'a [F]) -> Self {
        Self { values: Some(values), old_values: Some(old_values), ..self }
    }

    /// Sets the critic's predictions when the tokens were sampled, `[B, T]`, for
    /// [`Repo::estimate`](super::Repo::estimate).
    #[must_use]
    pub fn with_old_values(self, old_values: &'a [F]) -> Self {
        Self { old_values: Some(old_values), ..self }
    }

    /// Sets the value of the state after each row's last token (`[B]`), 0 if the row ended by
    /// itself.
    #[must_use]
    pub fn with_bootstrap(self, values: &'a [F]) -> Self {
        Self { bootstrap: Some(values), ..self }
    }

    /// Sets the group of each rollout (`[B]`): equal numbers for the answers to one prompt.
    #[must_use]
    pub fn with_groups(self, groups: &'a [usize]) -> Self {
        Self { groups: Some(groups), ..self }
    }

    /// Sets the reward of the greedy answer to each rollout's prompt, `[B]`.
    #[must_use]
    pub fn with_baselines(self, rewards: &'a [F]) -> Self {
        Self { baselines: Some(rewards), ..self }
    }

    /// Sets the importance weights of the tokens, `[B, T]`: see
    /// [`importance_weights`](crate::loss::correction::importance_weights).
    #[must_use]
    pub fn with_correction(self, weights: &'a [F]) -> Self {
        Self { correction: Some(weights), ..self }
    }

    /// Sets the sum of the squared probabilities of the whole vocabulary before each token, `[B,
    /// T]`, within 0..=1, for [`AdvantageMethod::Otb`].
    #[must_use]
    pub fn with_sum_pi_squared(self, sums: &'a [F]) -> Self {
        Self { sum_pi_squared: Some(sums), ..self }
    }

    /// Sets the rewards of turns, `[B, T]`, for [`AdvantageMethod::TurnGroup`]: the reward of a run
    /// of valid tokens is their sum.
    #[must_use]
    pub fn with_turn_rewards(self, rewards: &'a [F]) -> Self {
        Self { turn_rewards: Some(rewards), ..self }
    }

    /// Sets the policy's entropy before each token, `[B, T]`, in nats.
    #[must_use]
    pub fn with_entropy(self, entropy: &'a [F]) -> Self {
        Self { entropy: Some(entropy), ..self }
    }

    /// Sets the divisors of the whole batch, for a micro-batch or a rank. Whitening and group
    /// statistics still cover this batch only; to compute them over the whole batch, call
    /// [`Repo::estimate`](super::Repo::estimate) with all of it, and then
    /// [`Repo::improve`](super::Repo::improve) with each part.
    #[must_use]
    pub fn with_normaliser(self, normaliser: Normaliser) -> Self {
        Self { normaliser: Some(normaliser), ..self }
    }

    /// Sets the rewards by source, for the monitors and for GDPO.
    #[must_use]
    pub fn with_parts(self, parts: SourceRewards<'a, F>) -> Self {
        Self { parts, ..self }
    }

    /// A range of rows, for the stages that treat each rollout separately; fields that only the
    /// whole batch can use are not narrowed.
    pub(super) fn part(&self, rows: Range<usize>) -> Self {
        let width = self.mask.width();
        let slots = |slice: &'a [F]| &slice[rows.start * width..rows.end * width];
        Self {
            mask: self.mask.part(rows.clone()),
            logp: slots(self.logp),
            old_logp: slots(self.old_logp),
            rewards: &self.rewards[rows.clone()],
            reference: self.reference.map(slots),
            values: self.values.map(slots),
            old_values: self.old_values.map(slots),
            bootstrap: self.bootstrap.map(|values| &values[rows.clone()]),
            correction: self.correction.map(slots),
            ..*self
        }
    }

    /// Refuses a batch without an input that an update needs, or with a slice of the wrong length.
    pub(super) fn check(&self, config: &RepoConfig) -> Result<(), OptimError> {
        self.mask.check("logp", self.logp.len())?;
        for (what, slice) in [("values", self.values), ("entropy", self.entropy)] {
            self.mask.check(what, slice.map_or(self.mask.slots(), <[F]>::len))?;
        }
        self.check_estimate(config)?;
        config.check_terms(self.reference.is_some(), self.entropy.is_some())
    }

    /// Refuses a batch without an input that the advantages need, or with a slice of the wrong
    /// length.
    pub(super) fn check_estimate(&self, config: &RepoConfig) -> Result<(), OptimError> {
        self.mask.check_rows("rewards", self.rewards.len())?;
        self.mask.check("old_logp", self.old_logp.len())?;
        let optional = [
            ("ref_logp", self.reference),
            ("old_values", self.old_values),
            ("correction", self.correction),
            ("sum_pi_squared", self.sum_pi_squared),
            ("turn_rewards", self.turn_rewards),
        ];
        for (what, slice) in optional {
            self.mask.check(what, slice.map_or(self.mask.slots(), <[F]>::len))?;
        }
        let bootstrap = self.bootstrap.map_or(self.mask.rows(), <[F]>::len);
        self.mask.check_rows("bootstrap", bootstrap)?;
        self.parts.check(&self.mask)?;
        match config.advantage {
            AdvantageMethod::Gae(_) | AdvantageMethod::TurnGae(_) => {
                needs(self.old_values.is_some(), "critic", "GAE estimates from values")?
            }
            AdvantageMethod::ReMax => {
                needs(self.baselines.is_some(), "baselines", "ReMax subtracts them")?
            }
            AdvantageMethod::Group(_)
            | AdvantageMethod::Opo
            | AdvantageMethod::Otb(_)
            | AdvantageMethod::TurnGroup { .. }
            | AdvantageMethod::Gdpo { .. } => {
                needs(
                    self.groups.is_some(),
                    "groups",
                    "rollouts are compared with their siblings",
                )?;
            }
            AdvantageMethod::ReinforcePlusPlus { .. } => {}
        }
        if let AdvantageMethod::Otb(_) = config.advantage {
            let why = "the baseline weighs siblings by it";
            needs(self.sum_pi_squared.is_some(), "sum_pi_squared", why)?;
        }
        if let AdvantageMethod::TurnGroup { .. } = config.advantage {
            let why = "turns are compared by their rewards";
            needs(self.turn_rewards.is_some(), "turn_rewards", why)?;
        }
        if let AdvantageMethod::Gdpo { weights, .. } = config.advantage {
            let parts = [self.parts.rm, self.parts.judge, self.parts.rules];
            let used = weights.iter().zip(parts).any(|(weight, part)| {
                weight.abs() > 0.0 && (!part.is_empty() || self.mask.rows() == 0)
            });
            needs(used, "parts", "GDPO compares rm, judge and rules; give one that has a weight")?;
        }
        let charge = "beta charges the KL to it; give it, or set beta to 0";
        needs(self.reference.is_some() || !config.beta.charges(), "reference", charge)
    }

    /// Marks the rows without a reward or without tokens.
    pub(super) fn drop_unscored(&self, dropped: &mut Vec<u8>) {
        dropped.clear();
        let unscored = |row: usize| self.rewards[row].is_nan() || self.mask.last(row).is_none();
        dropped.extend((0..self.mask.rows()).map(|row| u8::from(unscored(row))));
    }
}
