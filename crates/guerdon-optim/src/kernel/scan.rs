//! A first-order linear recursion over a row from right to left, 8 tokens a step.

use std::ops::Range;

use crate::kernel::float::Float;
use crate::kernel::lanes::CHUNK;
use crate::kernel::rows::RowMask;

/// Tokens computed in one step.
const LANES: usize = 8;
/// Tokens whose terms are written before the first of them is read back. A read at an offset other
/// than that of a recent write stalls until the write and all writes before it have completed.
pub(crate) const SEGMENT: usize = 8 * CHUNK;

/// The recursion `y_t = x_t + c y_(t+1)` over a row. Each step depends on the one before; to
/// shorten the chain, each token first sums the 7 terms after it, which are independent, and then 8
/// tokens take one step together.
#[derive(Clone, Copy)]
pub(crate) struct BackwardScan<F> {
    /// `c` to the powers 0 to 8.
    powers: [F; LANES + 1],
}

/// Buffers for the terms and the results of a segment.
#[repr(C, align(64))]
pub(crate) struct ScanBuffer<F> {
    pub(crate) results: [F; SEGMENT],
    pub(crate) terms: [F; SEGMENT + LANES],
}

impl<F: Float> ScanBuffer<F> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self { terms: [F::ZERO; SEGMENT + LANES], results: [F::ZERO; SEGMENT] }
    }

    /// Writes `carry`, the result of the token after the segment, as one more term behind `tokens`
    /// terms, followed by zeros. Called before the terms are written, so that these writes have
    /// completed when the scan starts with the last terms.
    #[inline(always)]
    pub(crate) fn set_tail(&mut self, tokens: usize, carry: F) {
        self.terms[tokens..tokens.next_multiple_of(CHUNK) + LANES].fill(F::ZERO);
        self.terms[tokens] = carry;
    }
}

/// The tokens of a row from right to left, as segments of the flat `[B, T]` slice.
#[inline(always)]
pub(crate) fn backwards(mask: &RowMask<'_>, row: usize) -> impl Iterator<Item = Range<usize>> {
    mask.spans(row).rev().flat_map(|span| {
        let starts = (span.start..span.end).step_by(SEGMENT).rev();
        starts.map(move |start| start..span.end.min(start + SEGMENT))
    })
}

impl<F: Float> BackwardScan<F> {
    pub(crate) fn new(decay: f64) -> Self {
        let mut powers = [F::ONE; LANES + 1];
        let mut power = 1.0;
        for slot in &mut powers[1..] {
            power *= decay;
            *slot = F::from_f64(power);
        }
        Self { powers }
    }

    /// Runs over the first `tokens` terms, after [`ScanBuffer::set_tail`] has written `carry`
    /// behind them. Returns the first result, which is the carry of the segment to the left.
    #[inline(always)]
    pub(crate) fn run(&self, buffer: &mut ScanBuffer<F>, tokens: usize, carry: F) -> F {
        // A local copy: the compiler need not assume that writes to the results change it.
        let powers = self.powers;
        let ScanBuffer { terms, results } = buffer;
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

/// Sums each of a chunk's terms with the 7 after it, weighted by powers of `c`.
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
