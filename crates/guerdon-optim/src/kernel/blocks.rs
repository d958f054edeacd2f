//! The walk of a kernel over a ragged batch: blocks of rows, spans of valid tokens within a row,
//! and chunks of at most 64 tokens within a span.
//!
//! - A *chunk* is the unit of vectorisation: arrays of 64 neighbours, no branch inside, sums by a
//!   fixed tree.
//! - A *block* is the unit of threading: about 4096 slots, so that its arrays stay in the nearest
//!   cache. Each block runs under the widest instruction set that the processor has and the mask
//!   allows (`pulp` detects it at run time).
//! - Blocks are combined along a tree whose shape depends on the batch's shape only. The result is
//!   therefore the same to the last bit on any number of threads, and no list of partial sums is
//!   allocated.

use std::ops::Range;

use crate::error::OptimError;
use crate::kernel::float::Float;
use crate::kernel::lanes::{CHUNK, ChunkArray, load, store};
use crate::kernel::rows::RowMask;
use crate::kernel::threads::{Threads, threads};

/// Slots in a block; a block of one row may be larger.
const BLOCK: usize = 4096;
/// Batch size in slots above which blocks are spread over threads.
const PARALLEL: usize = 1 << 16;

/// Combines the sums of two neighbouring parts of a batch.
pub(crate) trait Merge: Sized + Send {
    /// Combines `self` with the sums of the part that follows it.
    #[must_use]
    fn merge(self, later: Self) -> Self;
}

impl Merge for () {
    fn merge(self, (): Self) -> Self {}
}

/// Keeps the first error.
impl<S: Merge> Merge for Result<S, OptimError> {
    fn merge(self, later: Self) -> Self {
        Ok(self?.merge(later?))
    }
}

/// A sum that is finite if and only if all of its terms are: the kernels' check of their inputs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FiniteCheck(f64);

impl FiniteCheck {
    #[inline(always)]
    pub(crate) fn add(&mut self, term: f64) {
        self.0 += term;
    }

    pub(crate) fn passed(self) -> bool {
        self.0.is_finite()
    }
}

impl Merge for FiniteCheck {
    fn merge(self, later: Self) -> Self {
        Self(self.0 + later.0)
    }
}

/// A computation on every row of a batch. The kernel reads its inputs itself; the `OUT` output
/// slices are passed to it row by row.
pub(crate) trait RowKernel<F: Float, const OUT: usize>: Sync {
    type Sums: Merge + Default;
    /// State carried from row to row within a block.
    type Block;

    /// Starts a block.
    fn open(&self) -> Self::Block;

    /// Ends a block and adds its state to the sums.
    fn close(&self, block: Self::Block, sums: &mut Self::Sums);

    /// Computes one row. `outs` are that row's slots, padding included; all of them must be
    /// written.
    ///
    /// Implementations are `#[inline(always)]`; otherwise they would not be compiled for the
    /// instruction set of the block.
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
    over_blocks(mask, outs, |rows, outs| arch.dispatch(BlockTask { kernel, width, rows, outs }))
}

/// Runs `work` on every block, given its rows and their slots of the outputs. When `work` runs
/// several kernels, the output of one is still in cache when the next reads it.
pub(crate) fn over_blocks<F: Float, S: Merge, const OUT: usize>(
    mask: &RowMask<'_>,
    outs: [&mut [F]; OUT],
    work: impl Fn(Range<usize>, [&mut [F]; OUT]) -> S + Sync,
) -> S {
    let found = if mask.slots() > PARALLEL { threads() } else { Threads::None };
    let tree = BlockTree {
        work,
        width: mask.width(),
        rows_per_block: (BLOCK / mask.width().max(1)).max(1),
        threads: !matches!(found, Threads::None),
    };
    match found {
        Threads::Pool(pool) => pool.install(|| tree.walk(0..mask.rows(), outs)),
        Threads::Global | Threads::None => tree.walk(0..mask.rows(), outs),
    }
}

struct BlockTree<W> {
    work: W,
    width: usize,
    rows_per_block: usize,
    threads: bool,
}

impl<W> BlockTree<W> {
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

struct BlockTask<'k, 'o, K, F, const OUT: usize> {
    kernel: &'k K,
    width: usize,
    rows: Range<usize>,
    outs: [&'o mut [F]; OUT],
}

impl<F: Float, K: RowKernel<F, OUT>, const OUT: usize> pulp::NullaryFnOnce
    for BlockTask<'_, '_, K, F, OUT>
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

/// A computation on every valid token, given some state of its row.
pub(crate) trait TokenKernel<F: Float, const IN: usize, const OUT: usize>: Sync {
    /// State shared by the tokens of a row.
    type Row;
    /// Partial sums, one for each of a chunk's 64 positions. They are folded once a block, so that
    /// a chunk adds 64 numbers to 64 numbers without any work across positions.
    type Lanes;
    type Sums: Merge + Default;

    /// Returns lanes of zeros.
    fn lanes(&self) -> Self::Lanes;

    /// Folds the lanes of a block into its sums.
    fn fold(&self, lanes: Self::Lanes, sums: &mut Self::Sums);

    /// Starts a row that has valid tokens; called before its first chunk.
    fn begin(&self, row: usize, sums: &mut Self::Sums) -> Self::Row;

    /// Computes one chunk. Implementations are `#[inline(always)]`, as [`RowKernel::row`].
    fn chunk(&self, row: &Self::Row, chunk: TokenChunk<'_, F, IN, OUT>, lanes: &mut Self::Lanes);
}

/// [`CHUNK`] neighbouring slots. The first `tokens` slots are valid. The inputs of the others are
/// 0, and their outputs are discarded.
pub(crate) struct TokenChunk<'a, F, const IN: usize, const OUT: usize> {
    /// Valid tokens, 1 to [`CHUNK`].
    pub(crate) tokens: usize,
    /// The inputs, in the order of the kernel's slices.
    pub(crate) ins: [&'a [F; CHUNK]; IN],
    /// The outputs, in the same way.
    pub(crate) outs: [&'a mut [F; CHUNK]; OUT],
}

/// Runs a kernel over all valid tokens; padded slots of the outputs get 0.
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
    over_rows(&TokenWalk { kernel, mask: *mask, ins, keep_padding: false }, mask, outs)
}

/// Runs a kernel like [`over_tokens`], but leaves padded slots of the outputs as they are.
pub(crate) fn over_tokens_in_place<F: Float, K: TokenKernel<F, 0, OUT>, const OUT: usize>(
    kernel: &K,
    mask: &RowMask<'_>,
    outs: [&mut [F]; OUT],
) -> K::Sums {
    over_rows(&TokenWalk { kernel, mask: *mask, ins: [], keep_padding: true }, mask, outs)
}

/// The lanes of a block, and buffers for one short chunk.
pub(crate) struct TokenBlock<L, F, const IN: usize, const OUT: usize> {
    lanes: L,
    read: [ChunkArray<F>; IN],
    written: [ChunkArray<F>; OUT],
}

struct TokenWalk<'a, K, F, const IN: usize> {
    kernel: &'a K,
    mask: RowMask<'a>,
    ins: [&'a [F]; IN],
    keep_padding: bool,
}

impl<F: Float, K: TokenKernel<F, IN, OUT>, const IN: usize, const OUT: usize> RowKernel<F, OUT>
    for TokenWalk<'_, K, F, IN>
{
    type Sums = K::Sums;
    type Block = TokenBlock<K::Lanes, F, IN, OUT>;

    #[inline(always)]
    fn open(&self) -> Self::Block {
        let lanes = self.kernel.lanes();
        TokenBlock { lanes, read: [ChunkArray::zeros(); IN], written: [ChunkArray::zeros(); OUT] }
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
        let (mut done, mut row_state) = (0, None);
        for span in self.mask.spans(row) {
            let row_state = &*row_state.get_or_insert_with(|| self.kernel.begin(row, sums));
            let span = span.start - start..span.end - start;
            if !self.keep_padding {
                fill_zero(&mut outs, done, span.start);
                done = span.end;
            }
            for at in span.clone().step_by(CHUNK) {
                let tokens = (span.end - at).min(CHUNK);
                let TokenBlock { lanes, read, written } = &mut *block;
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
                    let chunk = TokenChunk { tokens, ins: windows, outs: targets };
                    self.kernel.chunk(row_state, chunk, lanes);
                    continue;
                }
                // A short chunk is copied to a buffer of 64 slots, filled up with zeros.
                for (slice, spare) in ins.iter().zip(read.iter_mut()) {
                    load(&slice[at..], tokens, spare);
                }
                for (out, spare) in outs.iter().zip(written.iter_mut()) {
                    load(&out[at..], tokens, spare);
                }
                let chunk = TokenChunk {
                    tokens,
                    ins: read.each_ref().map(|spare| &**spare),
                    outs: written.each_mut().map(|spare| &mut **spare),
                };
                self.kernel.chunk(row_state, chunk, lanes);
                for (out, spare) in outs.iter_mut().zip(written.iter()) {
                    store(spare, tokens, &mut out[at..]);
                }
            }
        }
        if !self.keep_padding {
            fill_zero(&mut outs, done, width);
        }
    }
}

/// Fills the same slots of every slice with 0.
#[inline(always)]
fn fill_zero<F: Float, const N: usize>(slices: &mut [&mut [F]; N], from: usize, to: usize) {
    for slice in slices {
        slice[from..to].fill(F::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::{Merge, RowKernel, over_rows};
    use crate::kernel::rows::RowMask;

    /// Writes each row's number, and lists the numbers in the order in which sums are merged.
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
