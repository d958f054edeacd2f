//! The two number types that the kernels are generic over.
//!
//! The trait is local rather than from a numeric crate because it lists exactly the operations that
//! must vectorise. It has no `mul_add`, for two reasons. In a build without the FMA target feature,
//! `mul_add` calls libm, which is ten times slower than a multiplication and an addition. With the
//! feature, the same batch would give different bits on different processors.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use crate::kernel::exp::Exponential;

/// `f32` or `f64`.
///
/// Sealed: the kernels guarantee their rounding for these two types only. Element-wise work is done
/// in the type itself. Sums over tokens are pairwise in the type within 64 neighbours and in `f64`
/// beyond.
pub trait Float:
    sealed::SealedFloat
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
    /// Zero; also the content of padded slots of an output.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// One half.
    const HALF: Self;
    /// Negative infinity.
    const NEG_INFINITY: Self;

    /// The nearest value of this type; a finite `f64` beyond the range of `f32` becomes infinite.
    fn from_f64(x: f64) -> Self;
    /// The same value in `f64`, exactly.
    fn to_f64(self) -> f64;
    /// `|self|`.
    fn abs(self) -> Self;
    /// Returns true if the number is neither NaN nor infinite.
    fn is_finite(self) -> bool;
    /// Returns true if the number is NaN.
    fn is_nan(self) -> bool;
    /// `e^self`, `e^self - 1` and `e^self - 1 - self`. The latter two would lose digits to
    /// cancellation if they were computed from `e^self`.
    fn exponential(self) -> Exponential<Self>;

    /// [`exponential`](Float::exponential) for `|self|` of at most 80, or NaN; saves eight
    /// operations.
    fn exponential_within(self) -> Exponential<Self>;

    /// `e^self`.
    #[inline(always)]
    fn exp(self) -> Self {
        self.exponential().exp
    }

    /// `1 / (1 + e^-self)`.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exp())
    }

    /// `self` limited to `[low, high]`; NaN stays NaN. Unlike the inherent method, never panics.
    #[inline(always)]
    fn clamp(self, low: Self, high: Self) -> Self {
        let raised = if self < low { low } else { self };
        if raised > high { high } else { raised }
    }

    /// The larger of the two; `self` if either is NaN.
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if other > self { other } else { self }
    }

    /// `self * 0`: 0, or NaN if `self` is NaN or infinite. A finiteness check that can be summed.
    #[inline(always)]
    fn times_zero(self) -> Self {
        self * Self::ZERO
    }

    /// 1 if `condition`, else 0: a condition that can be summed.
    #[inline(always)]
    fn flag(condition: bool) -> Self {
        if condition { Self::ONE } else { Self::ZERO }
    }
}

mod sealed {
    pub trait SealedFloat {}
    impl SealedFloat for f32 {}
    impl SealedFloat for f64 {}
}

macro_rules! float {
    ($type:ident, $within:ident, $from:expr) => {
        impl Float for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const HALF: Self = 0.5;
            const NEG_INFINITY: Self = Self::NEG_INFINITY;

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                $from(x)
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                self.is_finite()
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self.is_nan()
            }
            #[inline(always)]
            fn exponential(self) -> Exponential<Self> {
                crate::kernel::exp::$type(self)
            }
            #[inline(always)]
            fn exponential_within(self) -> Exponential<Self> {
                crate::kernel::exp::$within(self)
            }
        }
    };
}

float!(f32, f32_within, |x| x as f32);
float!(f64, f64_within, |x| x);

#[cfg(test)]
mod tests {
    use super::Float;

    #[test]
    fn clamp_keeps_nan_and_includes_its_limits() {
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
