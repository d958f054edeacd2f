//! Arrays of 64 numbers, the operands of the kernels: loading, storing and folding them.

use std::ops::{Deref, DerefMut};

use crate::kernel::float::Float;

/// Tokens in a chunk.
pub(crate) const CHUNK: usize = 64;

/// One number for each of a chunk's 64 positions, aligned to a cache line: an unaligned vector as
/// wide as a line would always cross two lines.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct ChunkArray<F>([F; CHUNK]);

impl<F: Float> ChunkArray<F> {
    #[inline(always)]
    pub(crate) fn zeros() -> Self {
        Self([F::ZERO; CHUNK])
    }
}

impl<F> Deref for ChunkArray<F> {
    type Target = [F; CHUNK];

    #[inline(always)]
    fn deref(&self) -> &[F; CHUNK] {
        &self.0
    }
}

impl<F> DerefMut for ChunkArray<F> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [F; CHUNK] {
        &mut self.0
    }
}

/// Copies the first `tokens` of a slice to `spare` and fills the rest with zeros. If the slice has
/// 64 slots, all are loaded and the surplus is masked: a copy of a variable length costs more than
/// the whole chunk.
#[inline(always)]
pub(crate) fn load<F: Float>(slice: &[F], tokens: usize, spare: &mut [F; CHUNK]) {
    if let Some(slots) = slice.first_chunk::<CHUNK>() {
        for at in 0..CHUNK {
            spare[at] = if is_token(at, tokens) { slots[at] } else { F::ZERO };
        }
    } else {
        let (head, tail) = spare.split_at_mut(tokens);
        head.copy_from_slice(&slice[..tokens]);
        tail.fill(F::ZERO);
    }
}

/// Writes the first `tokens` of `spare` to the beginning of a slice and leaves the other slots as
/// they are.
#[inline(always)]
pub(crate) fn store<F: Float>(spare: &[F; CHUNK], tokens: usize, out: &mut [F]) {
    if let Some(slots) = out.first_chunk_mut::<CHUNK>() {
        for at in 0..CHUNK {
            slots[at] = if is_token(at, tokens) { spare[at] } else { slots[at] };
        }
    } else {
        out[..tokens].copy_from_slice(&spare[..tokens]);
    }
}

/// Returns true if position `at` of a chunk holds one of its tokens. Compares 32-bit numbers: on
/// processors without an instruction for wider ones, the comparison would dominate the loop.
#[inline(always)]
pub(crate) fn is_token(at: usize, tokens: usize) -> bool {
    (at as u32) < tokens as u32
}

/// Sums 64 numbers along a fixed tree: at most six roundings for each of them.
#[inline(always)]
pub(crate) fn tree_sum<F: Float>(lanes: [F; CHUNK]) -> f64 {
    tree_fold(lanes, |a, b| a + b)
}

/// Folds 64 numbers along a fixed tree.
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
