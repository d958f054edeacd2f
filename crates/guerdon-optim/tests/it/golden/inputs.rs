//! The generator of the reference inputs: a stateless SplitMix64 hash, summed four times into a
//! bell shape.
//!
//! Integer operations, IEEE additions and one rounding to `f32`, so that any language reproduces it
//! bit for bit.

/// A batch of `rows` rows of at most `width` tokens, `group` answers to a prompt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    pub(crate) seed: u64,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    /// The shortest row, in tokens.
    pub(crate) min_len: usize,
}

/// The streams of one seed.
const LENS: u64 = 1;
const LOGP: u64 = 2;
const OLD: u64 = 3;
const REF: u64 = 4;
const VALUES: u64 = 6;
const VALUE_MOVES: u64 = 7;
const SCORES: u64 = 8;

impl Recipe {
    pub(crate) fn lens(self) -> Vec<usize> {
        let span = (self.width - self.min_len + 1) as f64;
        let len = |row| self.min_len + (uniform(self.seed, LENS, row) * span).floor() as usize;
        (0..self.rows as u64).map(len).collect()
    }

    pub(crate) fn logp(self) -> Vec<f32> {
        self.slots(LOGP, 0.0, 2.0).into_iter().map(|x| -x.abs()).collect()
    }

    pub(crate) fn old(self) -> Vec<f32> {
        add(&self.logp(), &self.slots(OLD, 0.0, 0.35))
    }

    pub(crate) fn reference(self) -> Vec<f32> {
        add(&self.logp(), &self.slots(REF, 0.0, 0.5))
    }

    pub(crate) fn values(self) -> Vec<f32> {
        self.slots(VALUES, 0.1, 0.8)
    }

    pub(crate) fn new_values(self) -> Vec<f32> {
        add(&self.values(), &self.slots(VALUE_MOVES, 0.0, 0.6))
    }

    pub(crate) fn scores(self) -> Vec<f32> {
        self.normal(SCORES, self.rows, 0.2, 1.5)
    }

    fn slots(self, stream: u64, mean: f64, scale: f64) -> Vec<f32> {
        self.normal(stream, self.rows * self.width, mean, scale)
    }

    /// Irwin-Hall of four, centred: standard deviation 0.57735 times `scale`.
    fn normal(self, stream: u64, count: usize, mean: f64, scale: f64) -> Vec<f32> {
        let u = |at| uniform(self.seed, stream, at);
        (0..count as u64)
            .map(|i| u(4 * i) + u(4 * i + 1) + u(4 * i + 2) + u(4 * i + 3) - 2.0)
            .map(|x| (mean + scale * x) as f32)
            .collect()
    }
}

fn add(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// Uniform in `[0, 1)`, 53 bits.
fn uniform(seed: u64, stream: u64, at: u64) -> f64 {
    let mut z = seed
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(stream.wrapping_mul(0xD1B5_4A32_D192_ED03))
        .wrapping_add(at.wrapping_mul(0x8CB9_2BA7_2F3D_8DD7))
        .wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 11) as f64 * 2.0_f64.powi(-53)
}
