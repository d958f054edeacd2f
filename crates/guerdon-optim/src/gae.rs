//! Generalized advantage estimation over ragged rows.

use crate::blocks::{CHUNK, Merge, RowKernel, over_rows};
use crate::error::{OptimError, require};
use crate::float::Float;
use crate::rows::RowMask;
use crate::scan::{Scan, Terms, no_terms};

/// How far the estimate looks ahead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaeConfig {
    /// Discount per token, within 0..=1. Default 1.0: dialogue rewards come at the end of short episodes.
    pub gamma: f64,
    /// Trade of bias (0) against variance (1). Default a constant 0.95.
    pub lambda: Lambda,
    /// Another lambda, within 0..=1, for the returns that the critic is fitted to (VAPO's decoupling, where it is
    /// 1). Default none: the advantages' own.
    pub value_lambda: Option<f64>,
}

/// The lambda of a row's advantages.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Lambda {
    /// The same for every row, within 0..=1.
    Constant(f64),
    /// `1 - 1 / (alpha n)` for a row of `n` tokens, at least 0, with `alpha` above 0: long answers keep their
    /// reward in sight of their first token. Source: VAPO (arXiv 2504.05118), section 4.2, where alpha is 0.05.
    LengthAdaptive {
        /// How fast lambda nears 1.
        alpha: f64,
    },
}

impl Lambda {
    fn of_row(self, tokens: usize) -> f64 {
        match self {
            Self::Constant(lambda) => lambda,
            Self::LengthAdaptive { alpha } => (1.0 - (alpha * tokens as f64).recip()).max(0.0),
        }
    }
}

impl Default for GaeConfig {
    fn default() -> Self {
        Self { gamma: 1.0, lambda: Lambda::Constant(0.95), value_lambda: None }
    }
}

impl GaeConfig {
    fn check(&self) -> Result<(), OptimError> {
        let share = "within 0..=1";
        require((0.0..=1.0).contains(&self.gamma), "gamma", self.gamma, share)?;
        match self.lambda {
            Lambda::Constant(lambda) => require((0.0..=1.0).contains(&lambda), "lambda", lambda, share)?,
            Lambda::LengthAdaptive { alpha } => {
                require(alpha > 0.0 && alpha.is_finite(), "alpha", alpha, "finite and above 0")?;
            }
        }
        let value_lambda = self.value_lambda.unwrap_or(1.0);
        require((0.0..=1.0).contains(&value_lambda), "value_lambda", value_lambda, share)
    }
}

/// Rewards and value estimates of a batch.
#[derive(Clone, Copy, Debug)]
pub struct GaeBatch<'a, F> {
    mask: RowMask<'a>,
    rewards: &'a [F],
    values: &'a [F],
    bootstrap: Option<&'a [F]>,
    lambdas: Option<&'a [F]>,
}

impl<'a, F: Float> GaeBatch<'a, F> {
    /// `rewards` and `values` are `[B, T]`; `values[t]` is the critic's estimate of the state *before* token `t`
    /// (verl#1960 and #1850 were shifted by one). Every row is taken as finished: the value after its last token
    /// is 0.
    pub fn new(mask: RowMask<'a>, rewards: &'a [F], values: &'a [F]) -> Self {
        Self { mask, rewards, values, bootstrap: None, lambdas: None }
    }

    /// For truncated rows: `bootstrap[b]` (`[B]`) is the value of the state *after* row `b`'s last valid token,
    /// and 0 for a row that ended by itself.
    #[must_use]
    pub fn with_bootstrap(mut self, bootstrap: &'a [F]) -> Self {
        self.bootstrap = Some(bootstrap);
        self
    }

    /// A lambda of its own for every row's advantages (`[B]`, within 0..=1), instead of the configured one.
    #[must_use]
    pub fn with_lambdas(mut self, lambdas: &'a [F]) -> Self {
        self.lambdas = Some(lambdas);
        self
    }

    fn blame(&self) -> OptimError {
        let per_row = |slice: Option<&[F]>| slice.and_then(|slice| slice.iter().position(|x| !x.is_finite()));
        if let Some(row) = per_row(self.bootstrap) {
            return OptimError::NonFinite { what: "bootstrap", row, token: 0 };
        }
        self.mask.blame("advantages", &[("rewards", self.rewards), ("values", self.values)])
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
/// [`OptimError::Config`] for gamma or lambda out of range, [`OptimError::Shape`] for a slice of the wrong
/// length, [`OptimError::NonFinite`] for a NaN or infinity in a valid slot.
pub fn gae<F: Float>(
    config: &GaeConfig,
    batch: &GaeBatch<'_, F>,
    advantages: &mut [F],
    returns: &mut [F],
) -> Result<(), OptimError> {
    config.check()?;
    let GaeBatch { mask, rewards, values, bootstrap, lambdas } = *batch;
    mask.check_all(&[
        ("rewards", rewards.len()),
        ("values", values.len()),
        ("advantages", advantages.len()),
        ("returns", returns.len()),
    ])?;
    mask.check_rows("bootstrap", bootstrap.map_or(mask.rows(), <[F]>::len))?;
    mask.check_rows("lambdas", lambdas.map_or(mask.rows(), <[F]>::len))?;
    for &lambda in lambdas.unwrap_or_default() {
        let lambda = lambda.to_f64();
        require((0.0..=1.0).contains(&lambda), "lambdas", lambda, "within 0..=1")?;
    }
    let seen: Seen = over_rows(&Backwards { config, batch }, &mask, [advantages, returns]);
    if seen.0.is_finite() { Ok(()) } else { Err(batch.blame()) }
}

/// Finite as long as every row's first advantage is. NaN and infinity survive every step of the recursion
/// (`0 * inf` is NaN), so that one tells of the whole row.
#[derive(Clone, Copy, Debug, Default)]
struct Seen(f64);

impl Merge for Seen {
    fn merge(self, later: Self) -> Self {
        Self(self.0 + later.0)
    }
}

struct Backwards<'a, F> {
    config: &'a GaeConfig,
    batch: &'a GaeBatch<'a, F>,
}

impl<F: Float> RowKernel<F, 2> for Backwards<'_, F> {
    type Sums = Seen;
    /// Room for one chunk's differences, and for its sums.
    type Block = (Terms<F>, [F; CHUNK]);

    #[inline(always)]
    fn open(&self) -> Self::Block {
        (no_terms(), [F::ZERO; CHUNK])
    }

    #[inline(always)]
    fn close(&self, _block: Self::Block, _seen: &mut Seen) {}

    #[inline(always)]
    fn row(
        &self,
        row: usize,
        [advantages, returns]: [&mut [F]; 2],
        (terms, out): &mut Self::Block,
        seen: &mut Seen,
    ) {
        let GaeBatch { mask, rewards, values, bootstrap, lambdas } = *self.batch;
        let gamma = self.config.gamma;
        let lambda = match lambdas {
            Some(lambdas) => lambdas[row].to_f64(),
            None => self.config.lambda.of_row(mask.count(row)),
        };
        let scan = Scan::new(gamma * lambda);
        let value_scan = self.config.value_lambda.map(|lambda| Scan::new(gamma * lambda));
        let gamma = F::from_f64(gamma);
        let mut next_value = bootstrap.map_or(F::ZERO, |bootstrap| bootstrap[row]);
        let (mut carry, mut value_carry) = (F::ZERO, F::ZERO);
        let start = row * mask.width();
        let mut done = mask.width();
        for span in mask.spans(row).rev() {
            let span = span.start - start..span.end - start;
            advantages[span.end..done].fill(F::ZERO);
            returns[span.end..done].fill(F::ZERO);
            done = span.start;
            let mut end = span.end;
            while end > span.start {
                let first = (end - 1 - span.start) / CHUNK * CHUNK + span.start;
                let tokens = end - first;
                let rewards = &rewards[start + first..start + end];
                let values = &values[start + first..start + end];
                match (rewards.first_chunk::<CHUNK>(), values.first_chunk::<CHUNK>()) {
                    (Some(rewards), Some(values)) => deltas(gamma, rewards, values, next_value, terms),
                    _ => {
                        terms.fill(F::ZERO);
                        deltas(gamma, rewards, values, next_value, terms);
                    }
                }
                carry = scan.run(terms, tokens, carry, out);
                advantages[first..end].copy_from_slice(&out[..tokens]);
                if let Some(value_scan) = value_scan {
                    value_carry = value_scan.run(terms, tokens, value_carry, out);
                }
                for ((target, &advantage), &value) in returns[first..end].iter_mut().zip(&*out).zip(values) {
                    *target = advantage + value;
                }
                next_value = values[0];
                end = first;
            }
        }
        advantages[..done].fill(F::ZERO);
        returns[..done].fill(F::ZERO);
        seen.0 += carry.to_f64() + value_carry.to_f64();
    }
}

/// Writes the temporal differences of at most 64 neighbouring tokens.
#[inline(always)]
fn deltas<F: Float>(gamma: F, rewards: &[F], values: &[F], next_value: F, out: &mut Terms<F>) {
    let last = values.len().min(CHUNK) - 1;
    for at in 0..last {
        out[at] = rewards[at] + gamma * values[at + 1] - values[at];
    }
    out[last] = rewards[last] + gamma * next_value - values[last];
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, proptest};

    use super::{GaeBatch, GaeConfig, Lambda, gae};
    use crate::error::OptimError;
    use crate::rows::RowMask;
    use crate::testing::assert_close;

    fn config(gamma: f64, lambda: f64) -> GaeConfig {
        GaeConfig { gamma, lambda: Lambda::Constant(lambda), value_lambda: None }
    }

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
        let (advantages, returns) = run(GaeConfig::default(), &batch);
        assert_close(&advantages, &[0.95, 1.0, 0.0], 1e-15);
        assert_close(&returns, &[0.95, 1.0, 0.0], 1e-15);
    }

    #[test]
    fn a_truncated_row_bootstraps_from_the_value_after_its_last_token() {
        let mask = RowMask::lens(&[1, 2], 2).unwrap();
        let batch = GaeBatch::new(mask, &[1.0, 0.0, 0.0, 1.0], &[0.5, 0.0, 0.25, 0.75]);
        let batch = batch.with_bootstrap(&[2.0, 0.0]);
        let (advantages, returns) = run(config(0.5, 1.0), &batch);
        assert_close(&advantages, &[1.5, 0.0, 0.25, 0.25], 1e-15);
        assert_close(&returns, &[2.0, 0.0, 0.5, 1.0], 1e-15);
    }

    #[test]
    fn lambda_one_returns_the_discounted_reward_to_go_whatever_the_critic_says() {
        let mask = RowMask::full(1, 4);
        let batch = GaeBatch::new(mask, &[1.0, 0.0, 2.0, -1.0], &[0.3, -4.0, 7.0, 0.1]);
        let (_, returns) = run(config(0.5, 1.0), &batch);
        assert_close(&returns, &[1.375, 0.75, 1.5, -1.0], 1e-14);
    }

    /// verl#1960, #1758, #1850, #50: values shifted by one token, or bootstrapped from the slot after the last.
    #[test]
    fn a_value_is_of_the_state_before_its_token() {
        // A critic that is right everywhere leaves nothing to learn: V_t is the reward still to come.
        let mask = RowMask::lens(&[3], 4).unwrap();
        let batch = GaeBatch::new(mask, &[1.0, 2.0, 4.0, f64::NAN], &[7.0, 6.0, 4.0, 100.0]);
        let (advantages, returns) = run(config(1.0, 0.5), &batch);
        assert_close(&advantages, &[0.0; 4], 0.0);
        assert_close(&returns, &[7.0, 6.0, 4.0, 0.0], 0.0);
    }

    /// The definition, one token at a time.
    fn slowly(gamma: f64, lambda: f64, rewards: &[f64], values: &[f64]) -> Vec<f64> {
        let (mut carry, mut next) = (0.0, 0.0);
        let mut out = vec![0.0; rewards.len()];
        for at in (0..rewards.len()).rev() {
            carry = rewards[at] + gamma * next - values[at] + gamma * lambda * carry;
            next = values[at];
            out[at] = carry;
        }
        out
    }

    #[test]
    fn returns_have_a_lambda_of_their_own_where_asked() {
        let (rewards, values) = ([0.5, -1.0, 2.0], [0.3, 0.1, -0.4]);
        let config = GaeConfig { value_lambda: Some(1.0), ..config(0.9, 0.5) };
        let (advantages, returns) = run(config, &GaeBatch::new(RowMask::full(1, 3), &rewards, &values));
        assert_close(&advantages, &slowly(0.9, 0.5, &rewards, &values), 1e-15);
        let monte_carlo = [0.5 - 0.9 + 0.81 * 2.0, -1.0 + 0.9 * 2.0, 2.0];
        assert_close(&returns, &monte_carlo, 1e-15);
    }

    #[test]
    fn a_length_adaptive_lambda_depends_on_the_valid_tokens_of_its_row() {
        let bytes = [1, 0, 1, 1, 1, 1, 0, 0];
        let mask = RowMask::bytes(&bytes, 2, 4).unwrap();
        let (rewards, values) = ([0.0, 9.0, 0.0, 1.0, 0.0, 2.0, 9.0, 9.0], [0.5; 8]);
        let config = GaeConfig { lambda: Lambda::LengthAdaptive { alpha: 0.5 }, ..GaeConfig::default() };
        let (adaptive, _) = run(config, &GaeBatch::new(mask, &rewards, &values));
        // 3 tokens give 1 - 1 / 1.5, 2 tokens give 0.
        let third = slowly(1.0, 1.0 / 3.0, &[0.0, 0.0, 1.0], &[0.5; 3]);
        assert_close(&adaptive, &[third[0], 0.0, third[1], third[2], 0.0, 1.5, 0.0, 0.0], 1e-14);
        let batch = GaeBatch::new(mask, &rewards, &values).with_lambdas(&[1.0 / 3.0, 0.0]);
        assert_close(&run(GaeConfig::default(), &batch).0, &adaptive, 1e-14);
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
        let config = config(1.1, 0.95);
        let batch = GaeBatch::new(RowMask::full(0, 0), &[0.0_f64; 0], &[]);
        assert!(matches!(
            gae(&config, &batch, &mut [], &mut []),
            Err(OptimError::Config { field: "gamma", .. })
        ));
    }

    proptest! {
        #[test]
        fn a_row_of_any_length_follows_the_definition(
            tokens in prop::collection::vec((-2.0_f64..2.0, -2.0_f64..2.0), 1..300),
            gamma in 0.0_f64..=1.0,
            lambda in 0.0_f64..=1.0,
        ) {
            let (rewards, values): (Vec<f64>, Vec<f64>) = tokens.into_iter().unzip();
            let batch = GaeBatch::new(RowMask::full(1, rewards.len()), &rewards, &values);
            let (advantages, _) = run(config(gamma, lambda), &batch);
            assert_close(&advantages, &slowly(gamma, lambda, &rewards, &values), 1e-12);
        }

        #[test]
        fn a_row_with_gaps_equals_the_row_with_its_gaps_cut_out(
            slots in prop::collection::vec((0_u8..2, -2.0_f64..2.0, -2.0_f64..2.0), 1..12),
            gamma in 0.0_f64..=1.0,
            lambda in 0.0_f64..=1.0,
        ) {
            let config = config(gamma, lambda);
            let bytes: Vec<u8> = slots.iter().map(|slot| slot.0).collect();
            let (rewards, values): (Vec<f64>, Vec<f64>) = slots.iter().map(|slot| (slot.1, slot.2)).unzip();
            let mask = RowMask::bytes(&bytes, 1, bytes.len()).unwrap();
            let (advantages, returns) = run(config, &GaeBatch::new(mask, &rewards, &values));

            let kept: Vec<usize> = mask.spans(0).flatten().collect();
            let pick = |xs: &[f64]| kept.iter().map(|&slot| xs[slot]).collect::<Vec<_>>();
            let (dense_rewards, dense_values) = (pick(&rewards), pick(&values));
            let batch = GaeBatch::new(RowMask::full(1, kept.len()), &dense_rewards, &dense_values);
            let (dense_advantages, dense_returns) = run(config, &batch);
            assert_close(&pick(&advantages), &dense_advantages, 1e-13);
            assert_close(&pick(&returns), &dense_returns, 1e-13);
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
