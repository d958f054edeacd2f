//! `e^x` from additions, multiplications and one shift, so that a loop over tokens vectorises.
//!
//! `x = n ln 2 + r` with `|r| <= ln 2 / 2`, and a Taylor polynomial in `r` whose first omitted term
//! is below half a unit in the last place (Cody and Waite, "Software Manual for the Elementary
//! Functions", 1980, chapter 6). The same pieces give `e^x - 1` and `e^x - 1 - x` without
//! cancellation: for `n = 0` the linear terms vanish before anything is rounded.

use std::ops::{Add, Mul};

/// `e^x`, `e^x - 1` and `e^x - 1 - x`, each without cancellation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exponential<F> {
    /// `e^x`, to 2 units in the last place; infinite above the type's range, 0 below its normal
    /// range.
    pub exp: F,
    /// `e^x - 1`, never below -1.
    pub exp_m1: F,
    /// `e^x - 1 - x`, never negative.
    pub exp_m1_minus_x: F,
}

/// Evaluates a polynomial with the coefficients `terms`, highest power first, by Estrin's scheme:
/// neighbours in pairs, then pairs of pairs. The longest chain of dependent operations is four
/// steps; Horner's scheme would have one step per coefficient.
#[inline(always)]
fn polynomial<F, const N: usize>(x: F, terms: &[F; N]) -> F
where
    F: Copy + Add<Output = F> + Mul<Output = F>,
{
    let (mut sums, mut left, mut power) = (*terms, N, x);
    while left > 1 {
        let (odd, pairs) = (left % 2, left / 2);
        for at in 0..pairs {
            sums[odd + at] = sums[odd + 2 * at] * power + sums[odd + 2 * at + 1];
        }
        (left, power) = (odd + pairs, power * power);
    }
    sums[0]
}

macro_rules! exponential {
    ($type:ident, $within:ident, $bits:ident, $uint:ty, { $($constant:ident = $value:expr),+ $(,)? }, $terms:expr) => {
        mod $bits {
            $(pub(super) const $constant: $type = $value;)+
        }

        #[inline(always)]
        pub(crate) fn $type(x: $type) -> Exponential<$type> {
            use $bits::*;
            let raised = if x < LOW { LOW } else { x };
            let clamped = if raised > HIGH { HIGH } else { raised };
            let inside = $within(clamped);
            let exp = if x < LOW { 0.0 } else { inside.exp };
            let exp = if x > HIGH { <$type>::INFINITY } else { exp };
            // Below the range e^x is 0, which leaves -1 - x.
            let exp_m1_minus_x = if x < LOW { -1.0 - x } else { inside.exp_m1_minus_x };
            let exp_m1_minus_x = if x > HIGH { <$type>::INFINITY } else { exp_m1_minus_x };
            Exponential {
                exp,
                exp_m1: if x > HIGH { <$type>::INFINITY } else { inside.exp_m1 },
                exp_m1_minus_x,
            }
        }

        /// Computes the same for an `x` within `LOW..=HIGH`, without checking the range.
        #[inline(always)]
        pub(crate) fn $within(x: $type) -> Exponential<$type> {
            use $bits::*;
            const EXPONENT: u32 = <$type>::MANTISSA_DIGITS - 1;
            const ONE: $uint = (1.0 as $type).to_bits();
            // Adding 1.5 * 2^EXPONENT rounds to an integer and puts it into the lowest bits.
            let shifted = x * std::$type::consts::LOG2_E + ROUND;
            let n = shifted - ROUND;
            let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
            let power = <$type>::from_bits((shifted.to_bits() << EXPONENT).wrapping_add(ONE));
            // e^r - 1 - r.
            let curve = r * r * polynomial(r, &$terms);
            let rest = power * (r + curve);
            Exponential {
                exp: power + rest,
                exp_m1: rest + (power - 1.0),
                exp_m1_minus_x: ((power * r - x) + (power - 1.0)) + power * curve,
            }
        }
    };
}

exponential!(f32, f32_within, single, u32, {
    LOW = -87.0,
    HIGH = 88.3,
    ROUND = 12_582_912.0,
    LN_2_HIGH = 355.0 / 512.0,
    LN_2_LOW = -2.121_944_4e-4,
}, [
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
]);

exponential!(f64, f64_within, double, u64, {
    LOW = -708.0,
    HIGH = 709.4,
    ROUND = 6_755_399_441_055_744.0,
    LN_2_HIGH = 6.931_471_803_691_238e-1,
    LN_2_LOW = 1.908_214_929_270_587_7e-10,
}, [
    1.0 / 87_178_291_200.0,
    1.0 / 6_227_020_800.0,
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
]);

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::{f32 as single, f64 as double};

    fn relative(got: f64, want: f64) -> f64 {
        if got.to_bits() == want.to_bits() { 0.0 } else { ((got - want) / want).abs() }
    }

    /// `e^x - 1 - x` from 59 Taylor terms, smallest first, which avoids cancellation.
    fn exp_m1_minus_x(x: f64) -> f64 {
        let (mut terms, mut term) = (Vec::new(), 1.0);
        for k in 1..60_u8 {
            term *= x / f64::from(k);
            if k > 1 {
                terms.push(term);
            }
        }
        terms.iter().rev().sum()
    }

    #[test]
    fn out_of_range_gives_zero_or_infinity_and_nan_stays_nan() {
        assert_eq!((single(-1e3).exp, single(1e3).exp), (0.0, f32::INFINITY));
        assert_eq!((double(-1e3).exp, double(1e3).exp), (0.0, f64::INFINITY));
        assert_eq!((double(-1e3).exp_m1, double(-1e3).exp_m1_minus_x), (-1.0, 999.0));
        assert_eq!(
            (single(f32::NEG_INFINITY).exp, single(f32::INFINITY).exp),
            (0.0, f32::INFINITY)
        );
        assert!(single(f32::NAN).exp.is_nan() && double(f64::NAN).exp_m1_minus_x.is_nan());
        let zero = double(0.0);
        assert_eq!((zero.exp, zero.exp_m1, zero.exp_m1_minus_x), (1.0, 0.0, 0.0));
    }

    proptest! {
        #[test]
        fn all_three_functions_are_accurate_in_f64(
            x in -700.0_f64..700.0,
            small in -2.0_f64..2.0,
            tiny in -1e-4_f64..1e-4,
        ) {
            for x in [x, small, tiny] {
                let got = double(x);
                assert!(relative(got.exp, x.exp()) < 5e-16, "{x}");
                assert!(relative(got.exp_m1, x.exp_m1()) < 2e-15, "{x}");
            }
            for x in [small, tiny] {
                assert!(relative(double(x).exp_m1_minus_x, exp_m1_minus_x(x)) < 3e-15, "{x}");
            }
        }

        #[test]
        fn all_three_functions_are_accurate_in_f32(
            x in -86.0_f32..88.0,
            small in -2.0_f32..2.0,
            tiny in -1e-4_f32..1e-4,
        ) {
            for x in [x, small, tiny] {
                let (got, wide) = (single(x), f64::from(x));
                assert!(relative(f64::from(got.exp), wide.exp()) < 2.4e-7, "{x}");
                assert!(relative(f64::from(got.exp_m1), wide.exp_m1()) < 1.2e-6, "{x}");
            }
            for x in [small, tiny] {
                let got = single(x).exp_m1_minus_x;
                assert!(relative(f64::from(got), exp_m1_minus_x(f64::from(x))) < 2e-6, "{x}");
                assert!(got >= 0.0);
            }
        }
    }
}
