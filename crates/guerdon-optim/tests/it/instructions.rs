//! Results do not depend on the processor: every available instruction set gives the same bits.

use guerdon_optim::{
    AdvantageMethod, Aggregation, ClipRange, Float, GaeConfig, GroupConfig, InstructionSet,
    KlBatch, KlConfig, KlEstimator, KlGradient, Lambda, LogitsBatch, PolicyConfig, Repo, RepoBatch,
    RepoConfig, RowMask, Surrogate, kl_penalty, logits_gradient, token_logp,
};

const ROWS: usize = 37;
const WIDTH: usize = 333;

fn slots<F: Float>(seed: f64, scale: f64) -> Vec<F> {
    (0..ROWS * WIDTH).map(|at| F::from_f64((at as f64 * seed).sin() * scale - 1.0)).collect()
}

fn bits<F: Float>(numbers: &[F]) -> impl Iterator<Item = u64> {
    numbers.iter().map(|x| x.to_f64().to_bits())
}

fn configs() -> Vec<RepoConfig> {
    let clip = ClipRange { low: 0.2, high: 0.3 };
    let surrogates = [
        Surrogate::Ppo { clip, dual: Some(3.0) },
        Surrogate::Gspo { clip },
        Surrogate::GspoToken { clip },
        Surrogate::DppoTv { clip, max_ratio: 20.0 },
        Surrogate::DppoKl { clip, max_ratio: 20.0 },
        Surrogate::ClipCov { clip, share: 0.1, low: 0.1, high: 5.0, seed: 1 },
        Surrogate::KlCov { share: 0.1, coefficient: 1.0 },
        Surrogate::Gmpo { clip },
        Surrogate::Cispo { clip },
        Surrogate::Sapo { tau_positive: 1.0, tau_negative: 1.05 },
        Surrogate::Dro { beta: 0.1 },
        Surrogate::Reinforce,
    ];
    let vapo = GaeConfig {
        lambda: Lambda::LengthAdaptive { alpha: 0.05 },
        value_lambda: Some(1.0),
        ..GaeConfig::default()
    };
    let mut configs = vec![
        RepoConfig::grpo(),
        RepoConfig { advantage: AdvantageMethod::Gae(vapo), ..RepoConfig::paper() },
        RepoConfig {
            advantage: AdvantageMethod::ReinforcePlusPlus { gamma: 0.99 },
            ..RepoConfig::reinforce_plus_plus_baseline()
        },
        RepoConfig {
            advantage: AdvantageMethod::Group(GroupConfig::default()),
            ..RepoConfig::paper()
        },
    ];
    configs.extend(surrogates.map(|surrogate| RepoConfig {
        policy: PolicyConfig { surrogate, aggregation: Aggregation::SeqMeanTokenMean },
        ..RepoConfig::paper()
    }));
    configs
}

/// All that one instruction set makes of a batch with rows of every length and gaps in some.
fn everything<F: Float>(set: InstructionSet) -> Vec<u64> {
    let (logp, old, reference) =
        (slots::<F>(0.71, 0.4), slots::<F>(0.72, 0.5), slots::<F>(0.73, 0.4));
    let (values, old_values, weights) =
        (slots::<F>(1.3, 1.0), slots::<F>(1.4, 1.0), slots::<F>(0.3, 1.0));
    let rewards: Vec<F> = (0..ROWS).map(|row| F::from_f64((row as f64).cos())).collect();
    let groups: Vec<usize> = (0..ROWS).map(|row| row / 4).collect();
    let valid = |at: usize| at % WIDTH < at / WIDTH * 9 && at * 31 % 257 > at / WIDTH;
    let bytes: Vec<u8> = (0..ROWS * WIDTH).map(|at| u8::from(valid(at))).collect();
    let mask = RowMask::bytes(&bytes, ROWS, WIDTH).unwrap().at_most(set);
    let weights: Vec<F> = weights.iter().map(|x| x.abs()).collect();

    let mut out = Vec::new();
    for config in configs() {
        for corrected in [false, true] {
            let mut batch = RepoBatch::new(mask, &logp, &old, &rewards)
                .with_reference(&reference)
                .with_critic(&values, &old_values)
                .with_groups(&groups);
            if corrected {
                batch = batch.with_correction(&weights);
            }
            let mut repo = Repo::new(config).unwrap();
            let update = repo.step(&batch).unwrap();
            let slices = [update.advantages, update.returns, update.dlogp, update.dvalue];
            out.extend(slices.into_iter().flat_map(bits));
            out.extend(update.metrics.named().map(|(_, figure)| figure.to_bits()));
            out.push(update.loss.to_bits());
        }
    }
    for &estimator in KlEstimator::ALL {
        for &gradient in KlGradient::ALL {
            let (mut kl, mut slope) = (vec![F::ZERO; ROWS * WIDTH], vec![F::ZERO; ROWS * WIDTH]);
            let batch = KlBatch::new(mask, &logp, &reference).with_old_logp(&old);
            let config = KlConfig { estimator, gradient, ..KlConfig::default() };
            kl_penalty(&config, &batch, &mut kl, &mut slope).unwrap();
            out.extend(bits(&kl).chain(bits(&slope)));
        }
    }
    let labels: Vec<usize> = (0..ROWS).map(|row| row * 8).collect();
    let logits = LogitsBatch::new(&logp, &labels, WIDTH).at_most(set);
    let (mut label_logp, mut entropy) = (vec![F::ZERO; ROWS], vec![F::ZERO; ROWS]);
    token_logp(&logits, &mut label_logp, &mut entropy).unwrap();
    let mut slope = vec![F::ZERO; ROWS * WIDTH];
    logits_gradient(&logits, &label_logp, &entropy, &mut slope).unwrap();
    out.extend(bits(&label_logp).chain(bits(&entropy)).chain(bits(&slope)));
    out
}

fn agree<F: Float>() {
    let baseline = everything::<F>(InstructionSet::Baseline);
    assert!(baseline.len() > 100 * ROWS * WIDTH);
    for &set in InstructionSet::ALL.iter().filter(|set| set.is_available()) {
        assert!(everything::<F>(set) == baseline, "{set}");
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits_in_f32() {
    agree::<f32>();
}

#[test]
fn every_instruction_set_gives_the_same_bits_in_f64() {
    agree::<f64>();
}

#[test]
fn the_baseline_and_the_widest_set_are_available() {
    assert!(InstructionSet::Baseline.is_available() && InstructionSet::widest().is_available());
    for &set in InstructionSet::ALL {
        assert_eq!(set.to_string().parse(), Ok(set));
    }
}
