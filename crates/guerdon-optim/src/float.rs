//! The two number types every kernel here is generic over.
//!
//! A trait of our own rather than a numeric crate: it holds only what the kernels call, so a reader sees at once
//! which operations a faster kernel must reproduce. There is deliberately no `mul_add`: on a build without the FMA
//! target feature it is a call into libm, ten times slower than a multiplication and an addition.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// `f32` or `f64`.
///
/// Sealed: the kernels promise their rounding for these two types and no other. Element-wise work is done in the
/// type itself; every sum over tokens (losses, means, variances) is kept in `f64`.
pub trait Float:
    sealed::Sealed
    + Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// Zero, which is also what padded slots of an output hold.
    const ZERO: Self;
    /// One.
    const ONE: Self;

    /// The nearest value of this type; a finite `f64` beyond the range of `f32` becomes infinite.
    fn from_f64(x: f64) -> Self;
    /// The same value in `f64`, exactly.
    fn to_f64(self) -> f64;
    /// `e^self`.
    fn exp(self) -> Self;
    /// `e^self - 1`, accurate near zero.
    fn exp_m1(self) -> Self;
    /// `|self|`.
    fn abs(self) -> Self;
    /// `self` limited to `[low, high]`; NaN stays NaN.
    fn clamp(self, low: Self, high: Self) -> Self;
    /// Neither NaN nor infinite.
    fn is_finite(self) -> bool;
    /// Not a number.
    fn is_nan(self) -> bool;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

macro_rules! float {
    ($type:ident, $from:expr) => {
        impl Float for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;

            fn from_f64(x: f64) -> Self {
                $from(x)
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn exp(self) -> Self {
                self.exp()
            }
            fn exp_m1(self) -> Self {
                self.exp_m1()
            }
            fn abs(self) -> Self {
                self.abs()
            }
            fn clamp(self, low: Self, high: Self) -> Self {
                // Not the inherent clamp: that one panics when a caller's limits are out of order.
                if self < low {
                    low
                } else if self > high {
                    high
                } else {
                    self
                }
            }
            fn is_finite(self) -> bool {
                self.is_finite()
            }
            fn is_nan(self) -> bool {
                self.is_nan()
            }
        }
    };
}

float!(f32, |x| x as f32);
float!(f64, |x| x);

#[cfg(test)]
mod tests {
    use super::Float;

    #[test]
    fn clamp_keeps_nan_and_its_limits() {
        assert!(Float::clamp(f64::NAN, -1.0, 1.0).is_nan());
        assert_eq!(Float::clamp(f64::INFINITY, -1.0, 1.0).to_bits(), 1.0_f64.to_bits());
        assert_eq!(Float::clamp(-1.0_f32, -1.0, 1.0).to_bits(), (-1.0_f32).to_bits());
    }

    #[test]
    fn a_round_trip_through_f64_is_exact() {
        for x in [0.1_f32, -3.5e-39, f32::MAX] {
            assert_eq!(<f32 as Float>::from_f64(Float::to_f64(x)).to_bits(), x.to_bits());
        }
    }
}
