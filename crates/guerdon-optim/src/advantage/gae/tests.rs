//! GAE against its definition: gaps, padding, truncation and lambdas.

use proptest::prelude::{prop, proptest};

use super::{GaeBatch, GaeConfig, Lambda, gae};
use crate::error::OptimError;
use crate::kernel::rows::RowMask;
use crate::testing::assert_close;

fn config(gamma: f64, lambda: f64) -> GaeConfig {
    GaeConfig { gamma, lambda: Lambda::Constant(lambda), value_lambda: None }
}

fn run(config: GaeConfig, batch: &GaeBatch<'_, f64>) -> (Vec<f64>, Vec<f64>) {
    let mut out = (vec![9.0; batch.rewards.len()], vec![9.0; batch.rewards.len()]);
    gae(&config, batch, &mut out.0, &mut out.1).unwrap();
    out
}

/// alibaba/ROLL#447: the critic's value on a masked token bootstrapped a valid advantage, giving
/// [5.7, 6.0].
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
fn lambda_one_returns_the_discounted_reward_to_go_for_any_critic() {
    let mask = RowMask::full(1, 4);
    let batch = GaeBatch::new(mask, &[1.0, 0.0, 2.0, -1.0], &[0.3, -4.0, 7.0, 0.1]);
    let (_, returns) = run(config(0.5, 1.0), &batch);
    assert_close(&returns, &[1.375, 0.75, 1.5, -1.0], 1e-14);
}

/// verl#1960, #1758, #1850, #50: values shifted by one token, or bootstrapped from the slot after
/// the last.
#[test]
fn a_value_is_of_the_state_before_its_token() {
    // A perfect critic (V_t is the reward still to come) gives advantages of 0.
    let mask = RowMask::lens(&[3], 4).unwrap();
    let batch = GaeBatch::new(mask, &[1.0, 2.0, 4.0, f64::NAN], &[7.0, 6.0, 4.0, 100.0]);
    let (advantages, returns) = run(config(1.0, 0.5), &batch);
    assert_close(&advantages, &[0.0; 4], 0.0);
    assert_close(&returns, &[7.0, 6.0, 4.0, 0.0], 0.0);
}

/// The definition, one token at a time.
fn scalar_recursion(gamma: f64, lambda: f64, rewards: &[f64], values: &[f64]) -> Vec<f64> {
    let (mut carry, mut next) = (0.0, 0.0);
    let mut out = vec![0.0; rewards.len()];
    for at in (0..rewards.len()).rev() {
        carry = rewards[at] + gamma * next - values[at] + gamma * lambda * carry;
        next = values[at];
        out[at] = carry;
    }
    out
}

/// Covers lengths and gaps at the borders of the walk's steps of 8, 64 and 512 tokens.
#[test]
fn matches_the_scalar_recursion_for_all_lengths_and_gaps() {
    let number = |seed: usize| ((seed * 7919) % 1009) as f64 / 504.5 - 1.0;
    let config = GaeConfig { value_lambda: Some(0.5), ..config(0.99, 0.9) };
    for len in [1, 7, 8, 9, 63, 64, 65, 72, 128, 511, 512, 513, 520, 576, 1024, 1030] {
        let rewards: Vec<f64> = (0..len).map(|at| number(at + len)).collect();
        let values: Vec<f64> = (0..len).map(|at| number(3 * at + 1)).collect();
        let want = scalar_recursion(0.99, 0.9, &rewards, &values);
        let returns = scalar_recursion(0.99, 0.5, &rewards, &values);
        let returns: Vec<f64> =
            returns.iter().zip(&values).map(|(gain, value)| gain + value).collect();
        for gap in [0, 1, 8, 64, 512] {
            // A gap of two slots after `gap` tokens, and one slot of padding at the end.
            let place = |at: usize| if at < gap.min(len) { at } else { at + 2 };
            let (mut bytes, mut wide) =
                (vec![0; len + 3], [vec![f64::NAN; len + 3], vec![f64::NAN; len + 3]]);
            for at in 0..len {
                bytes[place(at)] = 1;
                (wide[0][place(at)], wide[1][place(at)]) = (rewards[at], values[at]);
            }
            let mask = RowMask::bytes(&bytes, 1, len + 3).unwrap();
            let got = run(config, &GaeBatch::new(mask, &wide[0], &wide[1]));
            let pick = |xs: &[f64]| (0..len).map(|at| xs[place(at)]).collect::<Vec<_>>();
            assert_close(&pick(&got.0), &want, 1e-12);
            assert_close(&pick(&got.1), &returns, 1e-12);
            for got in [&got.0, &got.1] {
                let padding: f64 =
                    (0..len + 3).filter(|&at| bytes[at] == 0).map(|at| got[at].abs()).sum();
                assert_close(&[padding], &[0.0], 0.0);
            }
            // A bootstrap value equals a reward one step after the last token.
            let got = run(config, &GaeBatch::new(mask, &wide[0], &wide[1]).with_bootstrap(&[0.7]));
            let mut rewarded = rewards.clone();
            rewarded[len - 1] += 0.99 * 0.7;
            assert_close(&pick(&got.0), &scalar_recursion(0.99, 0.9, &rewarded, &values), 1e-12);
        }
    }
}

#[test]
fn returns_use_value_lambda_if_it_is_set() {
    let (rewards, values) = ([0.5, -1.0, 2.0], [0.3, 0.1, -0.4]);
    let config = GaeConfig { value_lambda: Some(1.0), ..config(0.9, 0.5) };
    let (advantages, returns) = run(config, &GaeBatch::new(RowMask::full(1, 3), &rewards, &values));
    assert_close(&advantages, &scalar_recursion(0.9, 0.5, &rewards, &values), 1e-15);
    let monte_carlo = [0.5 - 0.9 + 0.81 * 2.0, -1.0 + 0.9 * 2.0, 2.0];
    assert_close(&returns, &monte_carlo, 1e-15);
}

#[test]
fn a_length_adaptive_lambda_depends_on_the_valid_tokens_of_its_row() {
    let bytes = [1, 0, 1, 1, 1, 1, 0, 0];
    let mask = RowMask::bytes(&bytes, 2, 4).unwrap();
    let (rewards, values) = ([0.0, 9.0, 0.0, 1.0, 0.0, 2.0, 9.0, 9.0], [0.5; 8]);
    let config =
        GaeConfig { lambda: Lambda::LengthAdaptive { alpha: 0.5 }, ..GaeConfig::default() };
    let (adaptive, _) = run(config, &GaeBatch::new(mask, &rewards, &values));
    // 3 tokens give 1 - 1 / 1.5, 2 tokens give 0.
    let third = scalar_recursion(1.0, 1.0 / 3.0, &[0.0, 0.0, 1.0], &[0.5; 3]);
    assert_close(&adaptive, &[third[0], 0.0, third[1], third[2], 0.0, 1.5, 0.0, 0.0], 1e-14);
    let batch = GaeBatch::new(mask, &rewards, &values).with_lambdas(&[1.0 / 3.0, 0.0]);
    assert_close(&run(GaeConfig::default(), &batch).0, &adaptive, 1e-14);
}

#[test]
fn nan_is_reported_in_a_valid_slot_and_ignored_in_padding() {
    let (mut a, mut r) = ([0.0; 4], [0.0; 4]);
    let mask = RowMask::bytes(&[1, 0, 1, 1], 2, 2).unwrap();
    let values = [0.0, f64::NAN, 0.0, f64::INFINITY];
    let error =
        gae(&GaeConfig::default(), &GaeBatch::new(mask, &[0.0; 4], &values), &mut a, &mut r);
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
        assert_close(&advantages, &scalar_recursion(gamma, lambda, &rewards, &values), 1e-12);
    }

    #[test]
    fn a_row_with_gaps_equals_the_row_without_them(
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
