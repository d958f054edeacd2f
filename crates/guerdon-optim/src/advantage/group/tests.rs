//! Each estimator against hand-computed groups, its edge cases, and its invariants.

use proptest::prelude::{prop, proptest};

use super::{Estimator, GroupBatch, GroupConfig, advantages, advantages_with, token_advantages};
use crate::error::OptimError;
use crate::kernel::rows::RowMask;
use crate::testing::assert_close;

fn scored(rewards: &[f64]) -> Vec<Option<f64>> {
    rewards.iter().copied().map(Some).collect()
}

fn run(estimator: Estimator, rewards: &[f64], groups: &[usize]) -> Vec<f64> {
    advantages(estimator, &scored(rewards), groups).unwrap().into_iter().flatten().collect()
}

#[test]
fn each_estimator_gives_the_hand_computed_numbers() {
    let (rewards, groups) = ([1.0, 3.0, 2.0, 10.0, 14.0], [0, 0, 0, 7, 7]);
    let std = 8.0_f64.sqrt();
    let batch = (rewards.iter().map(|s| (s - 6.0) * (s - 6.0)).sum::<f64>() / 4.0).sqrt();
    assert_close(&run(Estimator::DrGrpo, &rewards, &groups), &[-1.0, 1.0, 0.0, -2.0, 2.0], 1e-15);
    assert_close(&run(Estimator::Rloo, &rewards, &groups), &[-1.5, 1.5, 0.0, -4.0, 4.0], 1e-15);
    let want = [-1.0, 1.0, 0.0, -2.0 / std, 2.0 / std];
    assert_close(&run(Estimator::Grpo, &rewards, &groups), &want, 2e-6);
    let want = [-1.0 / batch, 1.0 / batch, 0.0, -2.0 / batch, 2.0 / batch];
    assert_close(&run(Estimator::BatchStd, &rewards, &groups), &want, 1e-6);
}

#[test]
fn pass_at_k_pays_the_best_for_its_lead_and_gpg_makes_up_for_rewards_of_zero() {
    let (rewards, groups) = ([1.0, 0.0, 3.0, 0.0, 0.0], [0, 0, 0, 7, 7]);
    let config = GroupConfig { estimator: Estimator::PassAtK, eps: 0.0 };
    let got: Vec<f64> = advantages_with(&config, &scored(&rewards), &groups)
        .unwrap()
        .into_iter()
        .flatten()
        .collect();
    assert_close(&got, &[0.0, 0.0, 2.0 / (7.0_f64 / 3.0).sqrt(), 0.0, 0.0], 1e-12);
    let (mean, alpha) = (4.0 / 3.0, 2.5);
    let want = [alpha * (1.0 - mean), -alpha * mean, alpha * (3.0 - mean), 0.0, 0.0];
    assert_close(&run(Estimator::Gpg, &rewards, &groups), &want, 1e-12);
}

#[test]
fn needs_whole_batch_is_set_for_estimators_that_other_groups_change() {
    let (alone, with_others) = ([1.0, 4.0], [1.0, 4.0, 0.0, 9.0]);
    for &estimator in Estimator::ALL {
        let changed =
            run(estimator, &alone, &[0, 0]) != run(estimator, &with_others, &[0, 0, 1, 1])[..2];
        assert_eq!(changed, estimator.needs_whole_batch(), "{estimator}");
    }
}

#[test]
fn an_abstained_rollout_leaves_its_group_and_gets_no_advantage() {
    for &estimator in Estimator::ALL {
        let with = advantages(estimator, &[Some(1.0), None, Some(3.0)], &["p", "p", "p"]).unwrap();
        let without = advantages(estimator, &[Some(1.0), Some(3.0)], &["p", "p"]).unwrap();
        assert_eq!(with, [without[0], None, without[1]]);
    }
}

#[test]
fn a_rollout_without_scored_siblings_gets_zero() {
    for &estimator in Estimator::ALL {
        let got = advantages(estimator, &[Some(5.0), None, Some(-3.0)], &[0, 0, 1]).unwrap();
        assert_eq!(got, [Some(0.0), None, Some(0.0)]);
    }
}

/// TRL#3857, TRL#5773: no deviation, or one scorable sample, made the whole group NaN.
#[test]
fn equal_rewards_give_exactly_zero_even_without_eps() {
    for &estimator in Estimator::ALL {
        let config = GroupConfig { estimator, eps: 0.0 };
        let got = advantages_with(&config, &[Some(0.95); 7], &[0; 7]).unwrap();
        assert_eq!(got, [Some(0.0); 7]);
    }
}

/// NVIDIA-NeMo/RL#4158: `E[x^2] - mean^2` cancelled and gave -2075 for these rewards.
#[test]
fn nearly_equal_rewards_give_advantages_of_order_one() {
    let rewards = [0.0, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95];
    let got = run(Estimator::Grpo, &rewards, &[0; 8]);
    assert!((got[0] + 7.0 / 8.0_f64.sqrt()).abs() < 1e-5, "{got:?}");
    let shifted: Vec<f64> = rewards.iter().map(|reward| reward + 1e6).collect();
    assert_close(&run(Estimator::Grpo, &shifted, &[0; 8]), &got, 1e-9);
}

/// OpenRLHF#1239: the reward 100 of a row that wrote no token moved its sibling's advantage to
/// -49.5.
#[test]
fn a_row_without_tokens_leaves_its_group() {
    let mask = RowMask::lens(&[0, 2, 1], 2).unwrap();
    let config = GroupConfig { estimator: Estimator::DrGrpo, ..GroupConfig::default() };
    let mut out = [9.0; 6];
    token_advantages(&config, &GroupBatch::new(mask, &[100.0, 1.0, 2.0], &[0; 3]), &mut out)
        .unwrap();
    assert_close(&out, &[0.0, 0.0, -0.5, -0.5, 0.5, 0.0], 1e-15);
    token_advantages(&config, &GroupBatch::new(mask, &[100.0, 1.0, f64::NAN], &[0; 3]), &mut out)
        .unwrap();
    assert_close(&out, &[0.0; 6], 0.0);
}

#[test]
fn a_non_finite_reward_is_refused_with_its_row() {
    let error =
        advantages(Estimator::Grpo, &[Some(0.0), Some(f64::INFINITY)], &[0, 0]).unwrap_err();
    assert_eq!(error, OptimError::NonFinite { what: "rewards", row: 1, token: 0 });
    assert!(matches!(advantages(Estimator::Grpo, &[None], &[0, 1]), Err(OptimError::Shape { .. })));
}

#[test]
fn estimator_names_round_trip_and_an_unknown_name_lists_them() {
    for estimator in Estimator::ALL {
        assert_eq!(estimator.to_string().parse(), Ok(*estimator));
    }
    let error = "ppo".parse::<Estimator>().unwrap_err().to_string();
    assert_eq!(
        error,
        "unknown estimator \"ppo\"; expected one of: grpo, dr_grpo, rloo, batch_std, pass_at_k, gpg"
    );
}

proptest! {
    #[test]
    fn a_shift_of_all_rewards_changes_nothing(
        pairs in prop::collection::vec((-5.0_f64..5.0, 0_usize..4), 1..20),
        shift in -100.0_f64..100.0,
    ) {
        let (rewards, groups): (Vec<f64>, Vec<usize>) = pairs.into_iter().unzip();
        let shifted: Vec<f64> = rewards.iter().map(|reward| reward + shift).collect();
        for &estimator in Estimator::ALL {
            // The shift rounds each reward by 1e-14, which a division by eps would magnify.
            assert_close(&run(estimator, &shifted, &groups), &run(estimator, &rewards, &groups), 1e-6);
        }
    }

    #[test]
    fn the_order_of_rollouts_and_the_names_of_groups_do_not_matter(
        pairs in prop::collection::vec((-5.0_f64..5.0, 0_usize..4), 1..20),
    ) {
        let (rewards, groups): (Vec<f64>, Vec<usize>) = pairs.into_iter().unzip();
        let backwards: Vec<f64> = rewards.iter().rev().copied().collect();
        let renamed: Vec<usize> = groups.iter().rev().map(|group| 1000 - 7 * group).collect();
        for &estimator in Estimator::ALL {
            let mut got = run(estimator, &backwards, &renamed);
            got.reverse();
            assert_close(&got, &run(estimator, &rewards, &groups), 1e-7);
        }
    }

    #[test]
    fn advantages_of_a_group_sum_to_zero(rewards in prop::collection::vec(-5.0_f64..5.0, 2..20)) {
        for &estimator in Estimator::ALL.iter().filter(|&&estimator| estimator != Estimator::PassAtK) {
            let sum: f64 = run(estimator, &rewards, &vec![0; rewards.len()]).iter().sum();
            assert!(sum.abs() < 1e-9, "{estimator}: {sum}");
        }
    }
}
