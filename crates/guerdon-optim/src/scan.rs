//! A first-order recursion from right to left, many tokens a step.

use crate::blocks::CHUNK;
use crate::float::Float;

/// Numbers that take a step together.
const LANES: usize = 8;

/// A chunk's own terms, and zeros behind them.
pub(crate) type Terms<F> = [F; CHUNK + LANES];

/// No terms yet.
pub(crate) fn no_terms<F: Float>() -> Terms<F> {
    [F::ZERO; CHUNK + LANES]
}

/// The recursion `y_t = x_t + c y_(t+1)` on 64 numbers at once. One step waits for the step before; so each number first
/// gathers the 7 after it, which none waits for, and then 8 of them take one step together.
#[derive(Clone, Copy)]
pub(crate) struct Scan<F> {
    /// c to the powers 0 to 8.
    powers: [F; LANES + 1],
}

impl<F: Float> Scan<F> {
    pub(crate) fn new(decay: f64) -> Self {
        let mut powers = [F::ONE; LANES + 1];
        let mut power = 1.0;
        for slot in &mut powers[1..] {
            power *= decay;
            *slot = F::from_f64(power);
        }
        Self { powers }
    }

    /// Runs over the first `tokens` of `terms`, behind which are zeros, into `out`; `carry` is what follows the last of
    /// them. Returns what precedes the next chunk on the left.
    #[inline(always)]
    pub(crate) fn run(&self, terms: &Terms<F>, tokens: usize, carry: F, out: &mut [F; CHUNK]) -> F {
        let powers = self.powers;
        for at in 0..CHUNK {
            let mut sum = terms[at];
            for ahead in 1..LANES {
                sum += powers[ahead] * terms[at + ahead];
            }
            out[at] = sum;
        }
        // What follows enters the last 8 only now, so that the sums above wait for nothing.
        if tokens == CHUNK {
            for (lane, sum) in out[CHUNK - LANES..].iter_mut().enumerate() {
                *sum += powers[LANES - lane] * carry;
            }
        } else {
            for ahead in 1..=LANES.min(tokens) {
                out[tokens - ahead] += powers[ahead] * carry;
            }
        }
        let mut after = [F::ZERO; LANES];
        for block in out.as_chunks_mut::<LANES>().0.iter_mut().rev() {
            for lane in 0..LANES {
                after[lane] = block[lane] + powers[LANES] * after[lane];
                block[lane] = after[lane];
            }
        }
        out[0]
    }
}
