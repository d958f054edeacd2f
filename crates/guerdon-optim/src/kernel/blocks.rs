//! How a kernel walks a ragged batch: in blocks of rows, rows in spans, spans in chunks of at most 64 tokens.
//!
//! - A *chunk* is what vectorises: arrays of 64 neighbours, no branch inside, sums by a fixed tree.
//! - A *block* is what a thread takes: about 4096 slots, so that its arrays stay in the nearest cache. Each block
//!   runs under the widest instruction set the processor has, or the mask allows (`pulp` asks at run time).
//! - Blocks are combined along a tree whose shape depends on the batch's shape only. So the result is the same to
//!   the last bit whatever the number of threads, and no list of partial sums is allocated.

use std::ops::Range;

use crate::error::OptimError;
use crate::kernel::float::Float;
use crate::kernel::lanes::{CHUNK, Line, put, take};
use crate::kernel::rows::RowMask;

/// Slots in a block, unless one row is longer.
const BLOCK: usize = 4096;
/// Slots from which threads pay for themselves.
const PARALLEL: usize = 1 << 16;

/// Sums of neighbouring parts of a batch become the sums of both.
pub(crate) trait Merge: Sized + Send {
    /// `self` stands before `later`.
    #[must_use]
    fn merge(self, later: Self) -> Self;
}

impl Merge for () {
    fn merge(self, (): Self) -> Self {}
}

/// The first error stays.
impl<S: Merge> Merge for Result<S, OptimError> {
    fn merge(self, later: Self) -> Self {
        Ok(self?.merge(later?))
    }
}

/// What is done to every row of a batch: `IN` input slices are read by the kernel itself, `OUT` output slices are
/// handed to it row by row.
pub(crate) trait RowKernel<F: Float, const OUT: usize>: Sync {
    type Sums: Merge + Default;
    /// What is kept from row to row within a block.
    type Block;

    /// At the start of a block.
    fn open(&self) -> Self::Block;

    /// At its end, what was kept enters the sums.
    fn close(&self, block: Self::Block, sums: &mut Self::Sums);

    /// Works on one row. `outs` hold that row's slots, padding included, all of which must be written.
    ///
    /// Implementations are `#[inline(always)]`: only then are they compiled for the instruction set of the block.
    fn row(
        &self,
        row: usize,
        outs: [&mut [F]; OUT],
        block: &mut Self::Block,
        sums: &mut Self::Sums,
    );
}

/// Runs a kernel over all rows.
pub(crate) fn over_rows<F: Float, K: RowKernel<F, OUT>, const OUT: usize>(
    kernel: &K,
    mask: &RowMask<'_>,
    outs: [&mut [F]; OUT],
) -> K::Sums {
    let (arch, width) = (mask.arch(), mask.width());
    over_blocks(mask, outs, |rows, outs| arch.dispatch(Dispatched { kernel, width, rows, outs }))
}

/// Does some work on every block: on its rows, and their slots of the outputs. Where that work is to run several kernels,
/// what one of them writes is still near when the next reads it.
pub(crate) fn over_blocks<F: Float, S: Merge, const OUT: usize>(
    mask: &RowMask<'_>,
    outs: [&mut [F]; OUT],
    work: impl Fn(Range<usize>, [&mut [F]; OUT]) -> S + Sync,
) -> S {
    let tree = Tree {
        work,
        width: mask.width(),
        rows_per_block: (BLOCK / mask.width().max(1)).max(1),
        threads: mask.slots() > PARALLEL && rayon::current_num_threads() > 1,
    };
    tree.walk(0..mask.rows(), outs)
}

struct Tree<W> {
    work: W,
    width: usize,
    rows_per_block: usize,
    threads: bool,
}

impl<W> Tree<W> {
    fn walk<F: Float, S: Merge, const OUT: usize>(
        &self,
        rows: Range<usize>,
        outs: [&mut [F]; OUT],
    ) -> S
    where
        W: Fn(Range<usize>, [&mut [F]; OUT]) -> S + Sync,
    {
        if rows.len() <= self.rows_per_block {
            return (self.work)(rows, outs);
        }
        let blocks = rows.len().div_ceil(self.rows_per_block);
        let middle = rows.start + blocks / 2 * self.rows_per_block;
        let (heads, tails) = split(outs, (middle - rows.start) * self.width);
        let (head, tail) = (rows.start..middle, middle..rows.end);
        let (head, tail) = if self.threads {
            rayon::join(|| self.walk(head, heads), || self.walk(tail, tails))
        } else {
            (self.walk(head, heads), self.walk(tail, tails))
        };
        head.merge(tail)
    }
}

/// Cuts every slice at `at`.
#[inline(always)]
pub(crate) fn split<F, const N: usize>(
    slices: [&mut [F]; N],
    at: usize,
) -> ([&mut [F]; N], [&mut [F]; N]) {
    let mut pairs = slices.map(|slice| slice.split_at_mut(at));
    let heads = pairs.each_mut().map(|pair| std::mem::take(&mut pair.0));
    (heads, pairs.map(|pair| pair.1))
}

struct Dispatched<'k, 'o, K, F, const OUT: usize> {
    kernel: &'k K,
    width: usize,
    rows: Range<usize>,
    outs: [&'o mut [F]; OUT],
}

impl<F: Float, K: RowKernel<F, OUT>, const OUT: usize> pulp::NullaryFnOnce
    for Dispatched<'_, '_, K, F, OUT>
{
    type Output = K::Sums;

    #[inline(always)]
    fn call(self) -> K::Sums {
        let mut sums = K::Sums::default();
        let mut block = self.kernel.open();
        let mut outs = self.outs;
        for row in self.rows {
            let (now, later) = split(outs, self.width);
            outs = later;
            self.kernel.row(row, now, &mut block, &mut sums);
        }
        self.kernel.close(block, &mut sums);
        sums
    }
}

/// What is done to every token alike, given a few facts about its row.
pub(crate) trait TokenKernel<F: Float, const IN: usize, const OUT: usize>: Sync {
    /// What all tokens of a row share.
    type Row;
    /// Sums side by side, one for each of a chunk's 64 places; folded once a block, so that a chunk adds 64 numbers to
    /// 64 numbers and nothing crosses from place to place.
    type Lanes;
    type Sums: Merge + Default;

    /// Lanes of zeros.
    fn lanes(&self) -> Self::Lanes;

    /// Folds the lanes of a block into its sums.
    fn fold(&self, lanes: Self::Lanes, sums: &mut Self::Sums);

    /// Called once for a row that has tokens, before its chunks.
    fn begin(&self, row: usize, sums: &mut Self::Sums) -> Self::Row;

    /// Works on [`CHUNK`] neighbouring slots of which the first `tokens` count; the inputs of the others are 0, and
    /// what is written there is thrown away. `#[inline(always)]`, as [`RowKernel::row`].
    fn chunk(
        &self,
        row: &Self::Row,
        tokens: usize,
        ins: [&[F; CHUNK]; IN],
        outs: [&mut [F; CHUNK]; OUT],
        lanes: &mut Self::Lanes,
        sums: &mut Self::Sums,
    );
}

/// Runs a kernel over all tokens; padded slots of the outputs get 0.
pub(crate) fn over_tokens<
    F: Float,
    K: TokenKernel<F, IN, OUT>,
    const IN: usize,
    const OUT: usize,
>(
    kernel: &K,
    mask: &RowMask<'_>,
    ins: [&[F]; IN],
    outs: [&mut [F]; OUT],
) -> K::Sums {
    over_rows(&Tokens { kernel, mask: *mask, ins, keep_padding: false }, mask, outs)
}

/// As [`over_tokens`], but padded slots of the outputs stay as they are.
pub(crate) fn over_tokens_in_place<F: Float, K: TokenKernel<F, 0, OUT>, const OUT: usize>(
    kernel: &K,
    mask: &RowMask<'_>,
    outs: [&mut [F]; OUT],
) -> K::Sums {
    over_rows(&Tokens { kernel, mask: *mask, ins: [], keep_padding: true }, mask, outs)
}

/// Lanes, and room for one short chunk.
pub(crate) struct Block<L, F, const IN: usize, const OUT: usize> {
    lanes: L,
    read: [Line<F>; IN],
    written: [Line<F>; OUT],
}

struct Tokens<'a, K, F, const IN: usize> {
    kernel: &'a K,
    mask: RowMask<'a>,
    ins: [&'a [F]; IN],
    keep_padding: bool,
}

impl<F: Float, K: TokenKernel<F, IN, OUT>, const IN: usize, const OUT: usize> RowKernel<F, OUT>
    for Tokens<'_, K, F, IN>
{
    type Sums = K::Sums;
    type Block = Block<K::Lanes, F, IN, OUT>;

    #[inline(always)]
    fn open(&self) -> Self::Block {
        let lanes = self.kernel.lanes();
        Block { lanes, read: [Line::zeros(); IN], written: [Line::zeros(); OUT] }
    }

    #[inline(always)]
    fn close(&self, block: Self::Block, sums: &mut K::Sums) {
        self.kernel.fold(block.lanes, sums);
    }

    #[inline(always)]
    fn row(
        &self,
        row: usize,
        mut outs: [&mut [F]; OUT],
        block: &mut Self::Block,
        sums: &mut K::Sums,
    ) {
        let width = self.mask.width();
        let start = row * width;
        let ins = self.ins.map(|slice| &slice[start..][..width]);
        let (mut done, mut facts) = (0, None);
        for span in self.mask.spans(row) {
            let facts = &*facts.get_or_insert_with(|| self.kernel.begin(row, sums));
            let span = span.start - start..span.end - start;
            if !self.keep_padding {
                zero(&mut outs, done, span.start);
                done = span.end;
            }
            for at in span.clone().step_by(CHUNK) {
                let tokens = (span.end - at).min(CHUNK);
                let Block { lanes, read, written } = &mut *block;
                if tokens == CHUNK {
                    let mut windows = read.each_ref().map(|spare| &**spare);
                    for (window, slice) in windows.iter_mut().zip(&ins) {
                        *window = slice[at..].first_chunk().unwrap_or(*window);
                    }
                    let mut targets = written.each_mut().map(|spare| &mut **spare);
                    for (target, out) in targets.iter_mut().zip(&mut outs) {
                        if let Some(out) = out[at..].first_chunk_mut() {
                            *target = out;
                        }
                    }
                    self.kernel.chunk(facts, CHUNK, windows, targets, lanes, sums);
                    continue;
                }
                // What does not fill a chunk goes through a spare one, so that the kernel sees 64, and zeros.
                for (slice, spare) in ins.iter().zip(read.iter_mut()) {
                    take(&slice[at..], tokens, spare);
                }
                for (out, spare) in outs.iter().zip(written.iter_mut()) {
                    take(&out[at..], tokens, spare);
                }
                let targets = written.each_mut().map(|spare| &mut **spare);
                self.kernel.chunk(
                    facts,
                    tokens,
                    read.each_ref().map(|spare| &**spare),
                    targets,
                    lanes,
                    sums,
                );
                for (out, spare) in outs.iter_mut().zip(written.iter()) {
                    put(spare, tokens, &mut out[at..]);
                }
            }
        }
        if !self.keep_padding {
            zero(&mut outs, done, width);
        }
    }
}

/// Fills the same slots of every slice with 0.
#[inline(always)]
fn zero<F: Float, const N: usize>(slices: &mut [&mut [F]; N], from: usize, to: usize) {
    for slice in slices {
        slice[from..to].fill(F::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::{Merge, RowKernel, over_rows};
    use crate::kernel::rows::RowMask;

    /// Writes each row's number, and joins the numbers in the order in which sums are merged.
    struct Order;

    impl Merge for Vec<usize> {
        fn merge(mut self, later: Self) -> Self {
            self.extend(later);
            self
        }
    }

    impl RowKernel<f64, 1> for Order {
        type Sums = Vec<usize>;
        type Block = Vec<usize>;

        fn open(&self) -> Vec<usize> {
            Vec::new()
        }

        fn close(&self, block: Vec<usize>, sums: &mut Vec<usize>) {
            sums.extend(block);
        }

        fn row(
            &self,
            row: usize,
            [out]: [&mut [f64]; 1],
            block: &mut Vec<usize>,
            _sums: &mut Vec<usize>,
        ) {
            out.fill(row as f64);
            block.push(row);
        }
    }

    #[test]
    fn every_row_is_visited_once_and_merged_in_order() {
        for (rows, width) in [(0, 3), (1, 70_000), (5, 0), (1000, 7), (33, 4096), (200, 513)] {
            let mut out = vec![-1.0; rows * width];
            let order = over_rows(&Order, &RowMask::full(rows, width), [&mut out]);
            assert_eq!(order, (0..rows).collect::<Vec<_>>());
            assert!(out.iter().enumerate().all(|(at, &row)| row as usize == at / width));
        }
    }
}
