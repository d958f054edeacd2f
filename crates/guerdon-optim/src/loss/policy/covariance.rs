//! Clip-Cov and KL-Cov: what is done to the tokens whose log-prob and advantage vary together most.
//!
//! The choice needs all tokens of the batch, so it follows the walk over them.

use super::batch::PolicyBatch;
use super::surrogate::LOG_RATIO_LIMIT;
use crate::error::{OptimError, require};
use crate::kernel::float::Float;

pub(super) fn check_share(share: f64) -> Result<(), OptimError> {
    require(share > 0.0 && share <= 1.0, "cov_share", share, "above 0 and at most 1")
}

/// The tokens that Clip-Cov leaves out: a random share, from those that PPO's clip leaves alone and
/// whose covariance is above `low` and below `high`.
pub(super) fn random_in_band<F: Float>(
    batch: &PolicyBatch<'_, F>,
    [clip_low, clip_high]: [f64; 2],
    [low, high]: [f64; 2],
    (seed, share): (u64, f64),
) -> Vec<usize> {
    let mut within = covariances(batch, |slot| {
        let (free, fixed) = ppo(batch, slot, clip_low, clip_high);
        fixed <= free
    });
    within.retain(|&(covariance, _)| covariance > low && covariance < high);
    within.iter_mut().for_each(|(key, slot)| *key = hash(seed, *slot as u64));
    greatest(within, share, batch.mask.tokens())
}

/// The share of tokens with the greatest covariance.
pub(super) fn greatest_share<F: Float>(batch: &PolicyBatch<'_, F>, share: f64) -> Vec<usize> {
    greatest(covariances(batch, |_| true), share, batch.mask.tokens())
}

/// PPO's loss of a token, unclipped and clipped.
pub(super) fn ppo<F: Float>(
    batch: &PolicyBatch<'_, F>,
    slot: usize,
    low: f64,
    high: f64,
) -> (f64, f64) {
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
