//! Batches on which the trainers raise or return NaN.

use guerdon_optim::{
    Float, GaeBatch, GaeConfig, OptimError, PolicyBatch, PolicyConfig, Surrogate, ValueBatch,
    ValueConfig, WhitenConfig, gae, policy_loss, value_loss, whiten,
};

use crate::golden::case::{Case, all, named};
use crate::golden::estimators::rewards;
use crate::golden::inputs::Recipe;

#[test]
fn the_generator_reproduces_the_inputs_bit_for_bit() {
    let case = named("basic");
    let recipe = Recipe { seed: 1, rows: 6, width: 9, min_len: 1 };
    assert_eq!((0..6).map(|row| case.mask().count(row)).collect::<Vec<_>>(), recipe.lens());
    assert_eq!(recipe.logp(), case.input::<f32>("logp"));
    assert_eq!(recipe.old(), case.input::<f32>("old"));
    assert_eq!(recipe.reference(), case.input::<f32>("ref"));
    assert_eq!(recipe.values(), case.input::<f32>("values"));
    assert_eq!(recipe.new_values(), case.input::<f32>("vpreds"));
    assert_eq!(recipe.scores(), case.input::<f32>("scores"));
    for (name, seed, rows, width) in [("singleton_groups", 3, 5, 7), ("interior_mask", 6, 4, 8)] {
        let recipe = Recipe { seed, rows, width, min_len: 1 };
        assert_eq!(recipe.scores(), named(name).input::<f32>("scores"));
    }
}

/// Computes rewards, advantages, returns, both gradients and both losses.
fn all_stages<F: Float>(case: &Case) -> (Vec<Vec<F>>, [f64; 2]) {
    let (rewards, values) = (rewards::<F>(case), case.input::<F>("values"));
    let [mut advantages, mut returns, mut dlogp, mut dvalues] = [(); 4].map(|()| case.zeros::<F>());
    gae(
        &GaeConfig::default(),
        &GaeBatch::new(case.mask(), &rewards, &values),
        &mut advantages,
        &mut returns,
    )
    .unwrap();
    whiten(&WhitenConfig::default(), &case.mask(), &mut advantages).unwrap();
    let (logp, old, new) = (case.input("logp"), case.input("old"), case.input("vpreds"));
    let policy = PolicyBatch::new(case.mask(), &logp, &old, &advantages);
    let policy = policy_loss(&PolicyConfig::default(), &policy, &mut dlogp).unwrap();
    let value = ValueBatch::new(case.mask(), &new, &values, &returns);
    let value = value_loss(&ValueConfig::default(), &value, &mut dvalues).unwrap();
    (vec![rewards, advantages, returns, dlogp, dvalues], [policy.loss, value.loss])
}

/// OpenRLHF#1240, verl#6361: `NaN * 0` is NaN.
#[test]
fn nan_in_padding_gives_the_same_results_as_zeros() {
    let (spoilt, clean) = (named("nan_in_padding"), named("nan_in_padding_expected"));
    assert!(spoilt.input::<f64>("values").iter().any(|value| value.is_nan()));
    assert_eq!(all_stages::<f64>(&spoilt), all_stages::<f64>(&clean));
    assert_eq!(all_stages::<f32>(&spoilt), all_stages::<f32>(&clean));
}

/// verl raises or returns NaN here.
#[test]
fn a_batch_of_padding_has_loss_zero_and_no_gradient() {
    let case = named("all_masked");
    let (slices, losses) = all_stages::<f64>(&case);
    assert!(slices.iter().flatten().chain(&losses).all(|x| x.abs() < f64::MIN_POSITIVE));
}

#[test]
fn every_batch_gives_finite_numbers() {
    for case in all() {
        let (slices, losses) = all_stages::<f32>(&case);
        assert!(
            slices.iter().flatten().all(|x| x.is_finite()) && losses.iter().all(|x| x.is_finite())
        );
    }
}

/// A token with probability 0 under both policies: every trainer returns NaN.
#[test]
fn a_log_prob_of_minus_infinity_is_refused_with_its_place_in_every_surrogate() {
    let case = named("neginf_logp");
    let (logp, old) = (case.input::<f64>("logp"), case.input::<f64>("old"));
    let (advantages, mut slope) = (case.zeros::<f64>(), case.zeros::<f64>());
    let surrogates = [Surrogate::default(), Surrogate::Reinforce, Surrogate::Dro { beta: 0.1 }];
    for surrogate in surrogates {
        let config = PolicyConfig { surrogate, ..PolicyConfig::default() };
        let batch = PolicyBatch::new(case.mask(), &logp, &old, &advantages);
        let error = policy_loss(&config, &batch, &mut slope).unwrap_err();
        assert!(matches!(error, OptimError::NonFinite { what: "logp", .. }), "{error}");
    }
}
