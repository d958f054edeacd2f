//! A whole update against its stages, and its guarantees.

mod two_steps;

use proptest::prelude::{ProptestConfig, prop, proptest};

use super::{AdvantageMethod, CriticConfig, KlLossConfig, Repo, RepoBatch, RepoConfig};
use crate::advantage::gae::{GaeBatch, GaeConfig, gae};
use crate::advantage::group::{Estimator, GroupConfig};
use crate::advantage::otb::OtbConfig;
use crate::advantage::whiten::{WhitenConfig, whiten};
use crate::error::OptimError;
use crate::kernel::rows::RowMask;
use crate::loss::aggregate::Normaliser;
use crate::loss::kl::{KlBatch, KlConfig, KlEstimator};
use crate::loss::policy::{PolicyBatch, PolicyConfig, policy_loss};
use crate::loss::value::{ValueBatch, ValueConfig, value_loss};
use crate::monitors::SourceRewards;
use crate::reward::token_rewards::{KlRewardConfig, token_rewards};
use crate::testing::{assert_close, central_difference};

const ROWS: usize = 4;
const WIDTH: usize = 5;
const SLOTS: usize = ROWS * WIDTH;
const LENS: [usize; ROWS] = [5, 2, 3, 4];
/// With the width below: five rows per block, and no row ends at the end of a chunk.
const ROWS_OF_BLOCKS: usize = 19;
const WIDTH_OF_BLOCKS: usize = 700;

/// Pseudo-random numbers within -1..1.
fn noise(seed: usize, count: usize) -> Vec<f64> {
    (0..count).map(|at| ((at * 37 + seed * 101) as f64 * 12.9898).sin()).collect()
}

struct Inputs {
    logp: Vec<f64>,
    old: Vec<f64>,
    reference: Vec<f64>,
    values: Vec<f64>,
    old_values: Vec<f64>,
    entropy: Vec<f64>,
    squares: Vec<f64>,
    rewards: Vec<f64>,
    groups: Vec<usize>,
}

impl Inputs {
    fn new() -> Self {
        Self::of(ROWS, WIDTH)
    }

    fn of(rows: usize, width: usize) -> Self {
        let slots = rows * width;
        let logp: Vec<f64> = noise(1, slots).iter().map(|x| x - 1.5).collect();
        let near = |seed, scale: f64| {
            logp.iter().zip(noise(seed, slots)).map(|(x, n)| x + scale * n).collect()
        };
        Self {
            old: near(2, 0.3),
            reference: near(3, 0.4),
            values: noise(4, slots),
            old_values: noise(5, slots),
            entropy: noise(6, slots),
            squares: noise(12, slots).iter().map(|x| 0.5 + 0.4 * x).collect(),
            rewards: noise(7, rows),
            groups: (0..rows).map(|row| row / 2).collect(),
            logp,
        }
    }

    fn batch(&self) -> RepoBatch<'_, f64> {
        self.masked(RowMask::lens(&LENS, WIDTH).unwrap())
    }

    fn masked<'a>(&'a self, mask: RowMask<'a>) -> RepoBatch<'a, f64> {
        RepoBatch::new(mask, &self.logp, &self.old, &self.rewards)
            .with_reference(&self.reference)
            .with_critic(&self.values, &self.old_values)
            .with_groups(&self.groups)
            .with_baselines(&self.rewards)
            .with_sum_pi_squared(&self.squares)
            .with_turn_rewards(&self.old_values)
            .with_entropy(&self.entropy)
    }
}

#[test]
fn a_step_equals_its_stages_run_in_order() {
    agrees_with_its_stages(RowMask::lens(&LENS, WIDTH).unwrap(), &Inputs::new());
}

/// A step runs several stages on each block, while the functions of the stages run on the whole
/// batch.
#[test]
fn a_step_over_many_blocks_equals_its_stages_bit_for_bit() {
    let inputs = Inputs::of(ROWS_OF_BLOCKS, WIDTH_OF_BLOCKS);
    let lens: Vec<usize> =
        (0..ROWS_OF_BLOCKS).map(|row| row * 997 % (WIDTH_OF_BLOCKS + 1)).collect();
    agrees_with_its_stages(RowMask::lens(&lens, WIDTH_OF_BLOCKS).unwrap(), &inputs);
    let gaps: Vec<u8> =
        (0..inputs.logp.len()).map(|at| u8::from(at * 31 % 257 > at / WIDTH_OF_BLOCKS)).collect();
    let gaps = RowMask::bytes(&gaps, ROWS_OF_BLOCKS, WIDTH_OF_BLOCKS).unwrap();
    agrees_with_its_stages(gaps, &inputs);
    let dropped: Vec<u8> = (0..ROWS_OF_BLOCKS).map(|row| u8::from(row % 5 == 1)).collect();
    agrees_with_its_stages(gaps.without(&dropped).unwrap(), &inputs);
}

#[test]
fn a_nan_in_a_later_block_is_reported_with_its_row_in_the_batch() {
    let place = |spoil: fn(&mut Inputs) -> &mut Vec<f64>, at: usize| {
        let mut inputs = Inputs::of(ROWS_OF_BLOCKS, WIDTH_OF_BLOCKS);
        spoil(&mut inputs)[at] = f64::NAN;
        let batch = inputs.masked(RowMask::full(ROWS_OF_BLOCKS, WIDTH_OF_BLOCKS));
        Repo::new(RepoConfig::paper()).unwrap().step(&batch).unwrap_err()
    };
    let (row, token) = (ROWS_OF_BLOCKS - 1, 3);
    let at = row * WIDTH_OF_BLOCKS + token;
    let named = |what| OptimError::NonFinite { what, row, token };
    assert_eq!(place(|inputs| &mut inputs.old_values, at), named("values"));
    assert_eq!(place(|inputs| &mut inputs.values, at), named("values"));
    assert_eq!(place(|inputs| &mut inputs.logp, at), named("logp"));
    assert_eq!(place(|inputs| &mut inputs.reference, at), named("ref_logp"));
}

#[test]
fn a_slice_of_the_wrong_length_is_reported_by_name() {
    let inputs = Inputs::new();
    let short = &inputs.logp[1..];
    let refused =
        |batch: RepoBatch<'_, f64>| match Repo::new(RepoConfig::paper()).unwrap().step(&batch) {
            Err(OptimError::Shape { what, .. }) => what,
            other => panic!("{other:?}"),
        };
    let mask = RowMask::lens(&LENS, WIDTH).unwrap();
    assert_eq!(refused(RepoBatch::new(mask, short, &inputs.old, &inputs.rewards)), "logp");
    assert_eq!(refused(RepoBatch::new(mask, &inputs.logp, short, &inputs.rewards)), "old_logp");
    assert_eq!(refused(inputs.batch().with_reference(short)), "ref_logp");
    assert_eq!(refused(inputs.batch().with_critic(short, &inputs.old_values)), "values");
    assert_eq!(refused(inputs.batch().with_critic(&inputs.values, short)), "old_values");
    assert_eq!(refused(inputs.batch().with_correction(short)), "correction");
    assert_eq!(refused(inputs.batch().with_entropy(short)), "entropy");
    assert_eq!(refused(inputs.batch().with_bootstrap(short)), "bootstrap");
}

fn agrees_with_its_stages(mask: RowMask<'_>, inputs: &Inputs) {
    let zeros = || vec![0.0; mask.slots()];
    let (mut rewards, mut advantages, mut returns) = (zeros(), zeros(), zeros());
    let (mut dlogp, mut dvalue) = (zeros(), zeros());
    let kl = KlBatch::new(mask, &inputs.old, &inputs.reference);
    let kl = token_rewards(&KlRewardConfig::default(), &kl, &inputs.rewards, &mut rewards).unwrap();
    let values = GaeBatch::new(mask, &rewards, &inputs.old_values);
    gae(&GaeConfig::default(), &values, &mut advantages, &mut returns).unwrap();
    let moments = whiten(&WhitenConfig::default(), &mask, &mut advantages).unwrap();
    let policy = PolicyBatch::new(mask, &inputs.logp, &inputs.old, &advantages);
    let policy = policy_loss(&PolicyConfig::default(), &policy, &mut dlogp).unwrap();
    let value = ValueBatch::new(mask, &inputs.values, &inputs.old_values, &returns);
    let value = value_loss(&ValueConfig::default(), &value, &mut dvalue).unwrap();

    let mut repo = Repo::new(RepoConfig::paper()).unwrap();
    let update = repo.step(&inputs.masked(mask)).unwrap();
    assert_eq!((update.advantages, update.returns), (&advantages[..], &returns[..]));
    assert_eq!((update.dlogp, update.dvalue), (&dlogp[..], &dvalue[..]));
    let metrics = update.metrics;
    assert_eq!((metrics.policy, metrics.value), (policy, value));
    assert_eq!((metrics.kl.token_mean, metrics.kl.row_mean), (kl.token_mean, kl.row_mean));
    assert_eq!(metrics.advantages, moments);
    assert_close(&[update.loss], &[policy.loss + value.loss], 1e-15);
}

pub(super) fn every_method() -> Vec<RepoConfig> {
    let with = |advantage| RepoConfig { advantage, ..RepoConfig::reinforce_plus_plus_baseline() };
    let mut configs = vec![
        RepoConfig::paper(),
        RepoConfig::grpo(),
        RepoConfig::dapo(),
        RepoConfig::gspo(),
        RepoConfig::reinforce_plus_plus_baseline(),
        with(AdvantageMethod::ReinforcePlusPlus { gamma: 0.9 }),
        with(AdvantageMethod::ReMax),
        with(AdvantageMethod::Opo),
        with(AdvantageMethod::Otb(OtbConfig::default())),
        RepoConfig {
            advantage: AdvantageMethod::TurnGae(GaeConfig::default()),
            ..RepoConfig::paper()
        },
        with(AdvantageMethod::TurnGroup { group: GroupConfig::default(), coefficient: 1.0 }),
        with(AdvantageMethod::Gdpo { group: GroupConfig::default(), weights: [1.0, 0.5, 2.0] }),
    ];
    configs.extend(Estimator::ALL.iter().map(|&estimator| {
        with(AdvantageMethod::Group(GroupConfig { estimator, ..GroupConfig::default() }))
    }));
    configs
}

#[test]
fn every_method_learns_nothing_from_a_rollout_that_was_not_scored() {
    let mut inputs = Inputs::new();
    inputs.rewards[1] = f64::NAN;
    let parts = (noise(8, ROWS), noise(9, ROWS), noise(10, ROWS));
    for config in every_method() {
        let batch = inputs.batch().with_parts(SourceRewards {
            rm: &parts.0,
            judge: &parts.1,
            rules: &parts.2,
        });
        let mut repo = Repo::new(config).unwrap();
        let update = repo.step(&batch).unwrap();
        for slice in
            [update.advantages, update.returns, update.dlogp, update.dvalue, update.dentropy]
        {
            assert_close(&slice[WIDTH..2 * WIDTH], &[0.0; WIDTH], 0.0);
            assert!(slice.iter().all(|x| x.is_finite()), "{config:?}");
        }
        assert!(update.dlogp.iter().any(|slope| slope.abs() > 0.0), "{config:?}");
        assert_eq!(update.metrics.policy.tokens, 12);
    }
}

#[test]
fn every_method_accepts_a_batch_in_which_nothing_was_scored() {
    let mut inputs = Inputs::new();
    inputs.rewards = vec![f64::NAN; ROWS];
    let none = [f64::NAN; ROWS];
    let parts = SourceRewards { rm: &none, judge: &none, rules: &none };
    for config in every_method() {
        let mut repo = Repo::new(config).unwrap();
        let update = repo.step(&inputs.batch().with_parts(parts)).unwrap();
        assert_close(&[update.loss, update.metrics.monitors.abstained], &[0.0, 1.0], 0.0);
        assert_close(update.dlogp, &[0.0; SLOTS], 0.0);
    }
}

#[test]
fn a_missing_input_is_reported_by_name() {
    let inputs = Inputs::new();
    let bare = RepoBatch::new(
        RowMask::lens(&LENS, WIDTH).unwrap(),
        &inputs.logp,
        &inputs.old,
        &inputs.rewards,
    );
    let missing = |config, batch: &RepoBatch<'_, f64>| match Repo::new(config).unwrap().step(batch)
    {
        Err(OptimError::Missing { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(RepoConfig::paper(), &bare), "critic");
    assert_eq!(missing(RepoConfig::grpo(), &bare), "groups");
    assert_eq!(missing(RepoConfig::grpo(), &bare.with_groups(&inputs.groups)), "reference");
    let with_entropy = RepoConfig { entropy_coefficient: 0.1, ..RepoConfig::paper() };
    let batch = bare.with_critic(&inputs.values, &inputs.old_values);
    assert_eq!(missing(RepoConfig::paper(), &batch), "reference");
    assert_eq!(missing(with_entropy, &batch.with_reference(&inputs.reference)), "entropy");
    let gdpo = |weights| RepoConfig {
        advantage: AdvantageMethod::Gdpo { group: GroupConfig::default(), weights },
        ..RepoConfig::dapo()
    };
    let grouped = bare.with_groups(&inputs.groups);
    assert_eq!(missing(gdpo([1.0; 3]), &grouped), "parts");
    let rules = SourceRewards { rules: &inputs.rewards, ..SourceRewards::default() };
    assert_eq!(missing(gdpo([1.0, 1.0, 0.0]), &grouped.with_parts(rules)), "parts");
    assert!(Repo::new(gdpo([1.0; 3])).unwrap().step(&grouped.with_parts(rules)).is_ok());
}

#[test]
fn an_adaptive_coefficient_follows_the_charged_kl() {
    let inputs = Inputs::new();
    let beta = crate::reward::kl_control::KlController::adaptive(0.1, 1e-6, 100.0).unwrap();
    let kl = KlConfig { estimator: KlEstimator::K3, ..KlConfig::default() };
    let mut repo = Repo::new(RepoConfig { beta, kl, ..RepoConfig::paper() }).unwrap();
    assert_close(&[repo.step(&inputs.batch()).unwrap().metrics.beta], &[0.1], 1e-15);
    // 4 rollouts far above the target raise the coefficient by a fifth of 4 / 100.
    assert_close(&[repo.beta()], &[0.1 * 1.008], 1e-12);
}

#[test]
fn metric_names_are_unique_and_undefined_figures_are_left_out() {
    let inputs = Inputs::new();
    let mut repo = Repo::new(RepoConfig::paper()).unwrap();
    let metrics = repo.step(&inputs.batch()).unwrap().metrics;
    let mut names: Vec<_> = metrics.named().map(|(name, _)| name).collect();
    assert!(
        names.contains(&"value/explained_variance") && !names.contains(&"rm/mean"),
        "{names:?}"
    );
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn micro_batches_with_the_divisors_of_the_whole_batch_add_up_to_it() {
    let inputs = Inputs::new();
    // Without whitening, rows do not depend on each other.
    let config = RepoConfig { whiten: None, ..RepoConfig::paper() };
    let mut repo = Repo::new(config).unwrap();
    let whole = repo.step(&inputs.batch()).unwrap();
    let (loss, dlogp) = (whole.loss, whole.dlogp.to_vec());
    let normaliser = Normaliser::of(&RowMask::lens(&LENS, WIDTH).unwrap());
    let (mut losses, mut slopes) = (0.0, Vec::new());
    for rows in [0..1, 1..4] {
        let slots = rows.start * WIDTH..rows.end * WIDTH;
        let mask = RowMask::lens(&LENS[rows.clone()], WIDTH).unwrap();
        let part = RepoBatch::new(
            mask,
            &inputs.logp[slots.clone()],
            &inputs.old[slots.clone()],
            &inputs.rewards[rows],
        )
        .with_reference(&inputs.reference[slots.clone()])
        .with_critic(&inputs.values[slots.clone()], &inputs.old_values[slots])
        .with_normaliser(normaliser);
        let update = repo.step(&part).unwrap();
        losses += update.loss;
        slopes.extend_from_slice(update.dlogp);
    }
    assert_close(&[losses], &[loss], 1e-14);
    assert_close(&slopes, &dlogp, 1e-15);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// The total loss (policy, KL term, critic, entropy bonus) against central differences in each
    /// input.
    #[test]
    fn the_gradients_of_the_total_loss_match_central_differences(
        moved in prop::collection::vec(-0.15_f64..0.15, SLOTS),
        coefficient in 0.1_f64..2.0,
        straight in prop::bool::ANY,
    ) {
        let mut inputs = Inputs::new();
        inputs.logp = inputs.old.iter().zip(&moved).map(|(old, moved)| old + moved).collect();
        let estimator = if straight { KlEstimator::K2 } else { KlEstimator::K3 };
        let config = RepoConfig {
            kl_loss: Some(KlLossConfig { kl: KlConfig { estimator, ..KlConfig::default() }, coefficient: 0.3 }),
            entropy_coefficient: 0.2,
            critic: Some(CriticConfig { loss: ValueConfig { clip: None, ..ValueConfig::default() }, coefficient }),
            ..RepoConfig::paper()
        };
        let loss = |inputs: &Inputs| Repo::new(config).unwrap().step(&inputs.batch()).unwrap().loss;
        let mut repo = Repo::new(config).unwrap();
        let update = repo.step(&inputs.batch()).unwrap();
        for slot in (0..SLOTS).filter(|slot| slot % WIDTH < LENS[slot / WIDTH]) {
            let by_logp = central_difference(&inputs.logp, slot, |logp| {
                loss(&Inputs { logp: logp.to_vec(), ..Inputs::new() })
            });
            let by_value = central_difference(&inputs.values, slot, |values| {
                loss(&Inputs { values: values.to_vec(), logp: inputs.logp.clone(), ..Inputs::new() })
            });
            let by_entropy = central_difference(&inputs.entropy, slot, |entropy| {
                loss(&Inputs { entropy: entropy.to_vec(), logp: inputs.logp.clone(), ..Inputs::new() })
            });
            let got = [update.dlogp[slot], update.dvalue[slot], update.dentropy[slot]];
            assert_close(&got, &[by_logp, by_value, by_entropy], 1e-6);
        }
    }
}
