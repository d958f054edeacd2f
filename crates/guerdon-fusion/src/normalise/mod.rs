//! Normalisation: from a source's value to the number that enters the fusion.
//!
//! | File | Contents |
//! |---|---|
//! | `finite.rs` | the nearest finite number |
//! | `moments.rs` | count, mean and squared deviations, one value at a time (Welford) |
//! | `quantile.rs` | the share of a reference set that is lower |
//! | `running.rs` | a running normaliser that observes values while it serves |
//! | `fit.rs` | normalisers fitted on reference values |

mod finite;
mod fit;
mod moments;
mod quantile;
mod running;

use guerdon_types::Normaliser;

pub(crate) use finite::finite;
pub use fit::{FitError, FitKind, Sample, fit, fit_running};
pub use moments::Moments;
pub use running::RunningNormaliser;

/// Applies `normaliser` to the value `v` of a source about one reply.
///
/// | kind | result | unit | source |
/// |---|---|---|---|
/// | `raw` | `v` | the value's | |
/// | `centred` | `v - mean` | the value's | |
/// | `standardised` | `(v - mean) / std` | standard deviations | |
/// | `running` | `(v - mean) / std` of the moments so far, `std = sqrt(m2 / (count - 1))` | standard deviations | Welford, Technometrics 4(3), 1962 |
/// | `quantile` | `2 F(v) - 1`, within `[-1, 1]` | share of a reference set | quantile transform |
/// | `par` | `1 / (1 + exp(reference - v))`, less 1/2 if `centred` | probability | arXiv 2502.18770, equation 5 |
/// | `length_debias` | `v - slope (length - mean_length)` | the value's | arXiv 2402.07319 (ODIN), linear |
///
/// `v` is finite, and `length` is the number of Unicode scalar values of the reply. The normaliser
/// has passed [`Normaliser::check`]. The result is always finite: one beyond the range of `f64` is
/// the greatest number of its sign.
///
/// No kind reverses the order of two values (of replies of one length, for `length_debias`).
/// Without two different values `running` does not scale, because the standard deviation is 0 or
/// unknown.
///
/// ```
/// use guerdon_fusion::normalise;
/// use guerdon_types::Normaliser;
///
/// let par: Normaliser = serde_json::from_str(r#"{"kind": "par", "reference": 1.5}"#)?;
/// assert_eq!(normalise(&par, 1.5, 80), 0.5);
/// let debias = r#"{"kind": "length_debias", "slope": 0.01, "mean_length": 100}"#;
/// assert_eq!(normalise(&serde_json::from_str(debias)?, 3.0, 200), 2.0);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn normalise(normaliser: &Normaliser, value: f64, length: usize) -> f64 {
    let result = match normaliser {
        Normaliser::Centred { mean } => value - mean.get(),
        Normaliser::Standardised { mean, std } => (value - mean.get()) / std.get(),
        Normaliser::Quantile { knots } => 2.0 * quantile::share_below(knots, value) - 1.0,
        Normaliser::Par { reference, centred } => {
            let preference = (1.0 + (reference.get() - value).exp()).recip();
            if *centred { preference - 0.5 } else { preference }
        }
        #[expect(clippy::cast_precision_loss, reason = "a reply has fewer than 2^52 characters")]
        Normaliser::LengthDebias { slope, mean_length } => {
            value - slope.get() * (length as f64 - mean_length.get())
        }
        // `running` has its moments, and `raw` has none. `Normaliser` is non_exhaustive, and every
        // kind of this version is handled.
        other => match other.running_state() {
            Some(state) => Moments::from(state).standardise(value),
            None => value,
        },
    };
    finite(result)
}

#[cfg(test)]
mod laws;
