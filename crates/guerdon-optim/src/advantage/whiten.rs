//! Mean, variance and whitening over the valid tokens of a batch.

use crate::error::{OptimError, require};
use crate::kernel::blocks::{Merge, TokenChunk, TokenKernel, over_tokens, over_tokens_in_place};
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;
use crate::kernel::welford::{Welford, WelfordLanes};

/// The mean and variance of the valid tokens, in `f64`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Moments {
    /// Valid tokens.
    pub tokens: usize,
    /// Their mean; 0 if there are none.
    pub mean: f64,
    /// Their variance, Bessel-corrected (`n - 1`); 0 if there are fewer than two.
    pub variance: f64,
}

impl Moments {
    pub(crate) fn of(sums: Welford) -> Self {
        Self { tokens: sums.count as usize, mean: sums.mean, variance: sums.variance() }
    }
}

/// The treatment of the mean, and the constant that avoids a division by zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WhitenConfig {
    /// Centres the result on 0 if true; keeps the mean of the input if false. Default true.
    pub centre: bool,
    /// Added to the variance, in squared units of the input, above 0. Default 1e-8 (verl's and
    /// TRL's).
    pub eps: f64,
}

impl Default for WhitenConfig {
    fn default() -> Self {
        Self { centre: true, eps: 1e-8 }
    }
}

impl WhitenConfig {
    pub(crate) fn check(&self) -> Result<(), OptimError> {
        require(self.eps > 0.0 && self.eps.is_finite(), "eps", self.eps, "finite and above 0")
    }
}

/// Computes the mean and variance of the valid slots of `values` (`[B, T]`).
///
/// Uses Welford's method over blocks of about 4096 slots, each relative to the mean of its first
/// tokens. It does not cancel when the mean is much larger than the deviation (NeMo-RL#4158), and
/// the variance of equal values is exactly 0.
///
/// # Errors
/// [`OptimError::Shape`] for a slice of the wrong length, [`OptimError::NonFinite`] for a NaN or
/// infinity in a valid slot.
pub fn moments<F: Float>(mask: &RowMask<'_>, values: &[F]) -> Result<Moments, OptimError> {
    Ok(Moments::of(moment_sums(mask, values)?))
}

/// The sums behind [`moments`], which can be merged over the parts of a batch.
pub(crate) fn moment_sums<F: Float>(
    mask: &RowMask<'_>,
    values: &[F],
) -> Result<Welford, OptimError> {
    mask.check("values", values.len())?;
    let sums: Welford = over_tokens(&MomentsKernel, mask, [values], []);
    if !(sums.squares.is_finite() && sums.mean.is_finite()) {
        return Err(mask.non_finite_error("variance", &[("values", values)]));
    }
    Ok(sums)
}

/// Whitens the valid slots of `values` (`[B, T]`) in place, leaves padded slots as they are, and
/// returns the moments *before* whitening.
///
/// The result is `(x - mean) / sqrt(variance + eps)`, plus the mean unless `centre` is set. Every
/// mask has a defined result: without valid tokens nothing changes, and a single token (or equal
/// ones) becomes 0, or keeps the mean unless `centre` is set. Source: TRL's and verl's
/// `masked_whiten`, which raise in those cases; `eps` is theirs.
///
/// # Errors
/// The errors of [`moments`], and [`OptimError::Config`] unless `eps` is finite and above 0.
pub fn whiten<F: Float>(
    config: &WhitenConfig,
    mask: &RowMask<'_>,
    values: &mut [F],
) -> Result<Moments, OptimError> {
    config.check()?;
    let before = moments(mask, values)?;
    whiten_with(config, &before, mask, values);
    Ok(before)
}

/// Whitens a part of a batch with the moments of the whole batch.
pub(crate) fn whiten_with<F: Float>(
    config: &WhitenConfig,
    before: &Moments,
    mask: &RowMask<'_>,
    values: &mut [F],
) {
    let mean = F::from_f64(before.mean);
    let kernel = WhitenKernel {
        mean,
        mean_rest: F::from_f64(before.mean - mean.to_f64()),
        scale: F::from_f64((before.variance + config.eps).sqrt().recip()),
        back: if config.centre { F::ZERO } else { mean },
    };
    over_tokens_in_place(&kernel, mask, [values]);
}

struct MomentsKernel;

impl<F: Float> TokenKernel<F, 1, 0> for MomentsKernel {
    type Row = ();
    type Lanes = WelfordLanes<F>;
    type Sums = Welford;

    #[inline(always)]
    fn lanes(&self) -> WelfordLanes<F> {
        WelfordLanes::new()
    }

    #[inline(always)]
    fn fold(&self, lanes: WelfordLanes<F>, sums: &mut Welford) {
        *sums = sums.merge(lanes.fold());
    }

    #[inline(always)]
    fn begin(&self, _row: usize, _sums: &mut Welford) {}

    #[inline(always)]
    fn chunk(
        &self,
        (): &(),
        TokenChunk { tokens, ins: [values], .. }: TokenChunk<'_, F, 1, 0>,
        lanes: &mut WelfordLanes<F>,
    ) {
        lanes.add(values, tokens);
    }
}

struct WhitenKernel<F> {
    mean: F,
    /// The part of the mean that was lost by rounding it to `F`.
    mean_rest: F,
    scale: F,
    back: F,
}

impl<F: Float> TokenKernel<F, 0, 1> for WhitenKernel<F> {
    type Row = ();
    type Lanes = ();
    type Sums = ();

    #[inline(always)]
    fn lanes(&self) {}

    #[inline(always)]
    fn fold(&self, (): (), (): &mut ()) {}

    #[inline(always)]
    fn begin(&self, _row: usize, (): &mut ()) {}

    #[inline(always)]
    fn chunk(
        &self,
        (): &(),
        TokenChunk { outs: [values], .. }: TokenChunk<'_, F, 0, 1>,
        (): &mut (),
    ) {
        let Self { mean, mean_rest, scale, back } = *self;
        for value in values {
            *value = ((*value - mean) - mean_rest) * scale + back;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assume, proptest};

    use super::{Moments, WhitenConfig, moments, whiten};
    use crate::error::OptimError;
    use crate::kernel::rows::RowMask;
    use crate::testing::assert_close;

    /// NovaSky-AI/SkyRL#1305: the mean counted padding, the variance did not.
    #[test]
    fn moments_skip_the_padding() {
        let mask = RowMask::bytes(&[1, 0, 1, 1], 2, 2).unwrap();
        let got = moments(&mask, &[1.0, f64::NAN, 2.0, 6.0]).unwrap();
        assert_eq!(got, Moments { tokens: 3, mean: 3.0, variance: 7.0 });
    }

    #[test]
    fn whitening_is_defined_without_tokens_and_for_one_token() {
        let mut none = [f64::NAN, 5.0];
        let config = WhitenConfig::default();
        let got = whiten(&config, &RowMask::lens(&[0], 2).unwrap(), &mut none).unwrap();
        assert_eq!(got, Moments::default());
        let mut one = [4.0, 5.0];
        whiten(&config, &RowMask::lens(&[1], 2).unwrap(), &mut one).unwrap();
        assert_close(&one, &[0.0, 5.0], 0.0);
        let mut kept = [4.0, 5.0];
        let keep = WhitenConfig { centre: false, ..config };
        whiten(&keep, &RowMask::lens(&[1], 2).unwrap(), &mut kept).unwrap();
        assert_close(&kept, &[4.0, 5.0], 0.0);
    }

    /// NVIDIA-NeMo/RL#4158, on tokens and in f32: `E[x^2] - mean^2` loses every digit here.
    #[test]
    fn the_variance_is_accurate_if_the_mean_is_far_above_the_deviation() {
        let values: Vec<f32> = (0..8_u8).map(|step| 4096.0 + f32::from(step) / 1024.0).collect();
        let got = moments(&RowMask::full(1, 8), &values).unwrap();
        assert_close(&[got.variance * 1024.0 * 1024.0], &[6.0], 1e-12);
    }

    /// The worst case of sums about the first chunk's mean: all other values are far from it.
    #[test]
    fn the_variance_is_accurate_if_the_first_chunk_is_far_from_the_rest() {
        let values: Vec<f64> =
            (0..700).map(|at| if at < 64 { 1e6 } else { f64::from(at % 7) }).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance =
            values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let got = moments(&RowMask::full(1, 700), &values).unwrap();
        assert_close(&[got.mean, got.variance], &[mean, variance], 1e-13);
        let narrow: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        let got = moments(&RowMask::full(1, 700), &narrow).unwrap();
        assert_close(&[got.mean, got.variance], &[mean, variance], 2e-5);
        // Rows of one token, with an outlier in the first and a poor centre for the others.
        for far in [3.890_989_8, 100.0, 1e4] {
            let narrow: Vec<f32> = (0..4096)
                .map(|at| if at == 0 { far } else { -0.786 + (at % 3) as f32 * 0.01 })
                .collect();
            let mean = narrow.iter().map(|&value| f64::from(value)).sum::<f64>() / 4096.0;
            let squares =
                narrow.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>();
            let got = moments(&RowMask::full(4096, 1), &narrow).unwrap();
            assert_close(&[got.mean, got.variance], &[mean, squares / 4095.0], 1e-4);
        }
        let equal = moments(&RowMask::full(7, 100), &[0.1_f32; 700]).unwrap();
        assert_close(&[equal.variance], &[0.0], 0.0);
    }

    #[test]
    fn a_nan_in_a_valid_slot_is_reported() {
        let error = moments(&RowMask::full(2, 2), &[0.0, 0.0, 0.0, f32::NAN]).unwrap_err();
        assert_eq!(error, OptimError::NonFinite { what: "values", row: 1, token: 1 });
    }

    proptest! {
        #[test]
        fn whitening_is_invariant_under_scale_and_shift(
            values in prop::collection::vec(-3.0_f64..3.0, 2..30),
            scale in 0.5_f64..4.0,
            shift in -10.0_f64..10.0,
        ) {
            let mask = RowMask::full(1, values.len());
            let config = WhitenConfig { eps: 1e-30, ..WhitenConfig::default() };
            let mut affine: Vec<f64> = values.iter().map(|value| value * scale + shift).collect();
            let mut plain = values;
            prop_assume!(moments(&mask, &plain).unwrap().variance > 1e-6);
            whiten(&config, &mask, &mut plain).unwrap();
            whiten(&config, &mask, &mut affine).unwrap();
            assert_close(&affine, &plain, 1e-9);
            let after = moments(&mask, &plain).unwrap();
            assert_close(&[after.mean, after.variance], &[0.0, 1.0], 1e-9);
        }
    }
}
