//! Count, mean and squared deviations of many numbers, without the cancellation of `E[x^2] -
//! E[x]^2` (NeMo-RL#4158).

use crate::kernel::blocks::Merge;
use crate::kernel::float::Float;
use crate::kernel::lanes::{CHUNK, ChunkArray, is_token, tree_sum};

/// Moments of a set of numbers, in `f64`. Two sets merge without cancellation (Chan, Golub and
/// LeVeque 1979).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Welford {
    pub(crate) count: f64,
    pub(crate) mean: f64,
    /// The sum of squared deviations from the mean.
    pub(crate) squares: f64,
}

impl Welford {
    /// The Bessel-corrected variance; 0 for fewer than two numbers.
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

/// A centre is used for at most this many times the tokens of its first chunk: for a whole block if
/// that chunk is full.
const MAX_CHUNKS_PER_CENTRE: usize = 64;

/// Moments of a block of tokens, accumulated at a chunk's 64 positions.
///
/// All sums are relative to a centre, the mean of the first chunk. The centre is a mean of the
/// block's own numbers, so if it is far from the others, the deviations are as large as that
/// distance. The precision lost to cancellation then depends only on the ratio of all tokens to the
/// tokens of the first chunk. At [`MAX_CHUNKS_PER_CENTRE`] the sums are restarted with a new
/// centre, which happens early if the first chunk holds a token or two.
pub(crate) struct WelfordLanes<F> {
    /// Moments accumulated about earlier centres.
    before: Welford,
    /// Tokens in the chunk whose mean is the centre.
    first: usize,
    centre: Option<F>,
    tokens: usize,
    sums: ChunkArray<F>,
    squares: ChunkArray<F>,
}

impl<F: Float> WelfordLanes<F> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self {
            before: Welford::default(),
            first: 0,
            centre: None,
            tokens: 0,
            sums: ChunkArray::zeros(),
            squares: ChunkArray::zeros(),
        }
    }

    /// Adds the first `tokens` (1 or more) of `values`.
    #[inline(always)]
    pub(crate) fn add(&mut self, values: &[F; CHUNK], tokens: usize) {
        if self.tokens > 0 && self.tokens >= MAX_CHUNKS_PER_CENTRE * self.first {
            self.restart();
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
    fn restart(&mut self) {
        let gathered = std::mem::replace(self, Self::new());
        self.before = gathered.fold();
    }

    #[inline(always)]
    pub(crate) fn fold(self) -> Welford {
        let Some(centre) = self.centre else { return self.before };
        let (count, sum) = (self.tokens as f64, tree_sum(*self.sums));
        let squares = tree_sum(*self.squares) - sum * (sum / count);
        // `max` would hide a NaN.
        let squares = if squares < 0.0 { 0.0 } else { squares };
        self.before.merge(Welford { count, mean: centre.to_f64() + sum / count, squares })
    }
}

/// The mean of the first `tokens` of `values`, less `centre`.
#[inline(always)]
fn mean_offset<F: Float>(values: &[F; CHUNK], centre: F, tokens: usize) -> f64 {
    let mut offsets = ChunkArray::zeros();
    for (at, slot) in offsets.iter_mut().enumerate() {
        *slot = offset(values, centre, at, tokens);
    }
    tree_sum(*offsets) / tokens as f64
}

/// A value less `centre`; 0 beyond the last token.
#[inline(always)]
fn offset<F: Float>(values: &[F; CHUNK], centre: F, at: usize, tokens: usize) -> F {
    if is_token(at, tokens) { values[at] - centre } else { F::ZERO }
}
