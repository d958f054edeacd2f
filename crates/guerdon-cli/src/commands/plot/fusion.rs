//! Rewards of a turn against its points, for several scores of the reward model.

use anyhow::{bail, ensure};
use guerdon_fusion::{Standing, TurnSignals, fuse};
use guerdon_types::{FusionConfig, FusionMethod, FusionPatch, Vocabulary as _};

use super::argument::written;
use super::chart::{LineChart, Series};

/// The points of a line.
const POINTS: u32 = 200;

/// The most lines of a chart.
const MAX_LINES: usize = 12;

/// The chart of a fusion. The points are the rules'.
pub(super) fn chart(text: &str, scores: &[f64], vetoed: bool) -> anyhow::Result<LineChart> {
    let patch: FusionPatch = written(text, "fusion")?;
    let config = FusionConfig::default().patched(&patch)?;
    ensure!(
        (1..=MAX_LINES).contains(&scores.len()) && scores.iter().all(|score| score.is_finite()),
        "--scores takes 1 to {MAX_LINES} finite numbers"
    );
    let method = config.method.as_str();
    if config.method == FusionMethod::Hero {
        bail!("`hero` gives a reward to a sample among its group, so it has no curve over points");
    }
    let bound = config.bound.get();
    let at = |step: u32| bound * (3.0 * f64::from(step) / f64::from(POINTS) - 1.5);
    let line = |score: &f64| Series {
        name: format!("R = {score}"),
        points: (0..=POINTS)
            .filter_map(|step| {
                let mut signals = TurnSignals::default();
                signals.rm = Some(Standing::Scored(*score));
                signals.rules = Some(Standing::Scored(at(step)));
                signals.vetoed = vetoed;
                Some((at(step), fuse(&signals, &config)?))
            })
            .collect(),
    };
    let series: Vec<Series> = scores.iter().map(line).collect();
    ensure!(
        series.iter().any(|one| !one.points.is_empty()),
        "`{method}` gives these turns no reward, so there is nothing to draw"
    );
    let veto = if vetoed { ", vetoed" } else { "" };
    Ok(LineChart {
        title: format!("fusion: {method}{veto}"),
        x: "points".to_owned(),
        y: "reward".to_owned(),
        series,
    })
}
