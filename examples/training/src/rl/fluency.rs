//! The fluency guard: a policy that leaves the language of imitation is noticed, not paid, and
//! stopped.
//!
//! The measure is the perplexity of a reply under the imitation policy, in nats per token. It is no
//! part of any reward model or rule, so a policy that exploits those does not see it. It has two
//! roles: a gate, which lowers the reward of a reply that imitation would hardly say, and an audit,
//! which ends a run whose held-out replies have too many of them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::settings::RlSettings;
use crate::checkpoint::{from_json, to_json};
use crate::metrics::MetricsRow;

/// The limit of a run, from the imitation policy's own replies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FluencyGuard {
    /// The greatest perplexity of a fluent reply, in nats per token.
    pub limit: f64,
    /// The greatest reward of another reply.
    pub floor: f64,
    /// The greatest share of such replies among held-out ones.
    pub share: f64,
    /// The greatest mean KL to the imitation policy, in nats per token.
    pub kl: f64,
}

impl FluencyGuard {
    /// The guard whose limit is a quantile of `nats`, the perplexities of the imitation policy's
    /// replies; `None` if the settings switch it off.
    #[must_use]
    pub fn calibrate(settings: &RlSettings, nats: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = nats.iter().copied().filter(|x| x.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let rank = (settings.fluency_quantile * sorted.len() as f64).ceil() as usize;
        let limit = *sorted.get(rank.checked_sub(1)?)?;
        let RlSettings { fluency_floor: floor, stop_share: share, kl_bound: kl, .. } = *settings;
        Some(Self { limit, floor, share, kl })
    }

    /// Lowers the rewards of replies that are not fluent to the floor; returns their number.
    pub fn gate(&self, nats: &[f64], rewards: &mut [f32]) -> usize {
        let mut gated = 0;
        for (reward, nats) in rewards.iter_mut().zip(nats) {
            if *nats > self.limit {
                #[expect(clippy::cast_possible_truncation, reason = "the policy is trained in f32")]
                let floor = self.floor as f32;
                *reward = reward.min(floor);
                gated += 1;
            }
        }
        gated
    }

    /// Adds the audit of some replies as figures named `set/...`.
    pub fn report(&self, row: &mut MetricsRow, set: &str, nats: &[f64]) {
        row.mean(format!("{set}/nats_per_token"), nats.iter().copied());
        let over = |nats: &f64| f64::from(u8::from(*nats > self.limit));
        row.mean(format!("{set}/not_fluent"), nats.iter().map(over));
    }

    /// The reason to stop after a look, if the audit fails.
    #[must_use]
    pub fn verdict(&self, row: &MetricsRow) -> Option<String> {
        let over = row.get("held_out/not_fluent").filter(|share| *share > self.share);
        let far = row.get("kl/token_mean").filter(|kl| *kl > self.kl);
        let (limit, bound) = (self.limit, self.share * 100.0);
        let language = over.map(|share| {
            format!(
                "{:.0} % of the held-out replies are less fluent than {limit:.2} nats per token \
                 (limit {bound:.0} %)",
                share * 100.0
            )
        });
        let distance = far.map(|kl| {
            format!("the policy is {kl:.3} nats per token from imitation (limit {})", self.kl)
        });
        let reasons: Vec<String> = language.into_iter().chain(distance).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Reads the guard of a run.
    ///
    /// # Errors
    /// A file that is not one.
    pub fn load(file: &Path) -> anyhow::Result<Option<Self>> {
        if file.exists() { from_json(file) } else { Ok(None) }
    }

    /// Writes the guard of a run.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(guard: Option<Self>, file: &Path) -> anyhow::Result<()> {
        to_json(file, &guard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rl::Arm;

    fn settings() -> RlSettings {
        RlSettings {
            fluency_quantile: 0.75,
            fluency_floor: -2.0,
            stop_share: 0.5,
            kl_bound: 0.1,
            ..RlSettings::of(Arm::Repo)
        }
    }

    #[test]
    fn the_limit_is_a_quantile_of_imitation_and_replies_beyond_it_are_not_paid() {
        let guard = FluencyGuard::calibrate(&settings(), &[0.4, 0.1, 0.3, 0.2]).unwrap();
        assert!((guard.limit - 0.3).abs() < 1e-12);
        let mut rewards = [1.0, 5.0, -3.0, f32::NAN];
        assert_eq!(guard.gate(&[0.3, 0.31, 9.0, 0.1], &mut rewards), 2);
        assert_eq!(rewards[..3], [1.0, -2.0, -3.0]);
        assert!(rewards[3].is_nan(), "what has no reward gets none");
        let off = RlSettings { fluency_quantile: 0.0, ..settings() };
        assert_eq!(FluencyGuard::calibrate(&off, &[0.4]), None);
    }

    /// The collapse that the reward does not show: higher rewards, words that imitation never says.
    #[test]
    fn a_rising_reward_with_collapsing_language_stops_the_run() {
        let guard = FluencyGuard::calibrate(&settings(), &[0.1, 0.2, 0.3, 0.4]).unwrap();
        let look = |nats: &[f64], kl: f64, reward: f64| {
            let mut row = MetricsRow::new(8);
            row.set("held_out/reward", reward);
            row.set("kl/token_mean", kl);
            guard.report(&mut row, "held_out", nats);
            guard.verdict(&row)
        };
        assert_eq!(look(&[0.2, 0.5, 0.1, 0.3], 0.02, -0.4), None);
        let why = look(&[2.2, 1.9, 0.2, 3.0], 0.02, 0.7).unwrap();
        assert!(why.contains("75 % of the held-out replies"), "{why}");
        let why = look(&[0.1; 4], 0.4, 0.7).unwrap();
        assert!(why.contains("0.400 nats per token from imitation"), "{why}");
    }
}
