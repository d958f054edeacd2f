//! Advantages from token rewards without a critic: REINFORCE++ and ReMax.

use crate::error::{OptimError, require};
use crate::kernel::blocks::{FiniteCheck, RowKernel, over_rows};
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;
use crate::kernel::scan::{BackwardScan, ScanBuffer, backwards};

/// Writes the discounted reward-to-go of every valid token, `G_t = r_t + gamma G_t'` with `t'` the
/// next valid token of the row; padded slots get 0. Slices are `[B, T]`, `gamma` is within 0..=1.
///
/// The advantage of REINFORCE++ (arXiv 2501.03262, equation 6) is this reward-to-go, whitened over
/// the batch, from rewards that include the KL charge of
/// [`token_rewards`](crate::reward::token_rewards::token_rewards). Its `-baseline` variant is
/// [`Estimator::DrGrpo`](crate::advantage::group::Estimator::DrGrpo) on the rollouts' rewards,
/// whitened in the same way.
///
/// # Errors
/// [`OptimError::Config`] for gamma out of range, [`OptimError::Shape`], [`OptimError::NonFinite`]
/// for a NaN or infinity in a valid slot.
pub fn returns_to_go<F: Float>(
    gamma: f64,
    mask: &RowMask<'_>,
    rewards: &[F],
    out: &mut [F],
) -> Result<(), OptimError> {
    require((0.0..=1.0).contains(&gamma), "gamma", gamma, "within 0..=1")?;
    mask.check_all(&[("rewards", rewards.len()), ("returns", out.len())])?;
    let check = over_rows(
        &ReturnsKernel { scan: BackwardScan::new(gamma), mask: *mask, rewards },
        mask,
        [out],
    );
    if check.passed() {
        Ok(())
    } else {
        Err(mask.non_finite_error("returns", &[("rewards", rewards)]))
    }
}

/// Writes ReMax's advantage: the undiscounted reward-to-go minus the row's baseline. The baseline
/// (`[B]`) is the reward of the greedy answer to the same prompt. Source: Li et al. (arXiv
/// 2310.10505), algorithm 1.
///
/// # Errors
/// The errors of [`returns_to_go`], and [`OptimError::NonFinite`] for the baseline of a row that
/// has tokens.
pub fn remax<F: Float>(
    mask: &RowMask<'_>,
    rewards: &[F],
    baselines: &[F],
    out: &mut [F],
) -> Result<(), OptimError> {
    mask.check_rows("baselines", baselines.len())?;
    returns_to_go(1.0, mask, rewards, out)?;
    for (row, &baseline) in baselines.iter().enumerate() {
        for span in mask.spans(row) {
            if !baseline.is_finite() {
                return Err(OptimError::NonFinite { what: "baselines", row, token: 0 });
            }
            for advantage in &mut out[span] {
                *advantage = *advantage - baseline;
            }
        }
    }
    Ok(())
}

struct ReturnsKernel<'a, F> {
    scan: BackwardScan<F>,
    mask: RowMask<'a>,
    rewards: &'a [F],
}

impl<F: Float> RowKernel<F, 1> for ReturnsKernel<'_, F> {
    /// The check covers the first return of each row, which is finite only if the whole row is.
    type Sums = FiniteCheck;
    type Block = ScanBuffer<F>;

    #[inline(always)]
    fn open(&self) -> ScanBuffer<F> {
        ScanBuffer::new()
    }

    #[inline(always)]
    fn close(&self, _buffer: ScanBuffer<F>, _check: &mut FiniteCheck) {}

    #[inline(always)]
    fn row(
        &self,
        row: usize,
        [out]: [&mut [F]; 1],
        buffer: &mut ScanBuffer<F>,
        check: &mut FiniteCheck,
    ) {
        let start = row * self.mask.width();
        let mut carry = F::ZERO;
        out.fill(F::ZERO);
        for slots in backwards(&self.mask, row) {
            let tokens = slots.len();
            buffer.set_tail(tokens, carry);
            buffer.terms[..tokens].copy_from_slice(&self.rewards[slots.clone()]);
            carry = self.scan.run(buffer, tokens, carry);
            out[slots.start - start..slots.end - start].copy_from_slice(&buffer.results[..tokens]);
        }
        check.add(carry.to_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::{remax, returns_to_go};
    use crate::error::OptimError;
    use crate::kernel::rows::RowMask;
    use crate::testing::assert_close;

    /// radixark/miles#1383: the KL charge leaked into other rows' returns.
    #[test]
    fn rewards_propagate_back_over_gaps_within_their_row_only() {
        let mask = RowMask::bytes(&[1, 0, 1, 1, 1, 0], 2, 3).unwrap();
        let mut out = [9.0; 6];
        returns_to_go(0.5, &mask, &[1.0, f64::NAN, 4.0, 8.0, 16.0, f64::NAN], &mut out).unwrap();
        assert_close(&out, &[3.0, 0.0, 4.0, 16.0, 16.0, 0.0], 1e-15);
    }

    #[test]
    fn matches_the_scalar_recursion_for_all_lengths_and_gaps() {
        for len in [1, 7, 8, 9, 63, 64, 65, 72, 511, 512, 513, 576, 1030] {
            for gap in [1, 8, 64, 512] {
                // Two slots of padding after `gap` tokens, and one at the end.
                let place = |at: usize| if at < gap.min(len) { at } else { at + 2 };
                let (mut bytes, mut rewards, mut out) =
                    (vec![0; len + 3], vec![f64::NAN; len + 3], vec![9.0; len + 3]);
                let mut want = vec![0.0; len + 3];
                let mut to_go = 0.0;
                for at in (0..len).rev() {
                    let reward = ((at * 7919) % 1009) as f64 / 504.5 - 1.0;
                    to_go = reward + 0.97 * to_go;
                    (bytes[place(at)], rewards[place(at)], want[place(at)]) = (1, reward, to_go);
                }
                let mask = RowMask::bytes(&bytes, 1, len + 3).unwrap();
                returns_to_go(0.97, &mask, &rewards, &mut out).unwrap();
                assert_close(&out, &want, 1e-12);
                rewards[place(len - 1)] = f64::NAN;
                let error = returns_to_go(0.97, &mask, &rewards, &mut out).unwrap_err();
                assert_eq!(
                    error,
                    OptimError::NonFinite { what: "rewards", row: 0, token: place(len - 1) }
                );
            }
        }
    }

    #[test]
    fn remax_subtracts_the_reward_of_the_greedy_answer() {
        let mask = RowMask::lens(&[2, 0], 2).unwrap();
        let mut out = [9.0; 4];
        remax(&mask, &[1.0, 2.0, f64::NAN, 0.0], &[0.5, f64::NAN], &mut out).unwrap();
        assert_close(&out, &[2.5, 1.5, 0.0, 0.0], 1e-15);
        let error = remax(&mask, &[1.0, 2.0, 0.0, 0.0], &[f64::NAN, 0.0], &mut out).unwrap_err();
        assert_eq!(error, OptimError::NonFinite { what: "baselines", row: 0, token: 0 });
    }
}
