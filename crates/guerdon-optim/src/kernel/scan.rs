//! A first-order recursion from right to left, many tokens a step.

use std::ops::Range;

use crate::kernel::float::Float;
use crate::kernel::lanes::CHUNK;
use crate::kernel::rows::RowMask;

/// Numbers that take a step together.
const LANES: usize = 8;
/// Tokens whose terms are laid down before the first of them is read again: a processor that reads at another offset
/// than it has just written waits until the write is through, and with it every write before.
pub(crate) const STRETCH: usize = 8 * CHUNK;

/// The recursion `y_t = x_t + c y_(t+1)` over a row. One step waits for the step before; so each token first gathers the 7
/// after it, which wait for none, and then 8 of them take one step together.
#[derive(Clone, Copy)]
pub(crate) struct Scan<F> {
    /// c to the powers 0 to 8.
    powers: [F; LANES + 1],
}

/// Room for the terms of a stretch and what follows them, and for its results.
#[repr(C, align(64))]
pub(crate) struct Room<F> {
    pub(crate) results: [F; STRETCH],
    pub(crate) terms: [F; STRETCH + LANES],
}

impl<F: Float> Room<F> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self { terms: [F::ZERO; STRETCH + LANES], results: [F::ZERO; STRETCH] }
    }

    /// To a recursion, the result that follows the last of `tokens` terms is one more term; after it come zeros. Written
    /// before the terms themselves, and so out of the way when the last of them are read, which is first.
    #[inline(always)]
    pub(crate) fn follow(&mut self, tokens: usize, carry: F) {
        self.terms[tokens..tokens.next_multiple_of(CHUNK) + LANES].fill(F::ZERO);
        self.terms[tokens] = carry;
    }
}

/// The tokens of a row from right to left, in stretches of the flat `[B, T]` slice.
#[inline(always)]
pub(crate) fn backwards(mask: &RowMask<'_>, row: usize) -> impl Iterator<Item = Range<usize>> {
    mask.spans(row).rev().flat_map(|span| {
        let starts = (span.start..span.end).step_by(STRETCH).rev();
        starts.map(move |start| start..span.end.min(start + STRETCH))
    })
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

    /// Runs over the first `tokens` terms, after which [`Room::follow`] has laid `carry`. Returns the first result: what
    /// follows the next stretch on the left.
    #[inline(always)]
    pub(crate) fn run(&self, room: &mut Room<F>, tokens: usize, carry: F) -> F {
        // A copy, so that a write to the results cannot be taken to change it.
        let powers = self.powers;
        let Room { terms, results } = room;
        let chunks = tokens.div_ceil(CHUNK);
        let mut after = [F::ZERO; LANES];
        if tokens == chunks * CHUNK {
            after[0] = carry;
        }
        for (chunk, results) in
            results.as_chunks_mut::<CHUNK>().0[..chunks].iter_mut().enumerate().rev()
        {
            let Some(terms) = terms[chunk * CHUNK..].first_chunk() else { continue };
            let sums = gather(powers, terms);
            let (blocks, sums) = (results.as_chunks_mut::<LANES>().0, sums.as_chunks::<LANES>().0);
            for (block, sums) in blocks.iter_mut().zip(sums).rev() {
                for lane in 0..LANES {
                    after[lane] = sums[lane] + powers[LANES] * after[lane];
                }
                *block = after;
            }
        }
        results[0]
    }
}

/// Each of a chunk's terms with the 7 after it, times their powers.
#[inline(always)]
fn gather<F: Float>(powers: [F; LANES + 1], terms: &[F; CHUNK + LANES]) -> [F; CHUNK] {
    let mut sums = [F::ZERO; CHUNK];
    for at in 0..CHUNK {
        let mut sum = terms[at];
        for ahead in 1..LANES {
            sum += powers[ahead] * terms[at + ahead];
        }
        sums[at] = sum;
    }
    sums
}
