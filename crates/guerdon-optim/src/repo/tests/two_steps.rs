//! Estimating once and improving many times, beside whole steps; and saved state.

use proptest::prelude::{ProptestConfig, prop, proptest};

use super::{Inputs, LENS, ROWS, WIDTH, every_method, noise};
use crate::error::OptimError;
use crate::kernel::rows::RowMask;
use crate::loss::aggregate::Normaliser;
use crate::loss::policy::{ClipRange, PolicyConfig, Surrogate};
use crate::monitors::SourceRewards;
use crate::repo::{AdvantageMethod, Estimate, Minibatch, Repo, RepoBatch, RepoConfig, RepoState};
use crate::reward::kl_control::KlController;
use crate::testing::assert_close;

/// The whole batch as one minibatch.
fn all<'a>(
    inputs: &'a Inputs,
    mask: RowMask<'a>,
    estimate: &'a Estimate<f64>,
) -> Minibatch<'a, f64> {
    let mask = estimate.mask(mask).unwrap();
    Minibatch::new(mask, &inputs.logp, &inputs.old, &estimate.advantages)
        .with_critic(&inputs.values, &inputs.old_values, &estimate.returns)
        .with_reference(&inputs.reference)
        .with_entropy(&inputs.entropy)
}

fn equals_a_step(inputs: &Inputs, mask: RowMask<'_>) {
    let rows = inputs.rewards.len();
    let parts = (noise(8, rows), noise(9, rows), noise(10, rows));
    let parts = SourceRewards { rm: &parts.0, judge: &parts.1, rules: &parts.2 };
    let batch = inputs.masked(mask).with_parts(parts);
    for config in every_method() {
        let config = RepoConfig { entropy_coefficient: 0.1, ..config };
        let (mut whole, mut halves) = (Repo::new(config).unwrap(), Repo::new(config).unwrap());
        // Twice, so that the state of the first update enters the second.
        for _ in 0..2 {
            let estimate = halves.estimate(&batch).unwrap();
            let step = whole.step(&batch).unwrap();
            let improved = halves.improve(&all(inputs, mask, &estimate)).unwrap();
            assert_eq!(
                (step.advantages, step.returns),
                (&estimate.advantages[..], &estimate.returns[..])
            );
            assert_eq!(
                (step.dlogp, step.dvalue, step.dentropy),
                (improved.dlogp, improved.dvalue, improved.dentropy),
                "{config:?}"
            );
            assert_eq!(step.loss.to_bits(), improved.loss.to_bits());
            let mut named: Vec<_> =
                estimate.metrics.named().chain(improved.metrics.named()).collect();
            let mut wanted: Vec<_> = step.metrics.named().collect();
            named.sort_by_key(|(name, _)| *name);
            wanted.sort_by_key(|(name, _)| *name);
            assert_eq!(named, wanted);
            assert_eq!(whole.state(), halves.state());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn an_estimate_and_one_pass_equal_a_step_bit_for_bit(
        flags in prop::collection::vec(prop::bool::ANY, ROWS * WIDTH), unscored in 0..2 * ROWS,
    ) {
        let mut inputs = Inputs::new();
        if let Some(reward) = inputs.rewards.get_mut(unscored) {
            *reward = f64::NAN;
        }
        let flags: Vec<u8> = flags.into_iter().map(u8::from).collect();
        equals_a_step(&inputs, RowMask::bytes(&flags, ROWS, WIDTH).unwrap());
    }
}

#[test]
fn an_estimate_and_one_pass_equal_a_step_over_many_blocks() {
    let inputs = Inputs::of(super::ROWS_OF_BLOCKS, super::WIDTH_OF_BLOCKS);
    equals_a_step(&inputs, RowMask::full(super::ROWS_OF_BLOCKS, super::WIDTH_OF_BLOCKS));
}

/// The state moves once a batch, however often its minibatches are used; verl does the same.
#[test]
fn passes_over_a_batch_leave_beta_and_trends_alone() {
    let inputs = Inputs::new();
    let beta = KlController::adaptive(0.1, 0.01, 10.0).unwrap();
    let mut repo = Repo::new(RepoConfig { beta, ..RepoConfig::paper() }).unwrap();
    let mask = RowMask::lens(&LENS, WIDTH).unwrap();
    let estimate = repo.estimate(&inputs.batch()).unwrap();
    let state = repo.state();
    assert!((state.beta - 0.1).abs() > 1e-6);
    assert_eq!(state.monitor.updates, 1);
    for _pass in 0..4 {
        repo.improve(&all(&inputs, mask, &estimate)).unwrap();
        assert_eq!(repo.state(), state);
    }
}

/// Whitening and group statistics are those of the batch, so gradients of minibatches with its
/// divisors add up to those of a step on all of it.
#[test]
fn minibatches_with_the_divisors_of_the_batch_add_up_to_a_step() {
    let inputs = Inputs::new();
    let parts = SourceRewards { rm: &inputs.rewards, ..SourceRewards::default() };
    for config in every_method() {
        let mut repo = Repo::new(config).unwrap();
        let batch = inputs.batch().with_parts(parts);
        let whole = repo.step(&batch).unwrap();
        let (loss, dlogp, dvalue) = (whole.loss, whole.dlogp.to_vec(), whole.dvalue.to_vec());
        let mut repo = Repo::new(config).unwrap();
        let estimate = repo.estimate(&batch).unwrap();
        let (mut losses, mut slopes, mut value_slopes) = (0.0, Vec::new(), Vec::new());
        for rows in [0..1, 1..3, 3..4] {
            let at = rows.start * WIDTH..rows.end * WIDTH;
            let mask = RowMask::lens(&LENS[rows.clone()], WIDTH).unwrap();
            let advantages = &estimate.advantages[at.clone()];
            let part = Minibatch::new(
                mask.without(&estimate.dropped[rows]).unwrap(),
                &inputs.logp[at.clone()],
                &inputs.old[at.clone()],
                advantages,
            )
            .with_reference(&inputs.reference[at.clone()])
            .with_critic(
                &inputs.values[at.clone()],
                &inputs.old_values[at.clone()],
                &estimate.returns[at],
            )
            .with_normaliser(estimate.normaliser);
            let improved = repo.improve(&part).unwrap();
            losses += improved.loss;
            slopes.extend_from_slice(improved.dlogp);
            value_slopes.extend_from_slice(improved.dvalue);
        }
        assert_close(&[losses], &[loss], 1e-14);
        assert_close(&slopes, &dlogp, 1e-15);
        assert_close(&value_slopes, &dvalue, 1e-15);
    }
}

#[test]
fn precomputed_advantages_are_used_as_they_are() {
    let inputs = Inputs::new();
    let mask = RowMask::lens(&LENS, WIDTH).unwrap();
    let advantages = noise(11, ROWS * WIDTH);
    let mut repo = Repo::<f64>::new(RepoConfig::dapo()).unwrap();
    let given = Minibatch::new(mask, &inputs.old, &inputs.old, &advantages);
    let improved = repo.improve(&given).unwrap();
    let tokens = Normaliser::of(&mask).tokens;
    for slot in (0..ROWS).flat_map(|row| mask.spans(row).flatten()) {
        assert_close(&[improved.dlogp[slot]], &[-advantages[slot] / tokens], 1e-15);
    }
}

#[test]
fn invalid_minibatches_are_refused_by_name() {
    let inputs = Inputs::new();
    let mask = RowMask::lens(&LENS, WIDTH).unwrap();
    let refused = |config: RepoConfig, minibatch: &Minibatch<'_, f64>| match Repo::new(config)
        .unwrap()
        .improve(minibatch)
    {
        Err(
            OptimError::Missing { what, .. }
            | OptimError::Shape { what, .. }
            | OptimError::NonFinite { what, .. },
        ) => what,
        other => panic!("{other:?}"),
    };
    let plain = Minibatch::new(mask, &inputs.logp, &inputs.old, &inputs.values);
    assert_eq!(refused(RepoConfig::grpo(), &plain), "reference");
    let bonus = RepoConfig { entropy_coefficient: 0.1, ..RepoConfig::paper() };
    assert_eq!(refused(bonus, &plain), "entropy");
    let short = &inputs.values[1..];
    let wrong = Minibatch::new(mask, &inputs.logp, &inputs.old, short);
    assert_eq!(refused(RepoConfig::paper(), &wrong), "advantages");
    let wrong = plain.with_critic(&inputs.values, &inputs.old_values, short);
    assert_eq!(refused(RepoConfig::paper(), &wrong), "returns");
    let mut spoilt = inputs.values.clone();
    spoilt[WIDTH] = f64::NAN;
    let wrong = Minibatch::new(mask, &inputs.logp, &inputs.old, &spoilt);
    assert_eq!(refused(RepoConfig::paper(), &wrong), "advantages");
}

#[test]
fn settings_out_of_range_are_refused_at_the_start() {
    let clip = ClipRange { low: 2.0, high: 0.2 };
    let policy =
        PolicyConfig { surrogate: Surrogate::Ppo { clip, dual: None }, ..PolicyConfig::default() };
    let error = Repo::<f64>::new(RepoConfig { policy, ..RepoConfig::paper() }).unwrap_err();
    assert_eq!(error.to_string(), "clip.low is 2, but must be within 0..=1");
    let gdpo = AdvantageMethod::Gdpo { group: Default::default(), weights: [1.0; 3] };
    let error =
        Repo::<f64>::new(RepoConfig { advantage: gdpo, ..RepoConfig::paper() }).unwrap_err();
    assert!(error.to_string().starts_with("beta is 0.05, but must be 0 with gdpo"), "{error}");
}

#[test]
fn a_restored_optimizer_goes_on_as_if_it_had_not_stopped() {
    let inputs = Inputs::new();
    let beta = KlController::adaptive(0.1, 0.01, 10.0).unwrap();
    let config = RepoConfig { beta, ..RepoConfig::paper() };
    let (mut kept, mut rewards) = (Repo::new(config).unwrap(), inputs.rewards.clone());
    let run = |repo: &mut Repo<f64>, rewards: &[f64]| {
        let parts = SourceRewards { rm: rewards, judge: rewards, rules: &[] };
        let batch = RepoBatch { rewards, ..inputs.batch() }.with_parts(parts);
        repo.step(&batch).unwrap().metrics
    };
    for _ in 0..5 {
        run(&mut kept, &rewards);
        rewards.iter_mut().for_each(|reward| *reward += 1.0);
    }
    let saved = kept.state();
    let mut resumed = Repo::new(config).unwrap();
    resumed.restore(&saved).unwrap();
    assert_eq!(run(&mut resumed, &rewards), run(&mut kept, &rewards));
    assert_eq!(resumed.state(), kept.state());
    let spoilt = RepoState { beta: -1.0, ..saved };
    assert!(resumed.restore(&spoilt).is_err());
    assert_eq!(resumed.state(), kept.state());
}
