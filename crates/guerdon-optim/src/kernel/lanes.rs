//! Sixty-four numbers side by side: what the kernels compute with, and how such numbers become one.

use std::ops::{Deref, DerefMut};

use crate::kernel::float::Float;

/// Tokens handled at once.
pub(crate) const CHUNK: usize = 64;

/// The numbers of a chunk, or one for each of its places, at the start of a cache line: a vector as wide as a line would
/// else always lie in two.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Line<F>([F; CHUNK]);

impl<F: Float> Line<F> {
    #[inline(always)]
    pub(crate) fn zeros() -> Self {
        Self([F::ZERO; CHUNK])
    }
}

impl<F> Deref for Line<F> {
    type Target = [F; CHUNK];

    #[inline(always)]
    fn deref(&self) -> &[F; CHUNK] {
        &self.0
    }
}

impl<F> DerefMut for Line<F> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [F; CHUNK] {
        &mut self.0
    }
}

/// The first `tokens` of a slice, and zeros behind. Where there are 64 slots, all are loaded and the others selected away:
/// a copy of a length that is not known before costs more than the chunk.
#[inline(always)]
pub(crate) fn take<F: Float>(slice: &[F], tokens: usize, spare: &mut [F; CHUNK]) {
    if let Some(slots) = slice.first_chunk::<CHUNK>() {
        for at in 0..CHUNK {
            spare[at] = if within(at, tokens) { slots[at] } else { F::ZERO };
        }
    } else {
        let (head, tail) = spare.split_at_mut(tokens);
        head.copy_from_slice(&slice[..tokens]);
        tail.fill(F::ZERO);
    }
}

/// Writes `tokens` to the beginning of a slice; the slots behind stay as they are.
#[inline(always)]
pub(crate) fn put<F: Float>(spare: &[F; CHUNK], tokens: usize, out: &mut [F]) {
    if let Some(slots) = out.first_chunk_mut::<CHUNK>() {
        for at in 0..CHUNK {
            slots[at] = if within(at, tokens) { spare[at] } else { slots[at] };
        }
    } else {
        out[..tokens].copy_from_slice(&spare[..tokens]);
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
