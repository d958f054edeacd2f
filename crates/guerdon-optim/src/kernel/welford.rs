//! Count, mean and squared deviations of many numbers, without the cancellation of `E[x^2] - E[x]^2` (NeMo-RL#4158).

use crate::kernel::blocks::Merge;
use crate::kernel::float::Float;
use crate::kernel::lanes::{CHUNK, Line, tree_sum, within};

/// Of some numbers, in `f64`; two of them merge without cancelling (Chan, Golub and LeVeque 1979).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Welford {
    pub(crate) count: f64,
    pub(crate) mean: f64,
    /// The sum of squared deviations from the mean.
    pub(crate) squares: f64,
}

impl Welford {
    /// Bessel-corrected; 0 for fewer than two.
    pub(crate) fn variance(&self) -> f64 {
        if self.count < 2.0 { 0.0 } else { self.squares / (self.count - 1.0) }
    }
}

impl Merge for Welford {
    fn merge(self, later: Self) -> Self {
        if later.count < 1.0 {
            return self;
        }
        let count = self.count + later.count;
        let (step, share) = (later.mean - self.mean, later.count / count);
        Self {
            count,
            mean: self.mean + step * share,
            squares: self.squares + later.squares + step * step * self.count * share,
        }
    }
}

/// So often are the tokens of the centre's chunk summed about it: a whole block, where that chunk is full.
const TIMES: usize = 64;

/// The same of a block of tokens, gathered side by side in a chunk's 64 places.
///
/// Everything is relative to the mean of the first chunk. That mean is of the block's own numbers, so however far it lies
/// from theirs, the deviations are as large, and what cancels is at most how many times its tokens are summed: after
/// [`TIMES`] they start anew, at once where chunks are full, early where the first holds a token or two.
pub(crate) struct Offsets<F> {
    /// What was gathered about earlier centres.
    before: Welford,
    /// The tokens of the chunk that gave the centre.
    first: usize,
    centre: Option<F>,
    tokens: usize,
    sums: Line<F>,
    squares: Line<F>,
}

impl<F: Float> Offsets<F> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self {
            before: Welford::default(),
            first: 0,
            centre: None,
            tokens: 0,
            sums: Line::zeros(),
            squares: Line::zeros(),
        }
    }

    /// Takes in the first `tokens` of `values`, which is 1 or more.
    #[inline(always)]
    pub(crate) fn add(&mut self, values: &[F; CHUNK], tokens: usize) {
        if self.tokens > 0 && self.tokens >= TIMES * self.first {
            self.start_anew();
        }
        let centre = match self.centre {
            Some(centre) => centre,
            None => {
                self.first = tokens;
                *self.centre.insert(values[0] + F::from_f64(mean_offset(values, values[0], tokens)))
            }
        };
        self.tokens += tokens;
        for at in 0..CHUNK {
            let offset = offset(values, centre, at, tokens);
            self.sums[at] += offset;
            self.squares[at] += offset * offset;
        }
    }

    #[cold]
    fn start_anew(&mut self) {
        let gathered = std::mem::replace(self, Self::new());
        self.before = gathered.fold();
    }

    #[inline(always)]
    pub(crate) fn fold(self) -> Welford {
        let Some(centre) = self.centre else { return self.before };
        let (count, sum) = (self.tokens as f64, tree_sum(*self.sums));
        let squares = tree_sum(*self.squares) - sum * (sum / count);
        // Not `max`, which would hide a NaN.
        let squares = if squares < 0.0 { 0.0 } else { squares };
        self.before.merge(Welford { count, mean: centre.to_f64() + sum / count, squares })
    }
}

/// How far the mean of the first `tokens` of `values` lies from `centre`.
#[inline(always)]
fn mean_offset<F: Float>(values: &[F; CHUNK], centre: F, tokens: usize) -> f64 {
    let mut offsets = Line::zeros();
    for (at, slot) in offsets.iter_mut().enumerate() {
        *slot = offset(values, centre, at, tokens);
    }
    tree_sum(*offsets) / tokens as f64
}

/// How far a value lies from `centre`; 0 beyond the last token.
#[inline(always)]
fn offset<F: Float>(values: &[F; CHUNK], centre: F, at: usize, tokens: usize) -> F {
    if within(at, tokens) { values[at] - centre } else { F::ZERO }
}
