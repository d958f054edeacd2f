//! The curve of a normaliser.

use anyhow::ensure;
use guerdon_fusion::{Moments, normalise};
use guerdon_types::{Finite, Normaliser, NormaliserConfig};

use super::argument::written;
use super::chart::{LineChart, Series};

/// The points of a curve.
const POINTS: u32 = 240;

/// The chart of a normaliser over `range`, or over a range that its numbers suggest.
pub(super) fn chart(
    text: &str,
    length: usize,
    range: Option<(f64, f64)>,
) -> anyhow::Result<LineChart> {
    let config: NormaliserConfig = written(text, "normaliser")?;
    let normaliser = config.resolve(None)?;
    let (low, high) = range.unwrap_or_else(|| usual(&normaliser));
    ensure!(
        low.is_finite() && high.is_finite() && low < high,
        "--from {low} must be below --to {high}"
    );
    let at = |step: u32| low + (high - low) * f64::from(step) / f64::from(POINTS);
    let points = (0..=POINTS).map(|step| (at(step), normalise(&normaliser, at(step), length)));
    let series = Series { name: normaliser.kind().to_owned(), points: points.collect() };
    Ok(LineChart {
        title: format!("normalise: {}", normaliser.kind()),
        x: "value of the source".to_owned(),
        y: "number in the fusion".to_owned(),
        series: vec![series],
    })
}

/// The range of values around the numbers of a normaliser.
fn usual(normaliser: &Normaliser) -> (f64, f64) {
    let around = |middle: Finite, width: f64| (middle.get() - width, middle.get() + width);
    match normaliser {
        Normaliser::Centred { mean } => around(*mean, 4.0),
        Normaliser::Standardised { mean, std } => around(*mean, 4.0 * std.get()),
        Normaliser::Running { mean, .. } => {
            let moments = normaliser.running_state().map(Moments::from).unwrap_or_default();
            let std = moments.std().filter(|std| *std > 0.0);
            around(*mean, 4.0 * std.unwrap_or(1.0))
        }
        Normaliser::Quantile { knots } => {
            let edge = |knot: Option<&Finite>| knot.map_or(0.0, |knot| knot.get());
            let (low, high) = (edge(knots.first()), edge(knots.last()));
            let margin = 0.1 * (high - low);
            (low - margin, high + margin)
        }
        Normaliser::Par { reference, .. } => around(*reference, 6.0),
        _ => (-4.0, 4.0),
    }
}
