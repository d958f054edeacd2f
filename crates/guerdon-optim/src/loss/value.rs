//! The clipped value loss of PPO and its gradient.

use crate::error::{OptimError, require};
use crate::kernel::blocks::{Merge, TokenChunk, TokenKernel, over_tokens};
use crate::kernel::float::Float;
use crate::kernel::lanes::{CHUNK, ChunkArray, tree_sum};
use crate::kernel::rows::RowMask;
use crate::kernel::welford::{Welford, WelfordLanes};
use crate::loss::aggregate::{Aggregation, Normaliser, Weigher};

/// The clip range and the aggregation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueConfig {
    /// Clip distance of a prediction from the old value, in units of the reward, above 0; `None`
    /// for a plain squared error. Default 0.2 (TRL's; verl's is 0.5). Choose it for the scale of
    /// the reward.
    pub clip: Option<f64>,
    /// The weight of a token. Default `token_mean`.
    pub aggregation: Aggregation,
}

impl Default for ValueConfig {
    fn default() -> Self {
        Self { clip: Some(0.2), aggregation: Aggregation::default() }
    }
}

/// Predictions and targets of a batch or micro-batch.
#[derive(Clone, Copy, Debug)]
pub struct ValueBatch<'a, F> {
    mask: RowMask<'a>,
    values: &'a [F],
    old_values: &'a [F],
    returns: &'a [F],
    normaliser: Option<Normaliser>,
}

impl<'a, F: Float> ValueBatch<'a, F> {
    /// All slices are `[B, T]`, in units of the reward: the critic's predictions now, its
    /// predictions when the batch was sampled, and the returns that are its targets.
    pub fn new(mask: RowMask<'a>, values: &'a [F], old_values: &'a [F], returns: &'a [F]) -> Self {
        Self { mask, values, old_values, returns, normaliser: None }
    }

    /// Sets the divisors of the whole batch, for a micro-batch: the losses and gradients of the
    /// parts then add up.
    #[must_use]
    pub fn with_normaliser(mut self, normaliser: Normaliser) -> Self {
        self.normaliser = Some(normaliser);
        self
    }
}

/// The loss and its metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ValueReport {
    /// The aggregated loss, to be minimised; squared units of the reward.
    pub loss: f64,
    /// Share of this batch's valid tokens whose clip is active, within 0..=1.
    pub clip_fraction: f64,
    /// Mean error `value - return` over valid tokens: the critic's bias.
    pub mean_error: f64,
    /// `1 - Var(return - value) / Var(return)` over valid tokens: 1 for a perfect critic, 0 for a
    /// constant one, below 0 for one that is worse than a constant; 0 if the returns are all equal.
    pub explained_variance: f64,
    /// Valid tokens: the weight of this report in a mean over micro-batches.
    pub tokens: usize,
}

/// Computes the value loss and writes its gradient by `values` into `dvalues` (`[B, T]`, 0 in
/// padded slots).
///
/// With `w` the aggregation's weight:
///
/// ```text
/// l       = max((v - R)^2, (clip(v, v_old - c, v_old + c) - R)^2) / 2
/// loss    = sum w l
/// dvalues = w (v - R), or 0 where the clipped branch is the greater
/// ```
///
/// Source: OpenAI baselines' `ppo2`; described in Engstrom et al., "Implementation Matters in Deep
/// Policy Gradients" (arXiv 2005.12729), section 3.
///
/// # Errors
/// [`OptimError::Shape`], [`OptimError::Config`] for a clip or divisor out of range,
/// [`OptimError::NonFinite`] for a NaN or infinity in a valid slot, [`OptimError::Overflow`].
pub fn value_loss<F: Float>(
    config: &ValueConfig,
    batch: &ValueBatch<'_, F>,
    dvalues: &mut [F],
) -> Result<ValueReport, OptimError> {
    Ok(value_sums(config, batch, dvalues)?.report())
}

/// The sums behind [`value_loss`], which can be merged over the parts of a batch.
pub(crate) fn value_sums<F: Float>(
    config: &ValueConfig,
    batch: &ValueBatch<'_, F>,
    dvalues: &mut [F],
) -> Result<ValueSums, OptimError> {
    if let Some(clip) = config.clip {
        require(clip > 0.0, "clip", clip, "above 0")?;
    }
    let ValueBatch { mask, values, old_values, returns, normaliser } = *batch;
    mask.check_all(&[
        ("values", values.len()),
        ("old_values", old_values.len()),
        ("returns", returns.len()),
        ("dvalues", dvalues.len()),
    ])?;
    let weigher = config.aggregation.weigher(&mask, normaliser)?;
    // Without a clip the old values are not read.
    let old_values = if config.clip.is_some() { old_values } else { values };
    let kernel =
        ValueKernel { clip: F::from_f64(config.clip.unwrap_or(f64::INFINITY)), weigher, mask };
    let sums: ValueSums = over_tokens(&kernel, &mask, [values, old_values, returns], [dvalues]);
    if !sums.loss.is_finite() {
        return Err(mask.non_finite_error(
            "loss",
            &[("values", values), ("old_values", old_values), ("returns", returns)],
        ));
    }
    Ok(sums)
}

/// Sums of the value loss over a part of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ValueSums {
    loss: f64,
    clipped: f64,
    errors: Welford,
    returns: Welford,
}

impl ValueSums {
    pub(crate) fn report(self) -> ValueReport {
        let spread = self.returns.squares;
        ValueReport {
            loss: self.loss,
            clip_fraction: self.clipped / self.errors.count.max(1.0),
            mean_error: self.errors.mean,
            explained_variance: if spread > 0.0 { 1.0 - self.errors.squares / spread } else { 0.0 },
            tokens: self.errors.count as usize,
        }
    }
}

impl Merge for ValueSums {
    fn merge(self, later: Self) -> Self {
        Self {
            loss: self.loss + later.loss,
            clipped: self.clipped + later.clipped,
            errors: self.errors.merge(later.errors),
            returns: self.returns.merge(later.returns),
        }
    }
}

struct ValueKernel<'a, F> {
    clip: F,
    weigher: Weigher,
    mask: RowMask<'a>,
}

impl<F: Float> TokenKernel<F, 3, 1> for ValueKernel<'_, F> {
    /// The weight of a token.
    type Row = F;
    type Lanes = ValueLanes<F>;
    type Sums = ValueSums;

    #[inline(always)]
    fn lanes(&self) -> ValueLanes<F> {
        ValueLanes {
            loss: ChunkArray::zeros(),
            clipped: ChunkArray::zeros(),
            errors: WelfordLanes::new(),
            returns: WelfordLanes::new(),
        }
    }

    #[inline(always)]
    fn fold(&self, lanes: ValueLanes<F>, sums: &mut ValueSums) {
        sums.loss += 0.5 * tree_sum(*lanes.loss);
        sums.clipped += tree_sum(*lanes.clipped);
        sums.errors = sums.errors.merge(lanes.errors.fold());
        sums.returns = sums.returns.merge(lanes.returns.fold());
    }

    #[inline(always)]
    fn begin(&self, row: usize, _sums: &mut ValueSums) -> F {
        F::from_f64(self.weigher.weight(self.mask.count(row)))
    }

    #[inline(always)]
    fn chunk(
        &self,
        &weight: &F,
        TokenChunk { tokens, ins: [values, olds, returns], outs: [dvalues] }: TokenChunk<
            '_,
            F,
            3,
            1,
        >,
        lanes: &mut ValueLanes<F>,
    ) {
        let clip = self.clip;
        let mut errors = ChunkArray::zeros();
        for at in 0..CHUNK {
            let (value, old, target) = (values[at], olds[at], returns[at]);
            let error = value - target;
            let clipped_error = value.clamp(old - clip, old + clip) - target;
            let (free, fixed) = (error * error, clipped_error * clipped_error);
            let clipped = fixed > free;
            dvalues[at] = if clipped { F::ZERO } else { error * weight };
            lanes.loss[at] += (if clipped { fixed } else { free }) * weight + old.times_zero();
            lanes.clipped[at] += F::flag(clipped);
            errors[at] = error;
        }
        lanes.errors.add(&errors, tokens);
        lanes.returns.add(returns, tokens);
    }
}

struct ValueLanes<F> {
    loss: ChunkArray<F>,
    clipped: ChunkArray<F>,
    errors: WelfordLanes<F>,
    returns: WelfordLanes<F>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, proptest};

    use super::{ValueBatch, ValueConfig, ValueReport, value_loss};
    use crate::error::OptimError;
    use crate::kernel::rows::RowMask;
    use crate::loss::aggregate::Aggregation;
    use crate::testing::{assert_close, central_difference};

    fn token(clip: Option<f64>, [value, old, target]: [f64; 3]) -> (ValueReport, f64) {
        let config = ValueConfig { clip, ..ValueConfig::default() };
        let mut slope = [9.0];
        let (value, old, target) = ([value], [old], [target]);
        let batch = ValueBatch::new(RowMask::full(1, 1), &value, &old, &target);
        (value_loss(&config, &batch, &mut slope).unwrap(), slope[0])
    }

    #[test]
    fn a_prediction_clipped_on_the_way_to_its_target_has_no_gradient() {
        let (report, slope) = token(Some(0.5), [1.8, 1.0, 2.0]);
        assert_close(&[report.loss, slope, report.clip_fraction], &[0.125, 0.0, 1.0], 1e-12);
    }

    #[test]
    fn a_prediction_that_moved_away_from_its_target_has_the_full_gradient() {
        let (report, slope) = token(Some(0.5), [0.0, 1.0, 2.0]);
        assert_close(&[report.loss, slope, report.clip_fraction], &[2.0, -2.0, 0.0], 1e-12);
    }

    #[test]
    fn without_a_clip_the_old_values_are_not_read() {
        let (report, slope) = token(None, [1.8, f64::NAN, 2.0]);
        assert_close(&[report.loss, slope, report.mean_error], &[0.02, -0.2, -0.2], 1e-12);
    }

    #[test]
    fn the_explained_variance_is_one_for_a_perfect_critic_and_zero_for_a_constant_one() {
        let mask = RowMask::lens(&[2, 1], 2).unwrap();
        let returns = [1.0, 2.0, 4.0, f64::NAN];
        let explained = |values: &[f64]| {
            let batch = ValueBatch::new(mask, values, values, &returns);
            value_loss(&ValueConfig::default(), &batch, &mut [0.0; 4]).unwrap().explained_variance
        };
        assert_close(&[explained(&returns), explained(&[7.0; 4])], &[1.0, 0.0], 1e-12);
        assert!(explained(&[4.0, 2.0, 1.0, 0.0]) < 0.0);
    }

    #[test]
    fn nan_is_reported_in_a_valid_slot_and_ignored_in_padding() {
        let mask = RowMask::lens(&[1, 2], 2).unwrap();
        let returns = [0.0, f64::NAN, 0.0, f64::NAN];
        let batch = ValueBatch::new(mask, &[0.0; 4], &[0.0; 4], &returns);
        let error = value_loss(&ValueConfig::default(), &batch, &mut [0.0; 4]).unwrap_err();
        assert_eq!(error, OptimError::NonFinite { what: "returns", row: 1, token: 1 });
    }

    proptest! {
        #[test]
        fn the_gradient_matches_central_differences(
            slots in prop::collection::vec((0_u8..2, -2.0_f64..2.0, -1.0_f64..1.0, -2.0_f64..2.0), 12),
            mode in prop::sample::select(Aggregation::ALL),
            clip in prop::sample::select(vec![None, Some(0.2), Some(0.5)]),
        ) {
            let bytes: Vec<u8> = slots.iter().map(|slot| slot.0).collect();
            let values: Vec<f64> = slots.iter().map(|slot| slot.1).collect();
            let old: Vec<f64> = slots.iter().map(|slot| slot.1 + slot.2).collect();
            let returns: Vec<f64> = slots.iter().map(|slot| slot.3).collect();
            let mask = RowMask::bytes(&bytes, 3, 4).unwrap();
            let config = ValueConfig { clip, aggregation: mode };
            let run = |values: &[f64]| {
                let mut slopes = vec![9.0; 12];
                let batch = ValueBatch::new(mask, values, &old, &returns);
                (value_loss(&config, &batch, &mut slopes).unwrap().loss, slopes)
            };
            let (_, slopes) = run(&values);
            for slot in 0..12 {
                if let Some(clip) = clip {
                    let clipped_value = values[slot].clamp(old[slot] - clip, old[slot] + clip);
                    let free = values[slot] - returns[slot];
                    let clipped_error = clipped_value - returns[slot];
                    let at_edge = ((values[slot] - old[slot]).abs() - clip).abs() < 1e-4;
                    // Outside the range the two branches also cross if their errors are opposite.
                    let is_clipped = (clipped_value - values[slot]).abs() > 0.0;
                    let at_crossing = is_clipped && (free + clipped_error).abs() < 1e-4;
                    if at_edge || at_crossing {
                        continue;
                    }
                }
                assert_close(&[slopes[slot]], &[central_difference(&values, slot, |x| run(x).0)], 1e-6);
            }
        }
    }
}
