//! The nearest finite number, so that no result overflows.

/// The nearest finite number; 0 for NaN, which finite inputs of a checked normaliser cannot give.
pub(crate) fn finite(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(f64::MIN, f64::MAX) }
}
