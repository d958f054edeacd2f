//! Settings out of range and slices of the wrong length are refused by name.

use guerdon_optim::{
    ClipRange, Estimator, GaeBatch, GaeConfig, GroupConfig, KlBatch, KlConfig, KlRewardConfig,
    Lambda, OptimError, PolicyBatch, PolicyConfig, RowMask, Surrogate, ValueBatch, ValueConfig,
    WhitenConfig, advantages_with, gae, kl_penalty, policy_loss, returns_to_go, token_rewards,
    value_loss, whiten,
};

const ZEROS: [f64; 2] = [0.0; 2];
const NAN: f64 = f64::NAN;
const INFINITE: f64 = f64::INFINITY;

fn mask() -> RowMask<'static> {
    RowMask::full(1, 2)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(field: &str, result: Result<T, OptimError>) {
    match result {
        Err(OptimError::Config { field: named, .. }) => assert_eq!(named, field),
        other => panic!("{field}: {other:?}"),
    }
}

fn policy(surrogate: Surrogate) -> Result<(), OptimError> {
    let batch = PolicyBatch::new(mask(), &ZEROS, &ZEROS, &ZEROS);
    policy_loss(&PolicyConfig { surrogate, ..PolicyConfig::default() }, &batch, &mut [0.0; 2])
        .map(|_| ())
}

#[test]
fn a_surrogate_is_refused_by_the_setting_that_is_wrong() {
    let clip = ClipRange::default();
    let range = |low, high| ClipRange { low, high };
    for build in [
        |clip| Surrogate::Ppo { clip, dual: None },
        |clip| Surrogate::Gspo { clip },
        |clip| Surrogate::GspoToken { clip },
        |clip| Surrogate::DppoTv { clip, max_ratio: 20.0 },
        |clip| Surrogate::DppoKl { clip, max_ratio: 20.0 },
        |clip| Surrogate::ClipCov { clip, share: 0.1, low: 1.0, high: 5.0, seed: 0 },
        |clip| Surrogate::Gmpo { clip },
        |clip| Surrogate::Cispo { clip },
    ] {
        for low in [-0.1, 1.1, NAN] {
            refused("clip.low", policy(build(range(low, 0.2))));
        }
        for high in [-0.1, INFINITE, NAN] {
            refused("clip.high", policy(build(range(0.2, high))));
        }
        for edge in [range(0.0, 0.0), range(1.0, 3.0)] {
            policy(build(edge)).unwrap();
        }
    }
    for c in [1.0, 0.5, INFINITE, NAN] {
        refused("dual", policy(Surrogate::Ppo { clip, dual: Some(c) }));
    }
    for x in [0.0, -1.0, INFINITE, NAN] {
        refused("tau_positive", policy(Surrogate::Sapo { tau_positive: x, tau_negative: 1.0 }));
        refused("tau_negative", policy(Surrogate::Sapo { tau_positive: 1.0, tau_negative: x }));
        refused("beta", policy(Surrogate::Dro { beta: x }));
        refused("cov_share", policy(Surrogate::KlCov { share: x, coefficient: 1.0 }));
        refused("max_ratio", policy(Surrogate::DppoTv { clip, max_ratio: x }));
    }
    refused("kl_coefficient", policy(Surrogate::KlCov { share: 0.1, coefficient: -1.0 }));
    let band = |low, high| Surrogate::ClipCov { clip, share: 0.1, low, high, seed: 0 };
    refused("cov_low", policy(band(NAN, 1.0)));
    refused("cov_high", policy(band(1.0, 1.0)));
}

#[test]
fn group_whitening_and_value_settings_have_their_ranges() {
    for eps in [-1.0, INFINITE, NAN] {
        let config = GroupConfig { estimator: Estimator::Grpo, eps };
        refused("eps", advantages_with(&config, &[Some(1.0)], &[0]));
    }
    for eps in [0.0, -1.0, INFINITE, NAN] {
        let config = WhitenConfig { eps, ..WhitenConfig::default() };
        refused("eps", whiten(&config, &mask(), &mut [0.0; 2]));
    }
    for clip in [0.0, -1.0, NAN] {
        let config = ValueConfig { clip: Some(clip), ..ValueConfig::default() };
        let batch = ValueBatch::new(mask(), &ZEROS, &ZEROS, &ZEROS);
        refused("clip", value_loss(&config, &batch, &mut [0.0; 2]));
    }
}

#[test]
fn what_looks_ahead_has_its_range() {
    let run = |config: GaeConfig| {
        gae(&config, &GaeBatch::new(mask(), &ZEROS, &ZEROS), &mut [0.0; 2], &mut [0.0; 2])
    };
    for x in [-0.1, 1.1, NAN] {
        refused("gamma", run(GaeConfig { gamma: x, ..GaeConfig::default() }));
        refused("lambda", run(GaeConfig { lambda: Lambda::Constant(x), ..GaeConfig::default() }));
        refused("value_lambda", run(GaeConfig { value_lambda: Some(x), ..GaeConfig::default() }));
        refused("gamma", returns_to_go(x, &mask(), &ZEROS, &mut [0.0; 2]));
        let batch = GaeBatch::new(mask(), &ZEROS, &ZEROS);
        let lambdas = [x];
        let batch = batch.with_lambdas(&lambdas);
        refused("lambdas", gae(&GaeConfig::default(), &batch, &mut [0.0; 2], &mut [0.0; 2]));
    }
    for alpha in [0.0, -1.0, INFINITE, NAN] {
        let lambda = Lambda::LengthAdaptive { alpha };
        refused("alpha", run(GaeConfig { lambda, ..GaeConfig::default() }));
    }
}

#[test]
fn the_price_of_kl_and_its_limit_have_their_ranges() {
    let batch = KlBatch::new(mask(), &ZEROS, &ZEROS);
    for beta in [-0.1, INFINITE, NAN] {
        let config = KlRewardConfig { beta, ..KlRewardConfig::default() };
        refused("beta", token_rewards(&config, &batch, &[0.0], &mut [0.0; 2]));
    }
    for k3_limit in [0.0, -1.0, NAN] {
        let kl = KlConfig { k3_limit, ..KlConfig::default() };
        refused("k3_limit", kl_penalty(&kl, &batch, &mut [0.0; 2], &mut [0.0; 2]));
        let config = KlRewardConfig { kl, ..KlRewardConfig::default() };
        refused("k3_limit", token_rewards(&config, &batch, &[0.0], &mut [0.0; 2]));
    }
}

#[test]
fn a_slice_of_the_wrong_length_is_refused_by_name() {
    let (short, config) = ([0.0; 1], KlConfig::default());
    let named = |batch: &KlBatch<'_, f64>, what| {
        let error = kl_penalty(&config, batch, &mut [0.0; 2], &mut [0.0; 2]).unwrap_err();
        assert_eq!(error, OptimError::Shape { what, expected: 2, got: 1 });
    };
    named(&KlBatch::new(mask(), &short, &ZEROS), "logp");
    named(&KlBatch::new(mask(), &ZEROS, &short), "ref_logp");
    named(&KlBatch::new(mask(), &ZEROS, &ZEROS).with_old_logp(&short), "old_logp");
}
