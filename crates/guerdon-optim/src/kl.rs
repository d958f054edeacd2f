//! Estimators of the KL divergence to the reference policy, and the rewards that charge for it.
//!
//! `d = log pi(token) - log pi_ref(token)`, in nats, on tokens drawn from `pi`.

use crate::error::{OptimError, require};
use crate::float::Float;
use crate::names::named;
use crate::rows::RowMask;

/// What is computed from `d`. Source: Schulman, "Approximating KL Divergence" (joschu.net/blog/kl-approx.html).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KlEstimator {
    /// `d`: unbiased, negative half of the time.
    #[default]
    K1,
    /// `d^2 / 2`: biased, never negative; its gradient is that of the KL in expectation.
    K2,
    /// `e^-d - 1 + d`: unbiased, never negative.
    K3,
    /// `|d|`.
    Abs,
}

named!(KlEstimator, "kl estimator", { K1 => "k1", K2 => "k2", K3 => "k3", Abs => "abs" });

/// An estimator and its bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KlConfig {
    /// What is computed.
    pub estimator: KlEstimator,
    /// The most that `k3` may say of one token, in nats, above 0 (infinite: no bound); beyond it the gradient is
    /// 0. Default 10 (verl's and OpenRLHF's).
    pub k3_limit: f64,
}

impl Default for KlConfig {
    fn default() -> Self {
        Self { estimator: KlEstimator::default(), k3_limit: 10.0 }
    }
}

impl KlConfig {
    /// The estimate for one token, in nats.
    pub fn value<F: Float>(&self, d: F) -> F {
        match self.estimator {
            KlEstimator::K1 => d,
            KlEstimator::K2 => d * d * F::from_f64(0.5),
            KlEstimator::K3 => {
                let (kl, limit) = (k3(d), F::from_f64(self.k3_limit));
                if kl > limit { limit } else { kl }
            }
            KlEstimator::Abs => d.abs(),
        }
    }

    /// The derivative of [`value`](Self::value) by the policy's log-prob; 0 at the kink of `abs`.
    pub fn derivative<F: Float>(&self, d: F) -> F {
        match self.estimator {
            KlEstimator::K1 => F::ONE,
            KlEstimator::K2 => d,
            KlEstimator::K3 if k3(d) > F::from_f64(self.k3_limit) => F::ZERO,
            KlEstimator::K3 => -(-d).exp_m1(),
            KlEstimator::Abs if d > F::ZERO => F::ONE,
            KlEstimator::Abs if d < F::ZERO => -F::ONE,
            KlEstimator::Abs => d * F::ZERO,
        }
    }

    fn check(&self) -> Result<(), OptimError> {
        require(self.k3_limit > 0.0, "k3_limit", self.k3_limit, "above 0")
    }
}

/// `e^-d - 1 + d`, to full precision for every `d`, and never negative.
///
/// As written, the sum cancels: in `f32` at `|d| <= 1e-3`, where a LoRA run lives, it is off by 28 % in the
/// median and sometimes negative. So a Taylor series is used below 0.1 and `expm1` above.
pub fn k3<F: Float>(d: F) -> F {
    /// `2 / k!` for k = 11 down to 2; the first term left out is below 1e-16 of the sum at `|d| = 0.1`.
    const TERMS: [f64; 10] = [
        2.0 / 39_916_800.0,
        2.0 / 3_628_800.0,
        2.0 / 362_880.0,
        2.0 / 40_320.0,
        2.0 / 5_040.0,
        2.0 / 720.0,
        2.0 / 120.0,
        2.0 / 24.0,
        2.0 / 6.0,
        1.0,
    ];
    let y = -d;
    if y.abs() < F::from_f64(0.1) {
        let series = TERMS.iter().fold(F::ZERO, |sum, &term| sum * y + F::from_f64(term));
        F::from_f64(0.5) * y * y * series
    } else {
        y.exp_m1() - y
    }
}

/// Log-probs of the tokens under two policies.
#[derive(Clone, Copy, Debug)]
pub struct KlBatch<'a, F> {
    mask: RowMask<'a>,
    logp: &'a [F],
    ref_logp: &'a [F],
}

impl<'a, F: Float> KlBatch<'a, F> {
    /// Both `[B, T]`, in nats, at most 0.
    pub fn new(mask: RowMask<'a>, logp: &'a [F], ref_logp: &'a [F]) -> Self {
        Self { mask, logp, ref_logp }
    }

    fn check(&self) -> Result<(), OptimError> {
        self.mask.check("logp", self.logp.len())?;
        self.mask.check("ref_logp", self.ref_logp.len())
    }

    fn blame(&self) -> OptimError {
        self.mask.blame("kl", &[("logp", self.logp), ("ref_logp", self.ref_logp)])
    }
}

/// Writes each valid token's KL estimate and its derivative by `logp`; padded slots get 0. All slices `[B, T]`.
///
/// For a KL term in the loss, weigh both with [`Aggregation::weights`](crate::aggregate::Aggregation::weights).
/// The derivative is that of the formula: `k1` in a loss has derivative 1, which is 0 in expectation under the
/// policy and pulls nowhere.
///
/// # Errors
/// [`OptimError::Shape`], [`OptimError::Config`] for a limit of 0 or less, [`OptimError::NonFinite`] for a NaN or
/// infinity in a valid slot.
pub fn kl_penalty<F: Float>(
    config: &KlConfig,
    batch: &KlBatch<'_, F>,
    kl: &mut [F],
    dlogp: &mut [F],
) -> Result<(), OptimError> {
    config.check()?;
    batch.check()?;
    batch.mask.check("kl", kl.len())?;
    batch.mask.check("dlogp", dlogp.len())?;
    kl.fill(F::ZERO);
    dlogp.fill(F::ZERO);
    for row in 0..batch.mask.rows() {
        let mut sum = 0.0;
        for slot in batch.mask.spans(row).flatten() {
            let d = batch.logp[slot] - batch.ref_logp[slot];
            kl[slot] = config.value(d);
            dlogp[slot] = config.derivative(d);
            // d itself is added so that an infinite one is seen even where the limit hides it.
            sum += kl[slot].to_f64() + d.to_f64();
        }
        if !sum.is_finite() {
            return Err(batch.blame());
        }
    }
    Ok(())
}

/// How much a nat costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KlRewardConfig {
    /// The estimator charged; `k1` keeps the optimum of the KL-regularised objective.
    pub kl: KlConfig,
    /// Reward units a nat, 0 or more. Default 0.05.
    pub beta: f64,
}

impl Default for KlRewardConfig {
    fn default() -> Self {
        Self { kl: KlConfig::default(), beta: 0.05 }
    }
}

/// What [`token_rewards`] saw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct KlReport {
    /// Mean KL estimate a valid token, in nats.
    pub token_mean: f64,
    /// Mean over rows with tokens of their mean KL a token, in nats: what an adaptive controller is fed in verl.
    pub row_mean: f64,
    /// Rows without a valid token, whose reward found no place.
    pub unplaced: usize,
}

/// Writes the token rewards of RLHF: `-beta * kl_t`, plus the rollout's reward on its last valid token.
///
/// `batch` holds the log-probs under the policy that *sampled* the tokens and under the reference; `rewards` is
/// `[B]`, `out` is `[B, T]` and gets 0 in padded slots. The reward goes to the last token the policy wrote, not to
/// the last slot, so trailing observations do not lose it; it is not clipped. The reward of a row without valid
/// tokens is not read. Source: Ziegler et al. (arXiv 1909.08593), equation 2.
///
/// # Errors
/// [`OptimError::Shape`], [`OptimError::Config`] for a negative or non-finite beta, [`OptimError::NonFinite`] for
/// a NaN or infinity in a valid slot or in the reward of a row that has one.
pub fn token_rewards<F: Float>(
    config: &KlRewardConfig,
    batch: &KlBatch<'_, F>,
    rewards: &[F],
    out: &mut [F],
) -> Result<KlReport, OptimError> {
    config.kl.check()?;
    require(config.beta >= 0.0 && config.beta.is_finite(), "beta", config.beta, "finite and 0 or more")?;
    batch.check()?;
    let mask = batch.mask;
    mask.check_rows("rewards", rewards.len())?;
    mask.check("token rewards", out.len())?;

    out.fill(F::ZERO);
    let price = F::from_f64(-config.beta);
    let (mut report, mut tokens, mut live) = (KlReport::default(), 0_usize, 0_usize);
    for (row, &reward) in rewards.iter().enumerate() {
        let Some(last) = mask.last(row) else {
            report.unplaced += 1;
            continue;
        };
        if !reward.is_finite() {
            return Err(OptimError::NonFinite { what: "rewards", row, token: 0 });
        }
        let (mut sum, mut spread, mut count) = (0.0, 0.0, 0_usize);
        for slot in mask.spans(row).flatten() {
            let d = batch.logp[slot] - batch.ref_logp[slot];
            let kl = config.kl.value(d);
            out[slot] = price * kl;
            sum += kl.to_f64();
            spread += d.to_f64().abs();
            count += 1;
        }
        if !(sum.is_finite() && spread.is_finite()) {
            return Err(batch.blame());
        }
        out[last] += reward;
        report.token_mean += sum;
        report.row_mean += sum / count as f64;
        tokens += count;
        live += 1;
    }
    report.token_mean /= tokens.max(1) as f64;
    report.row_mean /= live.max(1) as f64;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::{KlBatch, KlConfig, KlEstimator, KlRewardConfig, k3, kl_penalty, token_rewards};
    use crate::error::OptimError;
    use crate::rows::RowMask;
    use crate::testing::{assert_close, central_difference};

    #[test]
    fn k3_keeps_every_digit_where_the_plain_sum_loses_them() {
        for d in [1e-8_f64, -1e-5, 1e-3, 0.099, -0.099_999] {
            // Forty terms, smallest first, need no cancellation.
            let (mut terms, mut term) = (Vec::new(), 1.0);
            for k in 1..40_u8 {
                term *= -d / f64::from(k);
                if k > 1 {
                    terms.push(term);
                }
            }
            let want: f64 = terms.iter().rev().sum();
            assert!((k3(d) / want - 1.0).abs() < 4e-16, "{d}: {} against {want}", k3(d));
            let single = f64::from(k3(d as f32));
            let want = k3(f64::from(d as f32));
            assert!((single / want - 1.0).abs() < 3e-7, "{d} in f32: {single} against {want}");
        }
    }

    #[test]
    fn k3_is_continuous_where_the_series_hands_over() {
        for side in [0.1_f64, -0.1] {
            let (inside, outside) = (k3(side * (1.0 - 1e-15)), k3(side));
            assert!((inside / outside - 1.0).abs() < 1e-13, "{inside} {outside}");
        }
    }

    #[test]
    fn the_terminal_reward_sits_on_the_last_token_the_policy_wrote() {
        let mask = RowMask::bytes(&[1, 0, 1, 0, 0, 0, 0, 0], 2, 4).unwrap();
        let mut logp = [f64::NAN; 8];
        let mut reference = [f64::INFINITY; 8];
        (logp[0], reference[0], logp[2], reference[2]) = (-1.0, -2.0, -1.0, -0.5);
        let config = KlRewardConfig { beta: 0.1, ..KlRewardConfig::default() };
        let mut out = [9.0; 8];
        let batch = KlBatch::new(mask, &logp, &reference);
        let report = token_rewards(&config, &batch, &[3.0, f64::NAN], &mut out).unwrap();
        assert_close(&out, &[-0.1, 0.0, 3.05, 0.0, 0.0, 0.0, 0.0, 0.0], 1e-15);
        assert_close(&[report.token_mean, report.row_mean], &[0.25, 0.25], 1e-15);
        assert_eq!(report.unplaced, 1);
    }

    #[test]
    fn an_infinite_log_prob_is_named_even_where_k3_is_bounded() {
        let config = KlConfig { estimator: KlEstimator::K3, ..KlConfig::default() };
        let batch = KlBatch::new(RowMask::full(1, 2), &[-1.0, f64::NEG_INFINITY], &[-1.0, -1.0]);
        let error = kl_penalty(&config, &batch, &mut [0.0; 2], &mut [0.0; 2]).unwrap_err();
        assert_eq!(error, OptimError::NonFinite { what: "logp", row: 0, token: 1 });
        let error = token_rewards(&KlRewardConfig { kl: config, beta: 0.1 }, &batch, &[0.0], &mut [0.0; 2]);
        assert_eq!(error, Err(OptimError::NonFinite { what: "logp", row: 0, token: 1 }));
    }

    proptest! {
        #[test]
        fn derivatives_match_central_differences(d in -4.0_f64..4.0) {
            for &estimator in KlEstimator::ALL {
                let config = KlConfig { estimator, ..KlConfig::default() };
                let at_abs_kink = estimator == KlEstimator::Abs && d.abs() < 1e-4;
                let at_limit = estimator == KlEstimator::K3 && (k3(d) - config.k3_limit).abs() < 1e-2;
                if at_abs_kink || at_limit {
                    continue;
                }
                let want = central_difference(&[d], 0, |x| config.value(x[0]));
                assert_close(&[config.derivative(d)], &[want], 1e-6);
            }
        }

        #[test]
        fn k2_and_k3_are_never_negative(d in -30.0_f32..30.0, tiny in -1e-3_f32..1e-3) {
            for x in [d, tiny] {
                assert!(k3(x) >= 0.0);
                assert!(KlConfig { estimator: KlEstimator::K2, ..KlConfig::default() }.value(x) >= 0.0);
            }
        }
    }
}
