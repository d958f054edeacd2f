//! The optimal token baseline: one baseline for each position of a group's rollouts.

use std::collections::HashMap;

use crate::error::{OptimError, require};
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;
use crate::names::named;

/// The tokens of siblings that are compared with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenAlignment {
    /// Tokens with the same number of valid tokens before them, so that gaps do not count (verl's
    /// multi-turn form).
    #[default]
    Tokens,
    /// Tokens in the same slot.
    Slots,
}

named!(TokenAlignment, "alignment", { Tokens => "tokens", Slots => "slots" });

/// Settings of [`optimal_token_baseline`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OtbConfig {
    /// The tokens that are compared.
    pub alignment: TokenAlignment,
    /// Sets the baseline to 0 where only the longest rollout of a group still has tokens, instead
    /// of its own return, which would leave it no advantage there. Default true (verl's).
    pub zero_tail: bool,
    /// Added to the sum of weights in the denominator, above 0. Default 1e-8 (verl's).
    pub eps: f64,
}

impl Default for OtbConfig {
    fn default() -> Self {
        Self { alignment: TokenAlignment::default(), zero_tail: true, eps: 1e-8 }
    }
}

impl OtbConfig {
    pub(crate) fn check(&self) -> Result<(), OptimError> {
        require(self.eps > 0.0 && self.eps.is_finite(), "eps", self.eps, "finite and above 0")
    }
}

/// The inputs of [`optimal_token_baseline`].
#[derive(Clone, Copy, Debug)]
pub struct OtbBatch<'a, F> {
    /// The valid tokens.
    pub mask: RowMask<'a>,
    /// Token rewards, `[B, T]`.
    pub rewards: &'a [F],
    /// Log-probs under the policy that sampled the tokens, `[B, T]`, nats.
    pub old_logp: &'a [F],
    /// The sum of the squared probabilities of the whole vocabulary before each token, `[B, T]`,
    /// within 0..=1.
    pub sum_pi_squared: &'a [F],
    /// Importance weights, `[B, T]`, whose squares multiply the weights.
    pub correction: Option<&'a [F]>,
    /// The group of each rollout, `[B]`.
    pub groups: &'a [usize],
}

/// Writes each token's return less the baseline of its position, and the returns (both `[B, T]`, 0
/// in padded slots).
///
/// With `G` a token's undiscounted reward-to-go, and `W` the sum over the row up to this token of
/// `1 - 2 pi + sum pi^2` (the squared norm of the gradient of the log-prob by the logits):
///
/// ```text
/// baseline = sum(W G) / (sum(W) + eps)      over the tokens of the group at this position
/// ```
///
/// A rollout without siblings gets 0 (verl: its returns). Source: verl 0.9.1,
/// `compute_optimal_token_baseline_advantage` and its multi-turn form.
///
/// # Errors
/// [`OptimError::Shape`], [`OptimError::Config`] for an `eps` of 0 or less,
/// [`OptimError::NonFinite`] for a NaN or infinity in a valid slot, [`OptimError::Overflow`].
pub fn optimal_token_baseline<F: Float>(
    config: &OtbConfig,
    batch: &OtbBatch<'_, F>,
    advantages: &mut [F],
    returns: &mut [F],
) -> Result<(), OptimError> {
    config.check()?;
    let mask = batch.mask;
    mask.check_all(&[
        ("rewards", batch.rewards.len()),
        ("old_logp", batch.old_logp.len()),
        ("sum_pi_squared", batch.sum_pi_squared.len()),
        ("correction", batch.correction.map_or(mask.slots(), <[F]>::len)),
        ("advantages", advantages.len()),
        ("returns", returns.len()),
    ])?;
    mask.check_rows("groups", batch.groups.len())?;
    advantages.fill(F::ZERO);
    returns.fill(F::ZERO);

    let mut groups: HashMap<usize, Vec<usize>> = HashMap::new();
    for (row, &group) in batch.groups.iter().enumerate() {
        if mask.last(row).is_some() {
            groups.entry(group).or_default().push(row);
        }
    }
    let mut finite = true;
    for rows in groups.values() {
        finite &= one_group(config, batch, rows, advantages, returns);
    }
    if finite {
        return Ok(());
    }
    let correction = batch.correction.unwrap_or(batch.rewards);
    Err(mask.non_finite_error(
        "advantages",
        &[
            ("rewards", batch.rewards),
            ("old_logp", batch.old_logp),
            ("sum_pi_squared", batch.sum_pi_squared),
            ("correction", correction),
        ],
    ))
}

/// Writes the rows of one group; returns false if a result is not finite.
fn one_group<F: Float>(
    config: &OtbConfig,
    batch: &OtbBatch<'_, F>,
    rows: &[usize],
    advantages: &mut [F],
    returns: &mut [F],
) -> bool {
    let (mask, width) = (batch.mask, batch.mask.width());
    let position = |row: usize, token: usize, slot: usize| match config.alignment {
        TokenAlignment::Tokens => token,
        TokenAlignment::Slots => slot - row * width,
    };
    // Of each position, the sums of W G and of W.
    let mut sums = vec![(0.0, 0.0); width];
    let mut weights = vec![0.0; width];
    for &row in rows {
        let mut weight = 0.0;
        for (token, slot) in mask.spans(row).flatten().enumerate() {
            let energy = 1.0 - 2.0 * batch.old_logp[slot].to_f64().exp()
                + batch.sum_pi_squared[slot].to_f64();
            let importance = batch.correction.map_or(1.0, |weights| weights[slot].to_f64());
            weight += energy * importance * importance;
            weights[token] = weight;
        }
        let mut to_go = 0.0;
        for (token, slot) in
            mask.spans(row).flatten().enumerate().collect::<Vec<_>>().into_iter().rev()
        {
            to_go += batch.rewards[slot].to_f64();
            returns[slot] = F::from_f64(to_go);
            let sum = &mut sums[position(row, token, slot)];
            *sum = (sum.0 + weights[token] * to_go, sum.1 + weights[token]);
        }
    }
    let mut lens: Vec<usize> = rows.iter().map(|&row| mask.count(row)).collect();
    lens.sort_unstable();
    let [.., second, longest] = lens[..] else {
        return rows
            .iter()
            .flat_map(|&row| mask.spans(row).flatten())
            .all(|slot| (returns[slot].to_f64() + weights[0]).is_finite());
    };
    let mut finite = true;
    for &row in rows {
        let alone = config.zero_tail && longest > second && mask.count(row) == longest;
        for (token, slot) in mask.spans(row).flatten().enumerate() {
            let at = position(row, token, slot);
            let (product, weight) = sums[at];
            let baseline =
                if alone && at >= second { 0.0 } else { product / (weight + config.eps) };
            // From the wide sum, and not from the rounded return.
            let advantage = F::from_f64(returns[slot].to_f64() - baseline);
            advantages[slot] = advantage;
            finite &= advantage.is_finite() & weight.is_finite();
        }
    }
    finite
}

#[cfg(test)]
mod tests {
    use super::{OtbBatch, OtbConfig, TokenAlignment, optimal_token_baseline};
    use crate::error::OptimError;
    use crate::kernel::rows::RowMask;
    use crate::testing::assert_close;

    #[test]
    fn the_baseline_weighs_siblings_by_their_energy_so_far() {
        // Energies 1 and 0.5 at the first token; the second token is alone.
        let logp = [f64::NEG_INFINITY.max(-1e3), -1e3, -1e3, -1e3];
        let squares = [0.0, 0.0, -0.5, 9.0];
        let rewards = [1.0, 2.0, 6.0, 9.0];
        let batch = OtbBatch {
            mask: RowMask::lens(&[2, 1], 2).unwrap(),
            rewards: &rewards,
            old_logp: &logp,
            sum_pi_squared: &squares,
            correction: None,
            groups: &[0, 0],
        };
        let (mut advantages, mut returns) = ([9.0; 4], [9.0; 4]);
        let run = |config: OtbConfig, advantages: &mut [f64], returns: &mut [f64]| {
            optimal_token_baseline(&config, &batch, advantages, returns).unwrap();
        };
        run(OtbConfig::default(), &mut advantages, &mut returns);
        // (1 * 3 + 0.5 * 6) / 1.5 = 4.
        assert_close(&advantages, &[-1.0, 2.0, 2.0, 0.0], 1e-7);
        assert_close(&returns, &[3.0, 2.0, 6.0, 0.0], 1e-15);
        run(OtbConfig { zero_tail: false, ..OtbConfig::default() }, &mut advantages, &mut returns);
        assert_close(&advantages, &[-1.0, 0.0, 2.0, 0.0], 1e-7);
    }

    #[test]
    fn gaps_count_by_slots_only_and_a_lone_rollout_has_no_advantage() {
        let bytes = [1, 0, 1, 1, 1, 0, 1, 1, 1];
        let (rewards, logp, squares) = ([1.0; 9], [-1.0; 9], [0.3; 9]);
        let batch = OtbBatch {
            mask: RowMask::bytes(&bytes, 3, 3).unwrap(),
            rewards: &rewards,
            old_logp: &logp,
            sum_pi_squared: &squares,
            correction: None,
            groups: &[0, 0, 1],
        };
        let (mut advantages, mut returns) = ([9.0; 9], [9.0; 9]);
        optimal_token_baseline(&OtbConfig::default(), &batch, &mut advantages, &mut returns)
            .unwrap();
        assert_close(&advantages, &[0.0; 9], 1e-7);
        assert_close(&returns[6..], &[3.0, 2.0, 1.0], 1e-15);
        let slots = OtbConfig { alignment: TokenAlignment::Slots, ..OtbConfig::default() };
        optimal_token_baseline(&slots, &batch, &mut advantages, &mut returns).unwrap();
        // The second token of the second row is alone in its slot, as is the third slot's.
        assert_close(&advantages[..6], &[0.0; 6], 1e-7);
    }

    #[test]
    fn a_nan_is_reported_with_its_place_and_a_wrong_length_by_name() {
        let (ones, nan) = ([1.0; 4], [1.0, 1.0, 1.0, f64::NAN]);
        let batch = |squares, groups| OtbBatch {
            mask: RowMask::full(2, 2),
            rewards: &ones,
            old_logp: &ones,
            sum_pi_squared: squares,
            correction: None,
            groups,
        };
        let run = |batch: OtbBatch<'_, f64>| {
            optimal_token_baseline(&OtbConfig::default(), &batch, &mut [0.0; 4], &mut [0.0; 4])
        };
        let place = OptimError::NonFinite { what: "sum_pi_squared", row: 1, token: 1 };
        assert_eq!(run(batch(&nan, &[0, 0])), Err(place));
        assert!(matches!(
            run(batch(&ones[..3], &[0, 0])),
            Err(OptimError::Shape { what: "sum_pi_squared", .. })
        ));
        assert!(matches!(run(batch(&ones, &[0])), Err(OptimError::Shape { what: "groups", .. })));
    }
}
