//! Generalized advantage estimation over ragged rows.

use crate::error::{OptimError, require};
use crate::float::Float;
use crate::rows::RowMask;

/// How far the estimate looks ahead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaeConfig {
    /// Discount per token, within 0..=1. Default 1.0: dialogue rewards come at the end of short episodes.
    pub gamma: f64,
    /// Trade of bias (0) against variance (1), within 0..=1. Default 0.95.
    pub lambda: f64,
}

impl Default for GaeConfig {
    fn default() -> Self {
        Self { gamma: 1.0, lambda: 0.95 }
    }
}

/// Rewards and value estimates of a batch.
#[derive(Clone, Copy, Debug)]
pub struct GaeBatch<'a, F> {
    mask: RowMask<'a>,
    rewards: &'a [F],
    values: &'a [F],
    bootstrap: Option<&'a [F]>,
}

impl<'a, F: Float> GaeBatch<'a, F> {
    /// `rewards` and `values` are `[B, T]`; `values[t]` is the critic's estimate of the state *before* token `t`.
    /// Every row is taken as finished: the value after its last token is 0.
    pub fn new(mask: RowMask<'a>, rewards: &'a [F], values: &'a [F]) -> Self {
        Self { mask, rewards, values, bootstrap: None }
    }

    /// For truncated rows: `bootstrap[b]` (`[B]`) is the value of the state *after* row `b`'s last valid token,
    /// and 0 for a row that ended by itself.
    #[must_use]
    pub fn with_bootstrap(mut self, bootstrap: &'a [F]) -> Self {
        self.bootstrap = Some(bootstrap);
        self
    }
}

/// Writes the advantage and the return (the critic's target) of every valid token; padded slots get 0.
///
/// With `t'` the next *valid* token of the row (verl's carry-forward: observation tokens in between neither
/// reward nor discount, so a row with gaps equals the same row with its gaps cut out):
///
/// ```text
/// delta_t  = r_t + gamma * V_t' - V_t
/// A_t      = delta_t + gamma * lambda * A_t'
/// return_t = A_t + V_t
/// ```
///
/// Units are those of the reward; advantages are not whitened (see [`whiten`](crate::whiten::whiten)). All slices
/// are row-major `[B, T]`. Source: Schulman et al., "High-Dimensional Continuous Control Using Generalized
/// Advantage Estimation" (arXiv 1506.02438), equation 16.
///
/// # Errors
/// [`OptimError::Config`] for gamma or lambda outside 0..=1, [`OptimError::Shape`] for a slice of the wrong
/// length, [`OptimError::NonFinite`] for a NaN or infinity in a valid slot.
pub fn gae<F: Float>(
    config: &GaeConfig,
    batch: &GaeBatch<'_, F>,
    advantages: &mut [F],
    returns: &mut [F],
) -> Result<(), OptimError> {
    require((0.0..=1.0).contains(&config.gamma), "gamma", config.gamma, "within 0..=1")?;
    require((0.0..=1.0).contains(&config.lambda), "lambda", config.lambda, "within 0..=1")?;
    let GaeBatch { mask, rewards, values, bootstrap } = *batch;
    mask.check("rewards", rewards.len())?;
    mask.check("values", values.len())?;
    mask.check("advantages", advantages.len())?;
    mask.check("returns", returns.len())?;
    if let Some(bootstrap) = bootstrap {
        mask.check_rows("bootstrap", bootstrap.len())?;
    }

    advantages.fill(F::ZERO);
    returns.fill(F::ZERO);
    let gamma = F::from_f64(config.gamma);
    let decay = F::from_f64(config.gamma * config.lambda);
    for row in 0..mask.rows() {
        let mut next_value = bootstrap.map_or(F::ZERO, |bootstrap| bootstrap[row]);
        let mut carry = F::ZERO;
        for span in mask.spans(row).rev() {
            for slot in span.rev() {
                let value = values[slot];
                carry = rewards[slot] + gamma * next_value - value + decay * carry;
                next_value = value;
                advantages[slot] = carry;
                returns[slot] = carry + value;
            }
        }
        // NaN and infinity survive every step of the recursion (0 * inf is NaN), so the row's first advantage
        // tells of the whole row.
        if !carry.is_finite() {
            if let Some(bootstrap) = bootstrap
                && !bootstrap[row].is_finite()
            {
                return Err(OptimError::NonFinite { what: "bootstrap", row, token: 0 });
            }
            return Err(mask.blame("advantages", &[("rewards", rewards), ("values", values)]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, proptest};

    use super::{GaeBatch, GaeConfig, gae};
    use crate::error::OptimError;
    use crate::rows::RowMask;
    use crate::testing::assert_close;

    fn run(config: GaeConfig, batch: &GaeBatch<'_, f64>) -> (Vec<f64>, Vec<f64>) {
        let mut out = (vec![9.0; batch.rewards.len()], vec![9.0; batch.rewards.len()]);
        gae(&config, batch, &mut out.0, &mut out.1).unwrap();
        out
    }

    /// alibaba/ROLL#447: the critic's value on a masked token bootstrapped a valid advantage, giving [5.7, 6.0].
    #[test]
    fn a_masked_value_never_bootstraps_a_valid_token() {
        let mask = RowMask::lens(&[2], 3).unwrap();
        let batch = GaeBatch::new(mask, &[0.0, 1.0, 0.0], &[0.0, 0.0, 100.0]);
        let (advantages, returns) = run(GaeConfig { gamma: 1.0, lambda: 0.95 }, &batch);
        assert_close(&advantages, &[0.95, 1.0, 0.0], 1e-15);
        assert_close(&returns, &[0.95, 1.0, 0.0], 1e-15);
    }

    #[test]
    fn a_truncated_row_bootstraps_from_the_value_after_its_last_token() {
        let mask = RowMask::lens(&[1, 2], 2).unwrap();
        let batch = GaeBatch::new(mask, &[1.0, 0.0, 0.0, 1.0], &[0.5, 0.0, 0.25, 0.75]);
        let batch = batch.with_bootstrap(&[2.0, 0.0]);
        let (advantages, returns) = run(GaeConfig { gamma: 0.5, lambda: 1.0 }, &batch);
        assert_close(&advantages, &[1.5, 0.0, 0.25, 0.25], 1e-15);
        assert_close(&returns, &[2.0, 0.0, 0.5, 1.0], 1e-15);
    }

    #[test]
    fn lambda_one_returns_the_discounted_reward_to_go_whatever_the_critic_says() {
        let mask = RowMask::full(1, 4);
        let batch = GaeBatch::new(mask, &[1.0, 0.0, 2.0, -1.0], &[0.3, -4.0, 7.0, 0.1]);
        let (_, returns) = run(GaeConfig { gamma: 0.5, lambda: 1.0 }, &batch);
        assert_close(&returns, &[1.375, 0.75, 1.5, -1.0], 1e-14);
    }

    #[test]
    fn nan_in_a_valid_slot_is_named_and_in_padding_is_not_seen() {
        let (mut a, mut r) = ([0.0; 4], [0.0; 4]);
        let mask = RowMask::bytes(&[1, 0, 1, 1], 2, 2).unwrap();
        let values = [0.0, f64::NAN, 0.0, f64::INFINITY];
        let error = gae(&GaeConfig::default(), &GaeBatch::new(mask, &[0.0; 4], &values), &mut a, &mut r);
        assert_eq!(error, Err(OptimError::NonFinite { what: "values", row: 1, token: 1 }));
    }

    #[test]
    fn a_discount_above_one_is_refused() {
        let config = GaeConfig { gamma: 1.1, lambda: 0.95 };
        let batch = GaeBatch::new(RowMask::full(0, 0), &[0.0_f64; 0], &[]);
        assert!(matches!(
            gae(&config, &batch, &mut [], &mut []),
            Err(OptimError::Config { field: "gamma", .. })
        ));
    }

    proptest! {
        #[test]
        fn a_row_with_gaps_equals_the_row_with_its_gaps_cut_out(
            slots in prop::collection::vec((0_u8..2, -2.0_f64..2.0, -2.0_f64..2.0), 1..12),
            gamma in 0.0_f64..=1.0,
            lambda in 0.0_f64..=1.0,
        ) {
            let config = GaeConfig { gamma, lambda };
            let bytes: Vec<u8> = slots.iter().map(|slot| slot.0).collect();
            let (rewards, values): (Vec<f64>, Vec<f64>) = slots.iter().map(|slot| (slot.1, slot.2)).unzip();
            let mask = RowMask::bytes(&bytes, 1, bytes.len()).unwrap();
            let (advantages, returns) = run(config, &GaeBatch::new(mask, &rewards, &values));

            let kept: Vec<usize> = mask.spans(0).flatten().collect();
            let pick = |xs: &[f64]| kept.iter().map(|&slot| xs[slot]).collect::<Vec<_>>();
            let (dense_rewards, dense_values) = (pick(&rewards), pick(&values));
            let batch = GaeBatch::new(RowMask::full(1, kept.len()), &dense_rewards, &dense_values);
            assert_eq!((pick(&advantages), pick(&returns)), run(config, &batch));
        }

        #[test]
        fn padding_changes_nothing(
            slots in prop::collection::vec((0_u8..2, -2.0_f64..2.0, -2.0_f64..2.0), 12),
            junk in prop::sample::select(vec![f64::NAN, f64::INFINITY, 1e300, -7.0]),
        ) {
            let bytes: Vec<u8> = slots.iter().map(|slot| slot.0).collect();
            let (rewards, values): (Vec<f64>, Vec<f64>) = slots.iter().map(|slot| (slot.1, slot.2)).unzip();
            let mask = RowMask::bytes(&bytes, 3, 4).unwrap();
            let spoil = |xs: &[f64]| -> Vec<f64> {
                xs.iter().zip(&bytes).map(|(&x, &valid)| if valid == 0 { junk } else { x }).collect()
            };
            let (bad_rewards, bad_values) = (spoil(&rewards), spoil(&values));
            let config = GaeConfig::default();
            assert_eq!(
                run(config, &GaeBatch::new(mask, &rewards, &values)),
                run(config, &GaeBatch::new(mask, &bad_rewards, &bad_values)),
            );
        }
    }
}
