//! Results do not depend on the number of threads.

use guerdon_optim::{Repo, RepoBatch, RepoConfig, RowMask};

/// Everything that an update gives, as bits.
fn bits(threads: usize) -> Vec<u64> {
    // Above the size from which threads are used, with rows of every length.
    let (rows, width) = (301, 333);
    let slots = |seed: f64| -> Vec<f32> {
        (0..rows * width).map(|at| ((at as f64 * seed).sin() * 0.4 - 1.0) as f32).collect()
    };
    let (logp, old, reference) = (slots(0.71), slots(0.72), slots(0.73));
    let (values, old_values) = (slots(1.3), slots(1.4));
    let lens: Vec<usize> = (0..rows).map(|row| row * 7 % (width + 1)).collect();
    let rewards: Vec<f32> = (0..rows).map(|row| (row as f32).cos()).collect();
    let batch = RepoBatch::new(RowMask::lens(&lens, width).unwrap(), &logp, &old, &rewards)
        .with_reference(&reference)
        .with_critic(&values, &old_values);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let mut repo = Repo::new(RepoConfig::paper()).unwrap();
        let update = repo.step(&batch).unwrap();
        let slices = [update.advantages, update.returns, update.dlogp, update.dvalue];
        let metrics = update.metrics.named().map(|(_, figure)| figure.to_bits());
        let slots = slices.into_iter().flatten().map(|x| u64::from(x.to_bits()));
        slots.chain(metrics).chain([update.loss.to_bits()]).collect()
    })
}

#[test]
fn one_two_and_seven_threads_give_the_same_bits() {
    let one = bits(1);
    assert!(one == bits(2) && one == bits(7));
}
