//! Helpers shared by the unit tests of several files.

/// Asserts that each element is within `tolerance`, absolute below one and relative above.
#[track_caller]
pub(crate) fn assert_close(got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (at, (&got, &want)) in got.iter().zip(want).enumerate() {
        let limit = tolerance * want.abs().max(1.0);
        assert!((got - want).abs() <= limit, "at {at}: got {got}, want {want}");
    }
}

/// The central difference of `f` in coordinate `at`, step 1e-6.
pub(crate) fn central_difference(x: &[f64], at: usize, f: impl Fn(&[f64]) -> f64) -> f64 {
    const STEP: f64 = 1e-6;
    let mut moved = x.to_vec();
    moved[at] = x[at] + STEP;
    let above = f(&moved);
    moved[at] = x[at] - STEP;
    (above - f(&moved)) / (2.0 * STEP)
}
