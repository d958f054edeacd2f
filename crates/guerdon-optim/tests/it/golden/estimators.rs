//! KL, token rewards, whitening and every advantage estimator.

use guerdon_optim::{
    Estimator, Float, GaeBatch, GaeConfig, GroupConfig, KlBatch, KlConfig, KlEstimator, KlGradient,
    KlRewardConfig, Lambda, OtbBatch, OtbConfig, RewardPart, TokenAlignment, WhitenConfig,
    advantages_with, gae, gdpo, kl_penalty, opo, optimal_token_baseline, remax, returns_to_go,
    spread, token_rewards, whiten,
};

use crate::golden::case::{Case, all};
use crate::golden::{COUNT, EXACT};

fn kl_agrees<F: Float>(case: &Case) {
    let (logp, reference, old) =
        (case.input::<F>("logp"), case.input::<F>("ref"), case.input::<F>("old"));
    let formula = KlConfig::default();
    let straight = KlConfig { gradient: KlGradient::StraightThrough, ..formula };
    let unbiased = KlConfig { gradient: KlGradient::Unbiased, ..formula };
    let ops = [
        ("kl_k1", KlEstimator::K1, formula),
        ("kl_k2", KlEstimator::K2, formula),
        ("kl_k3", KlEstimator::K3, formula),
        ("kl_abs", KlEstimator::Abs, formula),
        ("kl_k1+", KlEstimator::K1, straight),
        ("kl_k3+", KlEstimator::K3, straight),
        ("openrlhf_kl_unbiased_k1", KlEstimator::K1, unbiased),
        ("openrlhf_kl_unbiased_k2", KlEstimator::K2, unbiased),
        ("openrlhf_kl_unbiased_k3", KlEstimator::K3, unbiased),
    ];
    for (op, estimator, config) in ops {
        // OpenRLHF always computes in f32, and bounds every estimator, not only k3.
        let theirs = op.starts_with("openrlhf");
        if theirs && (case.name == "extreme_ratio" || size_of::<F>() == 4) {
            continue;
        }
        let (mut kl, mut slope) = (case.zeros::<F>(), case.zeros::<F>());
        let batch = KlBatch::new(case.mask(), &logp, &reference).with_old_logp(&old);
        kl_penalty(&KlConfig { estimator, ..config }, &batch, &mut kl, &mut slope).unwrap();
        let rtol = if theirs { 1e-5 } else { EXACT };
        case.expect(&kl, op, "out", rtol);
        case.expect(&slope, op, "grad", rtol);
    }
}

#[test]
fn kl_estimates_and_their_gradients_agree() {
    all().iter().for_each(|case| {
        kl_agrees::<f64>(case);
        kl_agrees::<f32>(case);
    });
}

pub(crate) fn rewards<F: Float>(case: &Case) -> Vec<F> {
    let (old, reference, scores) =
        (case.input::<F>("old"), case.input("ref"), case.input("scores"));
    let mut out = case.zeros();
    let batch = KlBatch::new(case.mask(), &old, &reference);
    let report = token_rewards(&KlRewardConfig::default(), &batch, &scores, &mut out).unwrap();
    // verl averages over all rows, including empty ones.
    if case.name != "masked_rows" && case.name != "one_valid_token" {
        case.expect(&[F::from_f64(report.row_mean)], "token_rewards_k1", "seq_kl", COUNT);
    }
    out
}

#[test]
fn token_rewards_and_the_kl_of_the_controller_agree() {
    let mut compared = 0;
    for case in all() {
        compared +=
            usize::from(case.expect(&rewards::<f64>(&case), "token_rewards_k1", "out", EXACT));
        compared +=
            usize::from(case.expect(&rewards::<f32>(&case), "token_rewards_k1", "out", EXACT));
    }
    assert_eq!(compared, 18);
}

fn whitening_agrees<F: Float>(case: &Case) {
    let (mut centred, mut kept) = (rewards::<F>(case), rewards::<F>(case));
    let config = WhitenConfig::default();
    let before = whiten(&config, &case.mask(), &mut centred).unwrap();
    whiten(&WhitenConfig { centre: false, ..config }, &case.mask(), &mut kept).unwrap();
    case.expect(&centred, "whiten", "out", COUNT);
    case.expect(&kept, "whiten", "out_noshift", COUNT);
    case.expect(&[F::from_f64(before.mean)], "whiten", "mean", COUNT);
    case.expect(&[F::from_f64(before.variance)], "whiten", "var", COUNT);
}

#[test]
fn whitening_agrees_if_verl_can_whiten() {
    all().iter().for_each(|case| {
        whitening_agrees::<f64>(case);
        whitening_agrees::<f32>(case);
    });
}

fn gae_agrees<F: Float>(case: &Case) {
    let (rewards, values) = (rewards::<F>(case), case.input::<F>("values"));
    let settings = [
        ("gae_g1.0_l1.0", 1.0, 1.0),
        ("gae_g1.0_l0.95", 1.0, 0.95),
        ("gae_g0.99_l0.95", 0.99, 0.95),
    ];
    for (op, gamma, lambda) in settings {
        let (mut advantages, mut returns) = (case.zeros::<F>(), case.zeros::<F>());
        let config = GaeConfig { gamma, lambda: Lambda::Constant(lambda), value_lambda: None };
        gae(&config, &GaeBatch::new(case.mask(), &rewards, &values), &mut advantages, &mut returns)
            .unwrap();
        case.expect(&advantages, op, "adv_raw", EXACT);
        case.expect(&returns, op, "ret", EXACT);
        // OpenRLHF treats the values and rewards of a gap as 0 instead of skipping it.
        if case.name != "interior_mask" {
            case.expect(&advantages, &format!("openrlhf_{op}"), "adv_raw", EXACT);
            case.expect(&returns, &format!("openrlhf_{op}"), "ret", EXACT);
        }
        whiten(&WhitenConfig::default(), &case.mask(), &mut advantages).unwrap();
        case.expect(&advantages, op, "adv_white", COUNT);
    }
}

#[test]
fn gae_agrees_with_and_without_interior_gaps() {
    all().iter().for_each(|case| {
        gae_agrees::<f64>(case);
        gae_agrees::<f32>(case);
    });
}

/// verl keeps the raw score of a group of one and counts a row without tokens as a sibling with
/// reward 0.
fn differs_intentionally(case: &Case) -> bool {
    ["singleton_groups", "one_valid_token", "masked_rows"].contains(&case.name)
}

fn groups_agree<F: Float>(case: &Case) {
    let (scores, groups) = (case.scored("scores"), case.groups());
    let lens: Vec<usize> = (0..case.rows).map(|row| case.mask().count(row)).collect();
    let per_row = |estimator| {
        advantages_with(&GroupConfig { estimator, ..GroupConfig::default() }, &scores, &groups)
            .unwrap()
    };
    let (first, second) = (case.scored("comp1"), case.scored("comp2"));
    let parts = [(1.0, &scores), (0.5, &first), (2.0, &second)]
        .map(|(weight, rewards)| RewardPart { weight, rewards });
    let ops = [
        ("grpo", per_row(Estimator::Grpo), false),
        ("grpo_vectorized", per_row(Estimator::Grpo), false),
        ("grpo_nostd", per_row(Estimator::DrGrpo), false),
        ("rloo", per_row(Estimator::Rloo), false),
        ("rloo_vectorized", per_row(Estimator::Rloo), false),
        ("grpo_passk", per_row(Estimator::PassAtK), false),
        ("gpg", per_row(Estimator::Gpg), false),
        ("opo", opo(&scores, &lens, &groups).unwrap(), false),
        ("rfpp_baseline", per_row(Estimator::DrGrpo), true),
        ("gdpo_w1_0.5_2", gdpo(&GroupConfig::default(), &parts, &groups).unwrap(), true),
    ];
    for (op, advantages, whitened) in ops {
        let mut out = case.zeros::<F>();
        spread(&case.mask(), &advantages, &mut out).unwrap();
        if case.name == "singleton_groups" {
            assert_eq!(out, case.zeros::<F>(), "{op}");
        }
        if whitened {
            whiten(&WhitenConfig::default(), &case.mask(), &mut out).unwrap();
        }
        if !differs_intentionally(case) {
            // `grpo_vectorized` always computes in f32.
            let rtol = if op.ends_with("vectorized") { 1e-6 } else { COUNT };
            case.expect(&out, op, "out", rtol);
        }
    }
}

#[test]
fn group_estimators_agree_unless_a_rollout_has_no_sibling() {
    all().iter().for_each(|case| {
        groups_agree::<f64>(case);
        groups_agree::<f32>(case);
    });
}

fn returns_agree<F: Float>(case: &Case) {
    let (rewards, baselines) = (rewards::<F>(case), case.input::<F>("baseline"));
    let (mut returns, mut advantages) = (case.zeros::<F>(), case.zeros::<F>());
    returns_to_go(0.99, &case.mask(), &rewards, &mut returns).unwrap();
    case.expect(&returns, "rfpp_g0.99", "ret", EXACT);
    whiten(&WhitenConfig::default(), &case.mask(), &mut returns).unwrap();
    case.expect(&returns, "rfpp_g0.99", "adv", COUNT);
    returns_to_go(1.0, &case.mask(), &rewards, &mut returns).unwrap();
    case.expect(&returns, "remax", "ret", EXACT);
    remax(&case.mask(), &rewards, &baselines, &mut advantages).unwrap();
    case.expect(&advantages, "remax", "adv", EXACT);
}

#[test]
fn reinforce_plus_plus_and_remax_agree() {
    all().iter().for_each(|case| {
        returns_agree::<f64>(case);
        returns_agree::<f32>(case);
    });
}

fn otb_agrees<F: Float>(case: &Case) {
    let (old, squares) = (case.input::<F>("old"), case.input("spi2"));
    let mut rewards = case.zeros::<F>();
    let scores = KlBatch::new(case.mask(), &old, &old);
    token_rewards(&KlRewardConfig::default(), &scores, &case.input("scores"), &mut rewards)
        .unwrap();
    let groups: Vec<usize> = case.groups().into_iter().map(|group| group as usize).collect();
    for (op, alignment) in [("otb", TokenAlignment::Slots), ("tir_otb", TokenAlignment::Tokens)] {
        let (mut advantages, mut returns) = (case.zeros::<F>(), case.zeros::<F>());
        let batch = OtbBatch {
            mask: case.mask(),
            rewards: &rewards,
            old_logp: &old,
            sum_pi_squared: &squares,
            correction: None,
            groups: &groups,
        };
        let config = OtbConfig { alignment, ..OtbConfig::default() };
        optimal_token_baseline(&config, &batch, &mut advantages, &mut returns).unwrap();
        case.expect(&advantages, op, "out", COUNT);
    }
}

/// verl gives a rollout without siblings its raw returns.
#[test]
fn the_optimal_token_baseline_agrees_unless_a_rollout_has_no_sibling() {
    let lone = ["singleton_groups", "one_valid_token", "masked_rows"];
    for case in all().iter().filter(|case| !lone.contains(&case.name)) {
        otb_agrees::<f64>(case);
        otb_agrees::<f32>(case);
    }
}
