//! Clip-Cov and KL-Cov: what is done to the tokens whose log-prob and advantage vary together most.
//!
//! The choice needs all tokens of the batch, so it follows the walk over them.

use super::{LOG_RATIO_LIMIT, PolicyBatch, PolicyConfig, PolicySums, Surrogate};
use crate::error::{OptimError, require};
use crate::kernel::float::Float;

pub(super) fn check_share(share: f64) -> Result<(), OptimError> {
    require(share > 0.0 && share <= 1.0, "cov_share", share, "above 0 and at most 1")
}

impl PolicySums {
    /// Adds what Clip-Cov and KL-Cov do to some tokens of the whole batch; nothing for other
    /// surrogates.
    pub(crate) fn add_covariance<F: Float>(
        &mut self,
        config: &PolicyConfig,
        batch: &PolicyBatch<'_, F>,
        dlogp: &mut [F],
    ) -> Result<(), OptimError> {
        let chosen = match config.surrogate {
            Surrogate::ClipCov { clip, share, low, high, seed } => {
                let mut within = covariances(batch, |slot| {
                    let (free, fixed) = ppo(batch, slot, clip.low, clip.high);
                    fixed <= free
                });
                within.retain(|&(covariance, _)| covariance > low && covariance < high);
                within.iter_mut().for_each(|(key, slot)| *key = hash(seed, *slot as u64));
                greatest(within, share, self.tokens)
            }
            Surrogate::KlCov { share, .. } => {
                greatest(covariances(batch, |_| true), share, self.tokens)
            }
            _ => return Ok(()),
        };
        let weigher = config.aggregation.weigher(&batch.mask, batch.normaliser)?;
        for &slot in &chosen {
            let row = slot / batch.mask.width().max(1);
            let correction = batch.correction.map_or(1.0, |weights| weights[slot].to_f64());
            let scale = weigher.weight(batch.mask.count(row)) * correction;
            match config.surrogate {
                Surrogate::KlCov { coefficient, .. } => {
                    let log_ratio = (batch.logp[slot] - batch.old_logp[slot]).to_f64();
                    let sign =
                        f64::from(u8::from(log_ratio > 0.0)) - f64::from(u8::from(log_ratio < 0.0));
                    self.loss += scale * coefficient * log_ratio.abs();
                    dlogp[slot] += F::from_f64(scale * coefficient * sign);
                }
                Surrogate::ClipCov { clip, .. } => {
                    let (free, fixed) = ppo(batch, slot, clip.low, clip.high);
                    self.loss -= scale * free.max(fixed);
                    dlogp[slot] = F::ZERO;
                }
                _ => {}
            }
        }
        if let Surrogate::ClipCov { .. } = config.surrogate {
            // As in verl, the share of tokens that were left out.
            self.clipped = chosen.len() as f64;
        }
        if self.loss.is_finite() { Ok(()) } else { Err(OptimError::Overflow { what: "loss" }) }
    }
}

/// PPO's loss of a token, unclipped and clipped.
fn ppo<F: Float>(batch: &PolicyBatch<'_, F>, slot: usize, low: f64, high: f64) -> (f64, f64) {
    let log_ratio = (batch.logp[slot] - batch.old_logp[slot]).to_f64();
    let ratio = log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp();
    let advantage = batch.advantages[slot].to_f64();
    (-advantage * ratio, -advantage * ratio.clamp(1.0 - low, 1.0 + high))
}

/// The product of the deviations of advantage and log-prob from their means over all tokens, with
/// the slot, for the tokens that are asked for.
fn covariances<F: Float>(
    batch: &PolicyBatch<'_, F>,
    asked: impl Fn(usize) -> bool,
) -> Vec<(f64, usize)> {
    let slots = || (0..batch.mask.rows()).flat_map(|row| batch.mask.spans(row).flatten());
    let count = (batch.mask.tokens() as f64).max(1.0);
    let mean = |of: &[F]| slots().map(|slot| of[slot].to_f64()).sum::<f64>() / count;
    let (advantage, logp) = (mean(batch.advantages), mean(batch.logp));
    let covariance = |slot: usize| {
        (batch.advantages[slot].to_f64() - advantage) * (batch.logp[slot].to_f64() - logp)
    };
    slots().filter(|&slot| asked(slot)).map(|slot| (covariance(slot), slot)).collect()
}

/// The slots with the greatest keys, as many as the share of all tokens and at least one; among
/// equal keys the first.
fn greatest(mut keys: Vec<(f64, usize)>, share: f64, tokens: usize) -> Vec<usize> {
    let wanted = ((share * tokens as f64) as usize).max(1);
    if keys.len() > wanted {
        keys.select_nth_unstable_by(wanted, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        keys.truncate(wanted);
    }
    // In order, so that the sum of their losses does not depend on the selection.
    keys.sort_unstable_by_key(|&(_, slot)| slot);
    keys.into_iter().map(|(_, slot)| slot).collect()
}

/// A number within 0..1 that looks random: SplitMix64.
fn hash(seed: u64, slot: u64) -> f64 {
    let mut z = seed.wrapping_add(slot.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
