//! Aggregation of per-token losses: a weight for every token. The gradient of the loss is that
//! weight times the token's own derivative.
//!
//! The five modes are those of verl's `agg_loss`. Their divisors belong to the *whole* batch.
//! Dividing each micro-batch by its own count would give short ones too much weight (verl#5625,
//! #7200, #7321).

use crate::error::{OptimError, require};
use crate::kernel::float::Float;
use crate::kernel::rows::RowMask;
use crate::names::named;

/// The weight of a token. `N` is the number of valid tokens and `S` the number of rows with at
/// least one, both over the whole batch; `n` is the number of valid tokens in the row; `L` is the
/// horizon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Aggregation {
    /// `1 / N`: all tokens have the same weight (DAPO, arXiv 2503.14476, section 3.3).
    #[default]
    TokenMean,
    /// `1`: a sum; the caller divides.
    TokenSum,
    /// `1 / S`: long rows have more weight.
    SeqMeanTokenSum,
    /// `1 / (S L)`: the same, divided by a constant (Dr. GRPO, arXiv 2503.20783, section 3).
    SeqMeanTokenSumNorm,
    /// `1 / (S n)`: all rows have the same weight (GRPO, arXiv 2402.03300, equation 3).
    SeqMeanTokenMean,
}

named!(Aggregation, "aggregation", {
    TokenMean => "token_mean",
    TokenSum => "token_sum",
    SeqMeanTokenSum => "seq_mean_token_sum",
    SeqMeanTokenSumNorm => "seq_mean_token_sum_norm",
    SeqMeanTokenMean => "seq_mean_token_mean",
});

/// The divisors of a whole batch, shared by its micro-batches and ranks, so that the losses and
/// gradients of the parts add up to those of the whole. Under a wrapper that averages gradients
/// over ranks, multiply by the number of ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normaliser {
    /// `N`, the number of valid tokens.
    pub tokens: f64,
    /// `S`, the number of rows with at least one valid token.
    pub rows: f64,
    /// `L`, in tokens; used by `seq_mean_token_sum_norm` only.
    pub horizon: f64,
}

impl Normaliser {
    /// The divisors of a batch that is not split. The horizon is its width; set a constant horizon
    /// if widths vary from batch to batch.
    pub fn of(mask: &RowMask<'_>) -> Self {
        Self {
            tokens: mask.tokens() as f64,
            rows: mask.live_rows() as f64,
            horizon: mask.width() as f64,
        }
    }

    /// Adds the divisors of two parts and keeps the longer horizon.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            tokens: self.tokens + other.tokens,
            rows: self.rows + other.rows,
            horizon: self.horizon.max(other.horizon),
        }
    }
}

impl Aggregation {
    /// Writes the weight of every token into `out` (`[B, T]`); padded slots get 0.
    ///
    /// # Errors
    /// [`OptimError::Shape`] for a slice of the wrong length, [`OptimError::Config`] for a divisor
    /// that is not finite and above 0 if the batch has valid tokens.
    pub fn weights<F: Float>(
        self,
        mask: &RowMask<'_>,
        normaliser: Option<Normaliser>,
        out: &mut [F],
    ) -> Result<(), OptimError> {
        mask.check("weights", out.len())?;
        let weigher = self.weigher(mask, normaliser)?;
        out.fill(F::ZERO);
        for row in 0..mask.rows() {
            let weight = F::from_f64(weigher.weight(mask.count(row)));
            for span in mask.spans(row) {
                out[span].fill(weight);
            }
        }
        Ok(())
    }

    /// The function from a row's number of tokens to the weight of each.
    pub(crate) fn weigher(
        self,
        mask: &RowMask<'_>,
        normaliser: Option<Normaliser>,
    ) -> Result<Weigher, OptimError> {
        let norm = normaliser.unwrap_or_else(|| Normaliser::of(mask));
        let range = "finite and above 0";
        if mask.live_rows() > 0 {
            require(
                norm.tokens > 0.0 && norm.tokens.is_finite(),
                "normaliser.tokens",
                norm.tokens,
                range,
            )?;
            require(norm.rows > 0.0 && norm.rows.is_finite(), "normaliser.rows", norm.rows, range)?;
            require(
                norm.horizon > 0.0 && norm.horizon.is_finite(),
                "normaliser.horizon",
                norm.horizon,
                range,
            )?;
        }
        let (scale, per_row) = match self {
            Self::TokenMean => (norm.tokens.recip(), false),
            Self::TokenSum => (1.0, false),
            Self::SeqMeanTokenSum => (norm.rows.recip(), false),
            Self::SeqMeanTokenSumNorm => ((norm.rows * norm.horizon).recip(), false),
            Self::SeqMeanTokenMean => (norm.rows.recip(), true),
        };
        Ok(Weigher { scale, per_row })
    }
}

/// The weight of tokens as a function of the row's length: in every mode the tokens of a row have
/// the same weight, so a kernel computes it once per row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weigher {
    scale: f64,
    per_row: bool,
}

impl Weigher {
    /// The weight of each token of a row with `tokens` valid tokens; 0 for an empty row.
    pub(crate) fn weight(self, tokens: usize) -> f64 {
        match (tokens, self.per_row) {
            (0, _) => 0.0,
            (_, false) => self.scale,
            (tokens, true) => self.scale / tokens as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Aggregation, Normaliser};
    use crate::kernel::rows::RowMask;
    use crate::testing::assert_close;

    /// verl#5366, #3741; TRL#3138, #2995: wrong weights of long rows.
    #[test]
    fn each_mode_follows_its_formula() {
        let mask = RowMask::lens(&[3, 0, 1], 4).unwrap();
        let wanted = [
            (Aggregation::TokenMean, 0.25, 0.25),
            (Aggregation::TokenSum, 1.0, 1.0),
            (Aggregation::SeqMeanTokenSum, 0.5, 0.5),
            (Aggregation::SeqMeanTokenSumNorm, 0.125, 0.125),
            (Aggregation::SeqMeanTokenMean, 1.0 / 6.0, 0.5),
        ];
        assert_eq!(wanted.len(), Aggregation::ALL.len());
        for (mode, long, short) in wanted {
            let mut out = [9.0; 12];
            mode.weights(&mask, None, &mut out).unwrap();
            let mut want = [0.0; 12];
            want[..3].fill(long);
            want[8] = short;
            assert_close(&out, &want, 1e-15);
        }
    }

    #[test]
    fn a_batch_without_tokens_has_no_weight_and_no_error() {
        let mask = RowMask::lens(&[0, 0], 3).unwrap();
        for mode in Aggregation::ALL {
            let mut out = [9.0_f32; 6];
            mode.weights(&mask, None, &mut out).unwrap();
            assert!(out.iter().all(|weight| weight.abs() < f32::MIN_POSITIVE));
        }
    }

    #[test]
    fn a_zero_divisor_is_refused_if_there_are_tokens() {
        let zero = Normaliser { tokens: 0.0, rows: 1.0, horizon: 1.0 };
        let error = Aggregation::TokenMean
            .weights(&RowMask::full(1, 1), Some(zero), &mut [0.0_f64])
            .unwrap_err();
        assert_eq!(error.to_string(), "normaliser.tokens is 0, but must be finite and above 0");
    }

    #[test]
    fn mode_names_round_trip() {
        for mode in Aggregation::ALL {
            assert_eq!(mode.to_string().parse(), Ok(*mode));
        }
    }
}
