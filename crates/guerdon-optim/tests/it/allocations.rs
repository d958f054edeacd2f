//! The second update of a shape allocates nothing.

use guerdon_optim::{Float, Repo, RepoBatch, RepoConfig, RowMask, SourceRewards};

fn allocations<F: Float>() -> u64 {
    let mask = RowMask::lens(&[64, 0, 100, 37], 100).unwrap();
    let slots = |scale: f64| -> Vec<F> {
        (0..400).map(|at| F::from_f64(scale * (f64::from(at) * 0.7).sin() - 1.0)).collect()
    };
    let (logp, old, reference) = (slots(0.5), slots(0.4), slots(0.45));
    let (values, old_values) = (slots(1.0), slots(1.1));
    let rewards = [0.5, 1.0, f64::NAN, -2.0].map(F::from_f64);
    let batch = RepoBatch::new(mask, &logp, &old, &rewards)
        .with_reference(&reference)
        .with_critic(&values, &old_values)
        .with_parts(SourceRewards { rm: &rewards, judge: &rewards, rules: &rewards })
        .with_groups(&[0, 0, 1, 1]);
    let mut repo = Repo::new(RepoConfig::paper()).unwrap();
    repo.step(&batch).unwrap();
    allocation_counter::measure(|| assert!(repo.step(&batch).unwrap().loss.is_finite())).count_total
}

#[test]
fn the_second_update_of_a_shape_allocates_nothing() {
    assert_eq!((allocations::<f32>(), allocations::<f64>()), (0, 0));
}

#[test]
fn the_counter_reports_allocations() {
    assert!(
        allocation_counter::measure(|| drop(std::hint::black_box(vec![0_u8; 100]))).count_total > 0
    );
}
