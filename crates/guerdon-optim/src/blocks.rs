//! How a kernel walks a ragged batch: in blocks of rows, rows in spans, spans in chunks of at most 64 tokens.
//!
//! - A *chunk* is what vectorises: arrays of 64 neighbours, no branch inside, sums by a fixed tree.
//! - A *block* is what a thread takes: about 4096 slots, so that its arrays stay in the nearest cache. Each block
//!   runs under the widest instruction set the processor has, or the mask allows (`pulp` asks at run time).
//! - Blocks are combined along a tree whose shape depends on the batch's shape only. So the result is the same to
//!   the last bit whatever the number of threads, and no list of partial sums is allocated.

use std::ops::Range;

use crate::float::Float;
use crate::rows::RowMask;

/// Tokens handled at once.
pub(crate) const CHUNK: usize = 64;
/// Slots in a block, unless one row is longer.
const BLOCK: usize = 4096;
/// Slots from which threads pay for themselves.
const PARALLEL: usize = 1 << 16;

/// Sums of neighbouring parts of a batch become the sums of both.
pub(crate) trait Merge: Default + Send {
    /// `self` stands before `later`.
    #[must_use]
    fn merge(self, later: Self) -> Self;
}

impl Merge for () {
    fn merge(self, (): Self) -> Self {}
}

/// What is done to every row of a batch: `IN` input slices are read by the kernel itself, `OUT` output slices are
/// handed to it row by row.
pub(crate) trait RowKernel<F: Float, const OUT: usize>: Sync {
    type Sums: Merge;
    /// What is kept from row to row within a block.
    type Block;

    /// At the start of a block.
    fn open(&self) -> Self::Block;

    /// At its end, what was kept enters the sums.
    fn close(&self, block: Self::Block, sums: &mut Self::Sums);

    /// Works on one row. `outs` hold that row's slots, padding included, all of which must be written.
    ///
    /// Implementations are `#[inline(always)]`: only then are they compiled for the instruction set of the block.
    fn row(&self, row: usize, outs: [&mut [F]; OUT], block: &mut Self::Block, sums: &mut Self::Sums);
}

/// Runs a kernel over all rows.
pub(crate) fn over_rows<F: Float, K: RowKernel<F, OUT>, const OUT: usize>(
    kernel: &K,
    mask: &RowMask<'_>,
    outs: [&mut [F]; OUT],
) -> K::Sums {
    let tree = Tree {
        kernel,
        width: mask.width(),
        rows_per_block: (BLOCK / mask.width().max(1)).max(1),
        threads: mask.slots() > PARALLEL && rayon::current_num_threads() > 1,
        arch: mask.arch(),
    };
    tree.walk(0..mask.rows(), outs)
}

struct Tree<'k, K> {
    kernel: &'k K,
    width: usize,
    rows_per_block: usize,
    threads: bool,
    arch: pulp::Arch,
}

impl<K> Tree<'_, K> {
    fn walk<F: Float, const OUT: usize>(&self, rows: Range<usize>, outs: [&mut [F]; OUT]) -> K::Sums
    where
        K: RowKernel<F, OUT>,
    {
        if rows.len() <= self.rows_per_block {
            return self.arch.dispatch(Dispatched { kernel: self.kernel, width: self.width, rows, outs });
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
pub(crate) fn split<F, const N: usize>(slices: [&mut [F]; N], at: usize) -> ([&mut [F]; N], [&mut [F]; N]) {
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

impl<F: Float, K: RowKernel<F, OUT>, const OUT: usize> pulp::NullaryFnOnce for Dispatched<'_, '_, K, F, OUT> {
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
    type Sums: Merge;

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
pub(crate) fn over_tokens<F: Float, K: TokenKernel<F, IN, OUT>, const IN: usize, const OUT: usize>(
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
    read: [[F; CHUNK]; IN],
    written: [[F; CHUNK]; OUT],
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
        Block { lanes, read: [[F::ZERO; CHUNK]; IN], written: [[F::ZERO; CHUNK]; OUT] }
    }

    #[inline(always)]
    fn close(&self, block: Self::Block, sums: &mut K::Sums) {
        self.kernel.fold(block.lanes, sums);
    }

    #[inline(always)]
    fn row(&self, row: usize, mut outs: [&mut [F]; OUT], block: &mut Self::Block, sums: &mut K::Sums) {
        let mut done = row * self.mask.width();
        let mut facts = None;
        for span in self.mask.spans(row) {
            let facts = &*facts.get_or_insert_with(|| self.kernel.begin(row, sums));
            let (gaps, rest) = split(outs, span.start - done);
            let (here, rest) = split(rest, span.len());
            outs = rest;
            done = span.end;
            if !self.keep_padding {
                zero(gaps);
            }
            // What does not fill a chunk goes through a spare one, so that the kernel is compiled once, and for 64.
            let ins = self.ins.map(|slice| slice[span.clone()].as_chunks::<CHUNK>());
            let mut here = here.map(|slice| slice.as_chunks_mut::<CHUNK>());
            let Block { lanes, read, written } = &mut *block;
            for chunk in 0..span.len().div_ceil(CHUNK) {
                let tokens = (span.len() - chunk * CHUNK).min(CHUNK);
                // Not before the whole chunks: a row is read from its beginning, as the processor expects.
                if tokens < CHUNK {
                    for ((_, rest), spare) in ins.iter().zip(read.iter_mut()) {
                        pad(rest, spare);
                    }
                    for ((_, rest), spare) in here.iter().zip(written.iter_mut()) {
                        pad(rest, spare);
                    }
                }
                let mut windows = read.each_ref();
                for (window, (full, _)) in windows.iter_mut().zip(&ins) {
                    if let Some(slots) = full.get(chunk) {
                        *window = slots;
                    }
                }
                let mut targets = written.each_mut();
                for (target, (full, _)) in targets.iter_mut().zip(&mut here) {
                    if let Some(out) = full.get_mut(chunk) {
                        *target = out;
                    }
                }
                self.kernel.chunk(facts, tokens, windows, targets, lanes, sums);
            }
            for ((_, rest), spare) in here.iter_mut().zip(written.iter()) {
                rest.copy_from_slice(&spare[..rest.len()]);
            }
        }
        if !self.keep_padding {
            zero(outs);
        }
    }
}

/// Fewer than 64 numbers, and zeros behind.
#[inline(always)]
fn pad<F: Float>(slice: &[F], out: &mut [F; CHUNK]) {
    let (head, tail) = out.split_at_mut(slice.len());
    head.copy_from_slice(slice);
    tail.fill(F::ZERO);
}

#[inline(always)]
fn zero<F: Float, const N: usize>(slices: [&mut [F]; N]) {
    for slice in slices {
        slice.fill(F::ZERO);
    }
}

/// Whether a chunk's place holds one of its tokens. In the width of `f32`, or the comparison would take most of the time
/// where there is no instruction for a wider one.
#[inline(always)]
pub(crate) fn within(at: usize, tokens: usize) -> bool {
    (at as u32) < tokens as u32
}

/// The sum of 64 numbers along a fixed tree, which rounds six times at most.
#[inline(always)]
pub(crate) fn tree_sum<F: Float>(lanes: [F; CHUNK]) -> f64 {
    tree_fold(lanes, |a, b| a + b)
}

/// 64 numbers made one along a fixed tree.
#[inline(always)]
pub(crate) fn tree_fold<F: Float>(mut lanes: [F; CHUNK], join: impl Fn(F, F) -> F) -> f64 {
    let mut half = CHUNK / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = join(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0].to_f64()
}

#[cfg(test)]
mod tests {
    use super::{Merge, RowKernel, over_rows};
    use crate::rows::RowMask;

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

        fn row(&self, row: usize, [out]: [&mut [f64]; 1], block: &mut Vec<usize>, _sums: &mut Vec<usize>) {
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
