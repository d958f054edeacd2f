//! Credit by turn: the runs of valid tokens in a row are the agent's turns of one dialogue.

use crate::advantage::gae::GaeConfig;
use crate::advantage::group::{GroupConfig, advantages_with};
use crate::error::{OptimError, require};
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;

/// Token rewards and values of multi-turn rollouts.
#[derive(Clone, Copy, Debug)]
pub struct TurnBatch<'a, F> {
    /// The agent's tokens; other turns are gaps.
    pub mask: RowMask<'a>,
    /// Token rewards, `[B, T]`; the reward of a turn is their sum.
    pub rewards: &'a [F],
    /// The critic's estimates, `[B, T]`; that of a turn is the one before its first token.
    pub values: &'a [F],
    /// The value after each row's last turn, `[B]`; none for rows that ended by themselves.
    pub bootstrap: Option<&'a [F]>,
}

/// Writes advantages and returns by generalized advantage estimation whose steps are turns instead
/// of tokens. All tokens of a turn get its advantage and its return; padded slots get 0.
///
/// Discount and lambda are per turn, so credit for an outcome does not fade with the length of the
/// turns. [`Lambda::LengthAdaptive`](crate::advantage::gae::Lambda::LengthAdaptive) counts turns. The
/// critic is fitted to the return at every token of a turn. Source: Turn-PPO (arXiv 2512.17008).
///
/// # Errors
/// [`OptimError::Config`] for gamma or lambda out of range, [`OptimError::Shape`],
/// [`OptimError::NonFinite`] for a NaN or infinity in a valid slot, [`OptimError::Overflow`].
pub fn turn_gae<F: Float>(
    config: &GaeConfig,
    batch: &TurnBatch<'_, F>,
    advantages: &mut [F],
    returns: &mut [F],
) -> Result<(), OptimError> {
    config.check()?;
    let TurnBatch { mask, rewards, values, bootstrap } = *batch;
    mask.check_all(&[
        ("rewards", rewards.len()),
        ("values", values.len()),
        ("advantages", advantages.len()),
        ("returns", returns.len()),
    ])?;
    mask.check_rows("bootstrap", bootstrap.map_or(mask.rows(), <[F]>::len))?;
    advantages.fill(F::ZERO);
    returns.fill(F::ZERO);
    for row in 0..mask.rows() {
        let lambda = config.lambda.of_row(mask.spans(row).count());
        let value_lambda = config.value_lambda.unwrap_or(lambda);
        let mut next = bootstrap.map_or(0.0, |values| values[row].to_f64());
        let (mut advantage, mut fitted) = (0.0, 0.0);
        for turn in mask.spans(row).rev() {
            let reward: f64 = turn.clone().map(|slot| rewards[slot].to_f64()).sum();
            let value = values[turn.start].to_f64();
            // The other values of the turn are not used, but a NaN in them is no valid input.
            let finite: f64 = turn.clone().map(|slot| values[slot].to_f64() * 0.0).sum();
            let delta = reward + config.gamma * next - value + finite;
            advantage = delta + config.gamma * lambda * advantage;
            fitted = delta + config.gamma * value_lambda * fitted;
            next = value;
            let (of_turn, to_fit) = (F::from_f64(advantage), F::from_f64(fitted + value));
            advantages[turn.clone()].fill(of_turn);
            returns[turn].fill(to_fit);
            if !(of_turn.is_finite() && to_fit.is_finite()) {
                if let Some(row) = bootstrap.and_then(|b| b.iter().position(|x| !x.is_finite())) {
                    return Err(OptimError::NonFinite { what: "bootstrap", row, token: 0 });
                }
                return Err(mask
                    .non_finite_error("advantages", &[("rewards", rewards), ("values", values)]));
            }
        }
    }
    Ok(())
}

/// The rewards of multi-turn rollouts, of their turns and of their outcomes.
#[derive(Clone, Copy, Debug)]
pub struct TurnGroupBatch<'a, F> {
    /// The agent's tokens; other turns are gaps.
    pub mask: RowMask<'a>,
    /// Token rewards, `[B, T]`: the reward of a turn is their sum, and a NaN among them means that
    /// the turn was not scored.
    pub turn_rewards: &'a [F],
    /// The reward of each rollout's outcome, `[B]`, NaN if it was not scored.
    pub outcomes: &'a [F],
    /// The group of each rollout, `[B]`.
    pub groups: &'a [usize],
}

/// Writes one advantage per turn, compared with the same turn of the siblings, without a critic:
///
/// ```text
/// last turn           A(outcome)
/// every other turn    A(turn's reward) + coefficient A(outcome)
/// ```
///
/// `A` is the estimator of `config`; siblings are the rollouts of the group that have such a turn
/// with a reward. The tokens of a rollout whose outcome was not scored get 0, as do those of padded
/// slots; a turn without a reward has the outcome's part only. Source: MT-GRPO (arXiv 2505.11821),
/// equation 7, which has two turns.
///
/// # Errors
/// [`OptimError::Shape`], [`OptimError::Config`] for a coefficient that is not finite or a setting
/// out of range, and the errors of [`advantages_with`].
pub fn turn_group_advantages<F: Float>(
    config: &GroupConfig,
    coefficient: f64,
    batch: &TurnGroupBatch<'_, F>,
    out: &mut [F],
) -> Result<(), OptimError> {
    require(coefficient.is_finite(), "coefficient", coefficient, "finite")?;
    let TurnGroupBatch { mask, turn_rewards, outcomes, groups } = *batch;
    mask.check_all(&[("turn_rewards", turn_rewards.len()), ("advantages", out.len())])?;
    mask.check_rows("outcomes", outcomes.len())?;
    mask.check_rows("groups", groups.len())?;
    let scored = |row: usize| !outcomes[row].is_nan() && mask.last(row).is_some();
    let rewards: Vec<Option<f64>> =
        (0..mask.rows()).map(|row| scored(row).then(|| outcomes[row].to_f64())).collect();
    let outcome = advantages_with(config, &rewards, groups)?;
    let turns: Vec<Vec<_>> =
        (0..mask.rows()).map(|row| mask.spans(row).filter(|_| scored(row)).collect()).collect();
    out.fill(F::ZERO);
    for turn in 0..turns.iter().map(Vec::len).max().unwrap_or(0) {
        let reward = |row: usize| -> Option<f64> {
            // The last turn has the outcome's advantage only, and is no sibling of others.
            let span = turns[row].get(turn).filter(|_| turn + 1 < turns[row].len())?;
            let sum: f64 = span.clone().map(|slot| turn_rewards[slot].to_f64()).sum();
            Some(sum).filter(|sum| !sum.is_nan())
        };
        let rewards: Vec<Option<f64>> = (0..mask.rows()).map(reward).collect();
        let of_turn = advantages_with(config, &rewards, groups)?;
        for (row, spans) in turns.iter().enumerate() {
            let (Some(span), Some(outcome)) = (spans.get(turn), outcome[row]) else { continue };
            let last = turn + 1 == spans.len();
            let advantage =
                if last { outcome } else { of_turn[row].unwrap_or(0.0) + coefficient * outcome };
            let advantage = F::from_f64(advantage);
            if !advantage.is_finite() {
                return Err(OptimError::Overflow { what: "advantages" });
            }
            out[span.clone()].fill(advantage);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, proptest};

    use super::{TurnBatch, TurnGroupBatch, turn_gae, turn_group_advantages};
    use crate::advantage::gae::{GaeBatch, GaeConfig, Lambda, gae};
    use crate::advantage::group::{Estimator, GroupConfig};
    use crate::error::OptimError;
    use crate::kernel::rows::RowMask;
    use crate::testing::assert_close;

    proptest! {
        /// A dialogue whose turns have one token each is a sequence of tokens.
        #[test]
        fn turns_of_one_token_equal_gae_on_tokens(
            rewards in prop::collection::vec(-2.0..2.0_f64, 6), values in prop::collection::vec(-2.0..2.0_f64, 6),
            gamma in 0.5..1.0_f64, lambda in 0.0..1.0_f64, decoupled in prop::bool::ANY, after in -1.0..1.0_f64,
        ) {
            let value_lambda = decoupled.then_some(0.7);
            let config = GaeConfig { gamma, lambda: Lambda::Constant(lambda), value_lambda };
            let alternating = [1, 0, 1, 0, 1, 0];
            let mask = RowMask::bytes(&alternating, 1, 6).unwrap();
            let after = [after];
            let (mut by_turn, mut turn_returns) = ([9.0; 6], [9.0; 6]);
            let batch = TurnBatch { mask, rewards: &rewards, values: &values, bootstrap: Some(&after) };
            turn_gae(&config, &batch, &mut by_turn, &mut turn_returns).unwrap();
            let (mut by_token, mut returns) = ([9.0; 6], [9.0; 6]);
            let batch = GaeBatch::new(mask, &rewards, &values).with_bootstrap(&after);
            gae(&config, &batch, &mut by_token, &mut returns).unwrap();
            assert_close(&by_turn, &by_token, 1e-12);
            assert_close(&turn_returns, &returns, 1e-12);
        }
    }

    #[test]
    fn tokens_of_a_turn_share_its_advantage_and_discounts_are_per_turn() {
        let bytes = [1, 1, 0, 1, 1, 1, 0];
        let mask = RowMask::bytes(&bytes, 1, 7).unwrap();
        let rewards = [0.5, 0.5, f64::NAN, 0.0, 1.0, 1.0, f64::NAN];
        let values = [0.25, 7.0, f64::NAN, 0.5, 8.0, 9.0, f64::NAN];
        let config = GaeConfig { gamma: 0.5, lambda: Lambda::Constant(0.5), value_lambda: None };
        let (mut advantages, mut returns) = ([9.0; 7], [9.0; 7]);
        let batch = TurnBatch { mask, rewards: &rewards, values: &values, bootstrap: None };
        turn_gae(&config, &batch, &mut advantages, &mut returns).unwrap();
        // Last turn: 2 - 0.5 = 1.5. First: 1 + 0.5 * 0.5 - 0.25 = 1, plus 0.25 * 1.5.
        assert_close(&advantages, &[1.375, 1.375, 0.0, 1.5, 1.5, 1.5, 0.0], 1e-15);
        assert_close(&returns, &[1.625, 1.625, 0.0, 2.0, 2.0, 2.0, 0.0], 1e-15);
        let nan = [0.0, f64::NAN, 0.0, 0.0, 0.0, 0.0, 0.0];
        let spoilt = TurnBatch { values: &nan, ..batch };
        let error = turn_gae(&config, &spoilt, &mut advantages, &mut returns).unwrap_err();
        assert_eq!(error, OptimError::NonFinite { what: "values", row: 0, token: 1 });
    }

    #[test]
    fn turns_are_compared_with_the_same_turn_of_siblings() {
        let bytes = [1, 0, 1, 1, 0, 1, 1, 0, 0, 1, 0, 1];
        let mask = RowMask::bytes(&bytes, 4, 3).unwrap();
        let turn_rewards = [1.0, 0.0, 0.0, 3.0, 0.0, 0.0, 50.0, 0.0, 0.0, 9.0, 0.0, 0.0];
        let outcomes = [0.0, 1.0, 2.0, f64::NAN];
        let config = GroupConfig { estimator: Estimator::DrGrpo, ..GroupConfig::default() };
        let batch = TurnGroupBatch {
            mask,
            turn_rewards: &turn_rewards,
            outcomes: &outcomes,
            groups: &[0; 4],
        };
        let mut out = [9.0; 12];
        turn_group_advantages(&config, 0.5, &batch, &mut out).unwrap();
        // The third rollout has one turn, so it is its last; the fourth has no outcome.
        let want = [-1.0 - 0.5, 0.0, -1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert_close(&out, &want, 1e-15);
    }
}
