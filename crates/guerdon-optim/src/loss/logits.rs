//! Log-probs and entropies of a policy's logits, and gradients by the logits: both ends of the
//! chain, for frameworks without fused kernels.

use crate::error::{OptimError, require, require_len};
use crate::kernel::float::Float;
use crate::kernel::instructions::InstructionSet;
use crate::kernel::lanes::{CHUNK, tree_fold, tree_sum};

/// Logits (one row per token) and the tokens that were drawn.
#[derive(Clone, Copy, Debug)]
pub struct LogitsBatch<'a, F> {
    logits: &'a [F],
    labels: &'a [usize],
    vocabulary: usize,
    temperature: f64,
    valid: Option<&'a [u8]>,
    arch: pulp::Arch,
}

impl<'a, F: Float> LogitsBatch<'a, F> {
    /// `logits` is `[N, V]` with `V` the vocabulary; `labels` (`[N]`) are the tokens that were
    /// drawn.
    pub fn new(logits: &'a [F], labels: &'a [usize], vocabulary: usize) -> Self {
        Self { logits, labels, vocabulary, temperature: 1.0, valid: None, arch: pulp::Arch::new() }
    }

    /// Divides the logits by `temperature`, above 0, with which the tokens were drawn. It applies
    /// to log-probs and entropy alike (OpenRLHF#1319 used different ones).
    #[must_use]
    pub fn with_temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// Leaves out the tokens whose byte (`[N]`) is 0: their results are 0, and their logits and
    /// labels are not read.
    #[must_use]
    pub fn with_valid(mut self, valid: &'a [u8]) -> Self {
        self.valid = Some(valid);
        self
    }

    /// Limits the kernels to instructions no wider than `set`, like
    /// [`RowMask::at_most`](crate::kernel::rows::RowMask::at_most).
    #[must_use]
    pub fn at_most(mut self, set: InstructionSet) -> Self {
        self.arch = set.arch();
        self
    }

    fn check(&self) -> Result<(), OptimError> {
        let temperature = self.temperature;
        require(
            temperature > 0.0 && temperature.is_finite(),
            "temperature",
            temperature,
            "finite and above 0",
        )?;
        require_len(
            "logits",
            self.logits.len(),
            self.labels.len().saturating_mul(self.vocabulary),
        )?;
        require_len("valid", self.valid.map_or(self.labels.len(), <[u8]>::len), self.labels.len())?;
        for (row, &label) in self.labels.iter().enumerate() {
            if self.is_valid(row) {
                let range = "below the vocabulary";
                require(label < self.vocabulary, "label", label as f64, range)?;
            }
        }
        Ok(())
    }

    fn is_valid(&self, row: usize) -> bool {
        self.valid.is_none_or(|valid| valid[row] != 0)
    }

    fn row(&self, row: usize) -> &'a [F] {
        &self.logits[row * self.vocabulary..(row + 1) * self.vocabulary]
    }
}

/// Writes the log-prob of every label and the entropy of every distribution, both `[N]`, in nats.
///
/// With `z` the logits divided by the temperature and `p = softmax(z)`: `logp = z_label - lse(z)`
/// and `entropy = lse(z) - sum p z`. A logit of minus infinity marks an impossible token; it is
/// allowed, but not as a label.
///
/// # Errors
/// [`OptimError::Shape`], [`OptimError::Config`] for a label outside the vocabulary or a
/// temperature out of range, [`OptimError::NonFinite`] for a row whose result is not finite.
pub fn token_logp<F: Float>(
    batch: &LogitsBatch<'_, F>,
    logp: &mut [F],
    entropy: &mut [F],
) -> Result<(), OptimError> {
    batch.check()?;
    require_len("logp", logp.len(), batch.labels.len())?;
    require_len("entropy", entropy.len(), batch.labels.len())?;
    let inverse_temperature = F::from_f64(batch.temperature.recip());
    for (row, (logp, entropy)) in logp.iter_mut().zip(entropy).enumerate() {
        (*logp, *entropy) = (F::ZERO, F::ZERO);
        if !batch.is_valid(row) {
            continue;
        }
        let logits = batch.row(row);
        let stats = batch.arch.dispatch(SoftmaxKernel { logits, inverse_temperature });
        let log_sum = stats.sum.ln();
        let label = (logits[batch.labels[row]] * inverse_temperature).to_f64() - stats.top;
        *logp = F::from_f64(label - log_sum);
        *entropy = F::from_f64(log_sum - stats.mean());
        if !(logp.is_finite() && entropy.is_finite()) {
            return Err(OptimError::NonFinite { what: "logits", row, token: 0 });
        }
    }
    Ok(())
}

/// Writes the gradient of a loss by the logits into `dlogits` (`[N, V]`), given its gradients by
/// the log-probs and by the entropies (`[N]` each):
///
/// ```text
/// dlogits_j = (dlogp (1[j = label] - p_j) - dentropy p_j (ln p_j + entropy)) / temperature
/// ```
///
/// # Errors
/// The errors of [`token_logp`], and [`OptimError::NonFinite`] for a gradient that is not finite.
pub fn logits_gradient<F: Float>(
    batch: &LogitsBatch<'_, F>,
    dlogp: &[F],
    dentropy: &[F],
    dlogits: &mut [F],
) -> Result<(), OptimError> {
    batch.check()?;
    require_len("dlogp", dlogp.len(), batch.labels.len())?;
    require_len("dentropy", dentropy.len(), batch.labels.len())?;
    require_len("dlogits", dlogits.len(), batch.logits.len())?;
    let inverse_temperature = F::from_f64(batch.temperature.recip());
    for (row, out) in dlogits.chunks_mut(batch.vocabulary.max(1)).enumerate() {
        out.fill(F::ZERO);
        if !batch.is_valid(row) {
            continue;
        }
        let (by_logp, by_entropy) = (dlogp[row], dentropy[row]);
        if !(by_logp.is_finite() && by_entropy.is_finite()) {
            return Err(OptimError::NonFinite { what: "dlogp or dentropy", row, token: 0 });
        }
        let logits = batch.row(row);
        let stats = batch.arch.dispatch(SoftmaxKernel { logits, inverse_temperature });
        let slope = LogitsGradientKernel {
            logits,
            inverse_temperature,
            top: F::from_f64(stats.top),
            log_sum: F::from_f64(stats.sum.ln()),
            entropy: F::from_f64(stats.sum.ln() - stats.mean()),
            by_logp,
            by_entropy,
            out,
        };
        batch.arch.dispatch(slope);
        out[batch.labels[row]] += by_logp * inverse_temperature;
        if !out.iter().all(|slope| slope.is_finite()) {
            return Err(OptimError::NonFinite { what: "logits", row, token: 0 });
        }
    }
    Ok(())
}

/// The sums of a softmax, relative to the maximum of `z`.
struct SoftmaxSums {
    top: f64,
    /// `sum e^(z - top)`.
    sum: f64,
    /// `sum e^(z - top) (z - top)`.
    moment: f64,
}

impl SoftmaxSums {
    /// The mean of `z - top` under the distribution.
    fn mean(&self) -> f64 {
        self.moment / self.sum
    }
}

struct SoftmaxKernel<'a, F> {
    logits: &'a [F],
    inverse_temperature: F,
}

impl<F: Float> pulp::NullaryFnOnce for SoftmaxKernel<'_, F> {
    type Output = SoftmaxSums;

    #[inline(always)]
    fn call(self) -> SoftmaxSums {
        let Self { logits, inverse_temperature } = self;
        let mut tops = [F::NEG_INFINITY; CHUNK];
        for chunk in logits.chunks(CHUNK) {
            for (top, &logit) in tops.iter_mut().zip(chunk) {
                *top = top.larger(logit * inverse_temperature);
            }
        }
        let top = tree_fold(tops, F::larger);
        let greatest = F::from_f64(top);
        let (mut sum, mut moment) = (0.0, 0.0);
        for chunk in logits.chunks(CHUNK) {
            let (mut weights, mut moments) = ([F::ZERO; CHUNK], [F::ZERO; CHUNK]);
            for ((weight, moment), &logit) in weights.iter_mut().zip(&mut moments).zip(chunk) {
                let z = logit * inverse_temperature - greatest;
                let e = z.exp();
                *weight = e;
                // For an impossible token, e is 0 and z minus infinity, whose product is NaN
                // instead of 0.
                *moment = if e > F::ZERO { e * z } else { e };
            }
            sum += tree_sum(weights);
            moment += tree_sum(moments);
        }
        SoftmaxSums { top, sum, moment }
    }
}

struct LogitsGradientKernel<'a, F> {
    logits: &'a [F],
    inverse_temperature: F,
    top: F,
    log_sum: F,
    entropy: F,
    by_logp: F,
    by_entropy: F,
    out: &'a mut [F],
}

impl<F: Float> pulp::NullaryFnOnce for LogitsGradientKernel<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { logits, inverse_temperature, top, log_sum, entropy, by_logp, by_entropy, out } =
            self;
        for (out, &logit) in out.iter_mut().zip(logits) {
            let log_p = logit * inverse_temperature - top - log_sum;
            let p = log_p.exp();
            let spread = if p > F::ZERO { p * (log_p + entropy) } else { p };
            *out = -(by_logp * p + by_entropy * spread) * inverse_temperature;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, proptest};

    use super::{LogitsBatch, logits_gradient, token_logp};
    use crate::error::OptimError;
    use crate::testing::{assert_close, central_difference};

    #[test]
    fn a_uniform_distribution_has_entropy_ln_v_and_huge_logits_do_not_overflow() {
        let (mut logp, mut entropy) = ([9.0_f32], [9.0_f32]);
        token_logp(&LogitsBatch::new(&[3e4; 100], &[7], 100), &mut logp, &mut entropy).unwrap();
        assert_close(
            &[f64::from(logp[0]), f64::from(entropy[0])],
            &[-(100.0_f64).ln(), (100.0_f64).ln()],
            1e-6,
        );
    }

    #[test]
    fn an_impossible_token_is_ignored_unless_it_was_drawn() {
        let logits = [0.0, f64::NEG_INFINITY, 0.0];
        let (mut logp, mut entropy, mut slope) = ([9.0], [9.0], [9.0; 3]);
        let batch = LogitsBatch::new(&logits, &[2], 3);
        token_logp(&batch, &mut logp, &mut entropy).unwrap();
        assert_close(&[logp[0], entropy[0]], &[-(2.0_f64).ln(), (2.0_f64).ln()], 1e-12);
        logits_gradient(&batch, &[1.0], &[1.0], &mut slope).unwrap();
        assert_close(&slope, &[-0.5, 0.0, 0.5], 1e-12);
        let error =
            token_logp(&LogitsBatch::new(&logits, &[1], 3), &mut logp, &mut entropy).unwrap_err();
        assert_eq!(error, OptimError::NonFinite { what: "logits", row: 0, token: 0 });
    }

    /// open-instruct#756: the entropy of padding was counted in the mean.
    #[test]
    fn padding_is_not_read_and_gets_zero() {
        let logits = [1.0, 2.0, f64::NAN, f64::NAN];
        let batch = LogitsBatch::new(&logits, &[0, 99], 2).with_valid(&[1, 0]);
        let (mut logp, mut entropy, mut slope) = ([9.0; 2], [9.0; 2], [9.0; 4]);
        token_logp(&batch, &mut logp, &mut entropy).unwrap();
        logits_gradient(&batch, &[1.0, f64::NAN], &[0.0; 2], &mut slope).unwrap();
        assert_close(&[logp[1], entropy[1], slope[2], slope[3]], &[0.0; 4], 0.0);
        assert!(
            token_logp(&LogitsBatch::new(&logits, &[0, 2], 2), &mut logp, &mut entropy).is_err()
        );
    }

    /// OpenRLHF#1319: log-probs with the temperature, entropy without.
    #[test]
    fn temperature_divides_the_logits_of_both() {
        let warm = LogitsBatch::new(&[2.0, 4.0, -6.0], &[1], 3).with_temperature(2.0);
        let plain = LogitsBatch::new(&[1.0, 2.0, -3.0], &[1], 3);
        let run = |batch: &LogitsBatch<'_, f64>| {
            let (mut logp, mut entropy) = ([0.0], [0.0]);
            token_logp(batch, &mut logp, &mut entropy).unwrap();
            [logp[0], entropy[0]]
        };
        assert_close(&run(&warm), &run(&plain), 1e-15);
    }

    proptest! {
        #[test]
        fn the_gradient_matches_central_differences(
            logits in prop::collection::vec(-4.0_f64..4.0, 14),
            weights in prop::collection::vec(-1.0_f64..1.0, 4),
            temperature in 0.5_f64..2.0,
        ) {
            let labels = [3, 5];
            let value = |logits: &[f64]| {
                let batch = LogitsBatch::new(logits, &labels, 7).with_temperature(temperature);
                let (mut logp, mut entropy) = ([0.0; 2], [0.0; 2]);
                token_logp(&batch, &mut logp, &mut entropy).unwrap();
                logp.iter().chain(&entropy).zip(&weights).map(|(x, weight)| x * weight).sum::<f64>()
            };
            let mut slopes = [9.0; 14];
            let batch = LogitsBatch::new(&logits, &labels, 7).with_temperature(temperature);
            logits_gradient(&batch, &weights[..2], &weights[2..], &mut slopes).unwrap();
            for (slot, &slope) in slopes.iter().enumerate() {
                assert_close(&[slope], &[central_difference(&logits, slot, value)], 1e-7);
            }
        }
    }
}
