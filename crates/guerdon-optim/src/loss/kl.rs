//! Per-token estimators of the KL divergence to the reference policy, with their gradients.
//!
//! `d = log pi(token) - log pi_ref(token)`, in nats, on tokens drawn from `pi`.

use crate::error::{OptimError, require};
use crate::kernel::blocks::{FiniteCheck, TokenChunk, TokenKernel, over_tokens};
use crate::kernel::float::Float;
use crate::kernel::lanes::{CHUNK, ChunkArray, tree_sum};
use crate::kernel::rows::RowMask;
use crate::names::named;

/// The estimate as a function of `d`. Source: Schulman, "Approximating KL Divergence"
/// (joschu.net/blog/kl-approx.html).
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

/// The gradient by the policy's log-prob that is used when the estimate is a loss.
///
/// An unbiased estimate may have a biased gradient: the derivative of `k1` is 1, whose effect is 0
/// in expectation, so it does not pull the policy towards the reference (NeMo-RL#2506, TRL#4967).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KlGradient {
    /// The derivative of the estimator.
    #[default]
    Formula,
    /// `d`, the derivative of `k2`, whose expectation is the derivative of the KL: verl's `k1+`,
    /// `k3+`.
    StraightThrough,
    /// `r d` with `r = min(pi / pi_old, 10)`: the same for tokens that were drawn from an older
    /// policy (OpenRLHF's `unbiased_gradient`; also the derivative of `r k3`, which TRL uses).
    /// Needs [`KlBatch::with_old_logp`].
    Unbiased,
}

named!(KlGradient, "kl gradient", {
    Formula => "formula",
    StraightThrough => "straight_through",
    Unbiased => "unbiased",
});

/// The greatest importance ratio of [`KlGradient::Unbiased`] (OpenRLHF's constant).
const RATIO_LIMIT: f64 = 10.0;

/// An estimator, its bound, and its gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KlConfig {
    /// The estimator.
    pub estimator: KlEstimator,
    /// The gradient returned with it.
    pub gradient: KlGradient,
    /// The upper bound of `k3` for one token, in nats, above 0 (infinite: no bound). Beyond it the
    /// gradient [`KlGradient::Formula`] is 0. Default 10 (verl's and OpenRLHF's).
    pub k3_limit: f64,
}

impl Default for KlConfig {
    fn default() -> Self {
        Self { estimator: KlEstimator::default(), gradient: KlGradient::default(), k3_limit: 10.0 }
    }
}

impl KlConfig {
    /// The estimate for one token, in nats.
    #[inline(always)]
    pub fn value<F: Float>(&self, d: F) -> F {
        match self.estimator {
            KlEstimator::K1 => d,
            KlEstimator::K2 => d * d * F::HALF,
            KlEstimator::K3 => {
                let (kl, limit) = (k3(d), F::from_f64(self.k3_limit));
                if kl > limit { limit } else { kl }
            }
            KlEstimator::Abs => d.abs(),
        }
    }

    /// The derivative of [`value`](Self::value) by the policy's log-prob; 0 at the kink of `abs`.
    #[inline(always)]
    pub fn derivative<F: Float>(&self, d: F) -> F {
        match self.estimator {
            KlEstimator::K1 => F::ONE,
            KlEstimator::K2 => d,
            KlEstimator::K3 => {
                let e = (-d).exponential();
                if e.exp_m1_minus_x > F::from_f64(self.k3_limit) { F::ZERO } else { -e.exp_m1 }
            }
            KlEstimator::Abs => F::flag(d > F::ZERO) - F::flag(d < F::ZERO),
        }
    }

    /// [`value`](Self::value) of a chunk. The match is outside the loop, which would not vectorise
    /// otherwise.
    #[inline(always)]
    pub(crate) fn values<F: Float>(&self, d: &[F; CHUNK], out: &mut [F; CHUNK]) {
        macro_rules! each {
            ($($estimator:ident),+) => {
                match self.estimator {
                    $(KlEstimator::$estimator => {
                        let config = Self { estimator: KlEstimator::$estimator, ..*self };
                        for at in 0..CHUNK {
                            out[at] = config.value(d[at]);
                        }
                    })+
                }
            };
        }
        each!(K1, K2, K3, Abs);
    }

    pub(crate) fn check(&self) -> Result<(), OptimError> {
        require(self.k3_limit > 0.0, "k3_limit", self.k3_limit, "above 0")
    }
}

/// Computes `e^-d - 1 + d` to full precision for every `d`; never negative.
///
/// Evaluated term by term, the sum cancels: in `f32` at `|d| <= 1e-3`, which is typical of LoRA
/// runs, it is off by 28 % in the median and sometimes negative. See
/// [`Exponential::exp_m1_minus_x`](crate::kernel::exp::Exponential::exp_m1_minus_x).
#[inline(always)]
pub fn k3<F: Float>(d: F) -> F {
    (-d).exponential().exp_m1_minus_x
}

/// Log-probs of the tokens under two policies.
#[derive(Clone, Copy, Debug)]
pub struct KlBatch<'a, F> {
    pub(crate) mask: RowMask<'a>,
    pub(crate) logp: &'a [F],
    pub(crate) ref_logp: &'a [F],
    old_logp: Option<&'a [F]>,
}

impl<'a, F: Float> KlBatch<'a, F> {
    /// `logp` and `ref_logp` are `[B, T]`, in nats, at most 0.
    pub fn new(mask: RowMask<'a>, logp: &'a [F], ref_logp: &'a [F]) -> Self {
        Self { mask, logp, ref_logp, old_logp: None }
    }

    /// Sets the log-probs under the policy that sampled the tokens, `[B, T]`; used by
    /// [`KlGradient::Unbiased`] only.
    #[must_use]
    pub fn with_old_logp(mut self, old_logp: &'a [F]) -> Self {
        self.old_logp = Some(old_logp);
        self
    }

    pub(crate) fn check(&self) -> Result<(), OptimError> {
        self.mask.check_all(&[
            ("logp", self.logp.len()),
            ("ref_logp", self.ref_logp.len()),
            ("old_logp", self.old_logp.map_or(self.mask.slots(), <[F]>::len)),
        ])
    }

    pub(crate) fn non_finite_error(&self) -> OptimError {
        let old_logp = self.old_logp.unwrap_or(self.logp);
        self.mask.non_finite_error(
            "kl",
            &[("logp", self.logp), ("ref_logp", self.ref_logp), ("old_logp", old_logp)],
        )
    }
}

/// Writes each valid token's KL estimate and its derivative by `logp`; padded slots get 0. All
/// slices are `[B, T]`.
///
/// For a KL term in the loss, multiply both by the weights of
/// [`Aggregation::weights`](crate::loss::aggregate::Aggregation::weights).
///
/// # Errors
/// [`OptimError::Shape`], [`OptimError::Config`] for a limit of 0 or less, [`OptimError::Missing`]
/// for [`KlGradient::Unbiased`] without old log-probs, [`OptimError::NonFinite`] for a NaN or
/// infinity in a valid slot, [`OptimError::Overflow`] for a result that is not finite.
pub fn kl_penalty<F: Float>(
    config: &KlConfig,
    batch: &KlBatch<'_, F>,
    kl: &mut [F],
    dlogp: &mut [F],
) -> Result<(), OptimError> {
    config.check()?;
    batch.check()?;
    batch.mask.check_all(&[("kl", kl.len()), ("dlogp", dlogp.len())])?;
    let old_logp = match (config.gradient, batch.old_logp) {
        (KlGradient::Unbiased, None) => {
            return Err(OptimError::Missing {
                what: "old_logp",
                why: "the unbiased gradient is weighted by pi / pi_old",
            });
        }
        (_, old_logp) => old_logp.unwrap_or(batch.logp),
    };
    let ins = [batch.logp, batch.ref_logp, old_logp];
    let check = over_tokens(&KlPenaltyKernel(config), &batch.mask, ins, [kl, dlogp]);
    if check.passed() { Ok(()) } else { Err(batch.non_finite_error()) }
}

struct KlPenaltyKernel<'a>(&'a KlConfig);

impl<F: Float> TokenKernel<F, 3, 2> for KlPenaltyKernel<'_> {
    type Row = ();
    type Lanes = ChunkArray<F>;
    type Sums = FiniteCheck;

    #[inline(always)]
    fn lanes(&self) -> ChunkArray<F> {
        ChunkArray::zeros()
    }

    #[inline(always)]
    fn fold(&self, zeros: ChunkArray<F>, check: &mut FiniteCheck) {
        check.add(tree_sum(*zeros));
    }

    #[inline(always)]
    fn begin(&self, _row: usize, _check: &mut FiniteCheck) {}

    #[inline(always)]
    fn chunk(
        &self,
        (): &(),
        TokenChunk { ins: [logp, ref_logp, old_logp], outs: [kl, slope], .. }: TokenChunk<
            '_,
            F,
            3,
            2,
        >,
        zeros: &mut ChunkArray<F>,
    ) {
        let (config, limit) = (*self.0, F::from_f64(RATIO_LIMIT));
        let mut d = ChunkArray::zeros();
        for at in 0..CHUNK {
            d[at] = logp[at] - ref_logp[at];
        }
        config.values(&d, kl);
        for at in 0..CHUNK {
            let d = d[at];
            slope[at] = match config.gradient {
                KlGradient::Formula => config.derivative(d),
                KlGradient::StraightThrough => d,
                KlGradient::Unbiased => {
                    let ratio = (logp[at] - old_logp[at]).exp();
                    d * if ratio > limit { limit } else { ratio }
                }
            };
            // 0, or NaN if an input or a result is infinite or NaN. A limit can hide an infinite
            // input from the results; without one, the results of finite inputs can overflow.
            zeros[at] += d.times_zero() + old_logp[at].times_zero();
            zeros[at] += kl[at].times_zero() + slope[at].times_zero();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::{KlBatch, KlConfig, KlEstimator, KlGradient, k3, kl_penalty};
    use crate::error::OptimError;
    use crate::kernel::rows::RowMask;
    use crate::testing::{assert_close, central_difference};

    #[test]
    fn an_unlimited_k3_that_overflows_is_an_error() {
        // 100 nats below the reference in f32: e^100 is infinite.
        let config =
            KlConfig { estimator: KlEstimator::K3, k3_limit: f64::INFINITY, ..KlConfig::default() };
        let batch = KlBatch::new(RowMask::full(1, 2), &[-101.0_f32, -1.0], &[-1.0, -1.0]);
        let error = kl_penalty(&config, &batch, &mut [0.0; 2], &mut [0.0; 2]).unwrap_err();
        assert_eq!(error, OptimError::Overflow { what: "kl" });
    }

    #[test]
    fn an_infinite_log_prob_is_reported_even_if_k3_is_bounded() {
        let config = KlConfig { estimator: KlEstimator::K3, ..KlConfig::default() };
        let batch = KlBatch::new(RowMask::full(1, 2), &[-1.0, f64::NEG_INFINITY], &[-1.0, -1.0]);
        let error = kl_penalty(&config, &batch, &mut [0.0; 2], &mut [0.0; 2]).unwrap_err();
        assert_eq!(error, OptimError::NonFinite { what: "logp", row: 0, token: 1 });
    }

    /// NVIDIA-NeMo/RL#2506, TRL#4967, TRL#6503: k1 in a loss has the gradient 1 everywhere, which
    /// does not pull the policy towards the reference.
    #[test]
    fn the_straight_through_gradient_of_k1_pulls_towards_the_reference() {
        let batch = KlBatch::new(RowMask::full(1, 2), &[-1.0, -2.0], &[-1.5, -1.0]);
        let (mut kl, mut slope) = ([9.0; 2], [9.0; 2]);
        let config = KlConfig { gradient: KlGradient::StraightThrough, ..KlConfig::default() };
        kl_penalty(&config, &batch, &mut kl, &mut slope).unwrap();
        assert_close(&[kl, slope].concat(), &[0.5, -1.0, 0.5, -1.0], 1e-15);
        kl_penalty(&KlConfig::default(), &batch, &mut kl, &mut slope).unwrap();
        assert_close(&slope, &[1.0, 1.0], 1e-15);
    }

    #[test]
    fn the_unbiased_gradient_needs_old_log_probs() {
        let config = KlConfig { gradient: KlGradient::Unbiased, ..KlConfig::default() };
        let batch = KlBatch::new(RowMask::full(1, 2), &[-1.0, -1.0], &[-1.5, -1.5]);
        let (mut kl, mut slope) = ([9.0; 2], [9.0; 2]);
        let error = kl_penalty(&config, &batch, &mut kl, &mut slope).unwrap_err();
        assert_eq!(
            error.to_string(),
            "old_logp is needed: the unbiased gradient is weighted by pi / pi_old"
        );
        let old = [-1.0 - 2.0_f64.ln(), -9.0];
        kl_penalty(&config, &batch.with_old_logp(&old), &mut kl, &mut slope).unwrap();
        assert_close(&slope, &[1.0, 5.0], 1e-15);
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
        fn the_unbiased_gradient_is_the_derivative_of_ratio_times_k3(
            d in -2.0_f64..2.0,
            x in -1.0_f64..1.0,
        ) {
            let weighted = |moved: f64| (x + moved).exp() * k3(d + moved);
            let want = central_difference(&[0.0], 0, |moved| weighted(moved[0]));
            assert_close(&[x.exp() * d], &[want], 1e-6);
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
