//! Gradients injected into the policy equal finite differences of the loss.

use candle_core::{DType, Tensor, Var};
use guerdon_client::optim::{Repo, RepoBatch, RowMask};
use guerdon_training_example::inject::surrogate;
use guerdon_training_example::policy::{DecoderConfig, Dialogues, Policy, Trunk, WeightSet};
use guerdon_training_example::rl::Arm;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

const TINY: DecoderConfig = DecoderConfig {
    vocabulary: 11,
    width: 8,
    layers: 2,
    heads: 2,
    key_heads: 1,
    inner: 12,
    positions: 16,
    theta: 1e4,
};

struct Bench {
    dialogues: Dialogues,
    sampled: [Vec<f64>; 2],
    reference: Vec<f64>,
}

impl Bench {
    /// Dialogues of different lengths, with the numbers of another policy.
    fn new() -> Self {
        let (prompts, replies): ([&[u32]; 4], [&[u32]; 4]) =
            ([&[1, 2, 3], &[1, 2, 3], &[4], &[4]], [&[5, 6, 10], &[7, 10], &[8, 9, 3, 10], &[10]]);
        let dialogues = Dialogues::new(&prompts, &replies, 0).unwrap();
        let numbers = |seed| {
            let policy = Policy::new(TINY, &weights(seed), &Trunk::new()).unwrap();
            let (logp, values) = policy.forward(&dialogues).unwrap();
            [host(&logp), host(&values)]
        };
        Self { sampled: numbers(2), reference: numbers(3)[0].clone(), dialogues }
    }

    /// Computes the loss of these log-probs and values, and its gradients.
    fn loss(&self, arm: Arm, logp: &Tensor, values: &Tensor) -> (f64, Vec<f64>, Vec<f64>) {
        let mask = RowMask::lens(&self.dialogues.lens, self.dialogues.width()).unwrap();
        let (logp, values) = (host(logp), host(values));
        let batch = RepoBatch::new(mask, &logp, &self.sampled[0], &[0.5, -1.0, 2.0, f64::NAN])
            .with_reference(&self.reference)
            .with_critic(&values, &self.sampled[1])
            .with_groups(&[0, 0, 1, 1]);
        let mut repo = Repo::new(arm.optimizer()).unwrap();
        let update = repo.step(&batch).unwrap();
        (update.loss, update.dlogp.to_vec(), update.dvalue.to_vec())
    }
}

fn weights(seed: u64) -> WeightSet {
    TINY.draw(&mut StdRng::seed_from_u64(seed)).unwrap().copy(DType::F64).unwrap()
}

fn host(tensor: &Tensor) -> Vec<f64> {
    tensor.detach().flatten_all().unwrap().to_vec1().unwrap()
}

/// Adds `by` to the number of `var` at `place`.
fn nudge(var: &Var, place: usize, by: f64) {
    let mut numbers = host(var.as_tensor());
    numbers[place] += by;
    var.set(&Tensor::from_vec(numbers, var.shape(), var.device()).unwrap()).unwrap();
}

/// Compares three numbers of every gradient with central differences of the whole loss.
fn compare(bench: &Bench, arm: Arm, policy: &Policy, weights: &WeightSet) {
    let (logp, values) = policy.forward(&bench.dialogues).unwrap();
    let (_, dlogp, dvalue) = bench.loss(arm, &logp, &values);
    let gradients = surrogate(&logp, &values, &dlogp, &dvalue).unwrap().backward().unwrap();
    let mut steep = 0.0_f64;
    for (name, var) in weights.iter() {
        let gradient = host(gradients.get(var.as_tensor()).unwrap());
        for place in [1, gradient.len() / 2, gradient.len() - 1] {
            let at = |by: f64| {
                nudge(var, place, by);
                let (logp, moved) = policy.forward(&bench.dialogues).unwrap();
                nudge(var, place, -by);
                // The critic's gradient stops at the policy's features, so values are constants for
                // the policy.
                let values = if name.starts_with("critic") { &moved } else { &values };
                bench.loss(arm, &logp, values).0
            };
            let difference = (at(1e-6) - at(-1e-6)) / 2e-6;
            let found = gradient[place];
            steep = steep.max(found.abs());
            let near = (found - difference).abs() <= 1e-7 + 1e-5 * difference.abs();
            assert!(near, "{arm:?} {name}[{place}]: {found} injected, {difference} measured");
        }
    }
    assert!(steep > 1e-3, "{arm:?}: nothing was measured");
}

#[test]
fn injected_gradients_equal_finite_differences_of_the_loss() {
    let bench = Bench::new();
    // Near the policy that sampled, so that no ratio is clipped.
    let weights = weights(2);
    for (name, var) in weights.iter() {
        nudge(var, 0, if name.starts_with('0') { 1e-3 } else { -1e-3 });
    }
    let policy = Policy::new(TINY, &weights, &Trunk::new()).unwrap();
    for arm in [Arm::Repo, Arm::GrpoRm] {
        compare(&bench, arm, &policy, &weights);
    }
}

/// The weights of `seed` without the critic, frozen.
fn trunk(seed: u64) -> Trunk {
    let mut trunk: Trunk = weights(seed)
        .iter()
        .map(|(name, var)| (name.to_owned(), var.as_detached_tensor()))
        .collect();
    trunk.retain(|name, _| !name.starts_with("critic"));
    trunk
}

#[test]
fn low_rank_corrections_start_at_zero_and_have_the_gradients_of_the_loss() {
    let bench = Bench::new();
    let adapted = TINY.adapt(3, &mut StdRng::seed_from_u64(6)).unwrap().copy(DType::F64).unwrap();
    let policy = Policy::new(TINY, &adapted, &trunk(2)).unwrap();
    let whole = Policy::new(TINY, &weights(2), &Trunk::new()).unwrap();
    let logp = |policy: &Policy| host(&policy.forward(&bench.dialogues).unwrap().0);
    assert_eq!(logp(&policy), logp(&whole));

    for (name, var) in adapted.iter().filter(|(name, _)| name.ends_with("up")) {
        for place in 0..var.elem_count() {
            nudge(var, place, if name.starts_with('0') { 1e-3 } else { -2e-3 });
        }
    }
    assert_ne!(logp(&policy), logp(&whole));
    compare(&bench, Arm::Repo, &policy, &adapted);
}

#[test]
fn every_parameter_gets_a_gradient() {
    let bench = Bench::new();
    let weights = weights(4);
    let policy = Policy::new(TINY, &weights, &Trunk::new()).unwrap();
    let (logp, values) = policy.forward(&bench.dialogues).unwrap();
    let slopes: Vec<f64> = (0..logp.elem_count()).map(|at| 1.0 + at as f64).collect();
    let gradients = surrogate(&logp, &values, &slopes, &slopes).unwrap().backward().unwrap();
    for (name, var) in weights.iter() {
        let gradient = gradients.get(var.as_tensor());
        let gradient = host(gradient.unwrap_or_else(|| panic!("no gradient reached {name}")));
        assert!(gradient.iter().any(|x| x.abs() > 1e-9), "{name} has a gradient of zeros");
    }
}

#[test]
fn candles_fused_norm_cuts_the_gradient_silently() {
    let device = candle_core::Device::Cpu;
    let x = Var::from_tensor(&Tensor::new(&[[1.0_f32, 2.0, 3.0]], &device).unwrap()).unwrap();
    let scale = Tensor::ones(3, DType::F32, &device).unwrap();
    let through = |y: Tensor| y.sum_all().unwrap().backward().unwrap().get(x.as_tensor()).is_some();
    assert!(through(candle_nn::ops::rms_norm_slow(&x, &scale, 1e-5).unwrap()));
    assert!(
        !through(candle_nn::ops::rms_norm(&x, &scale, 1e-5).unwrap()),
        "fixed: the fused ones may be used"
    );
}

#[test]
fn padding_changes_nothing() {
    let weights = weights(5);
    let policy = Policy::new(TINY, &weights, &Trunk::new()).unwrap();
    let alone = |prompt: &[u32], reply: &[u32]| {
        let (logp, values) =
            policy.forward(&Dialogues::new(&[prompt], &[reply], 0).unwrap()).unwrap();
        (host(&logp), host(&values))
    };
    let together = Dialogues::new(&[&[1, 2, 3, 4, 5], &[6]], &[&[7], &[8, 9, 10]], 0).unwrap();
    let (logp, values) = policy.forward(&together).unwrap();
    let (logp, values) = (host(&logp), host(&values));
    for (row, (prompt, reply)) in
        [(&[1, 2, 3, 4, 5][..], &[7][..]), (&[6][..], &[8, 9, 10][..])].into_iter().enumerate()
    {
        let (one_logp, one_values) = alone(prompt, reply);
        for at in 0..reply.len() {
            assert!((logp[row * 3 + at] - one_logp[at]).abs() < 1e-12);
            assert!((values[row * 3 + at] - one_values[at]).abs() < 1e-12);
        }
    }
}
