//! Pairs of rewards as points, with the line where both are equal.

use maud::{Markup, html};

use super::Axis;
use crate::page::number;
use crate::summary::RewardChange;

const SIZE: f64 = 420.0;
const EDGE: f64 = 46.0;

/// The most points that are drawn: a page stays small, and more would cover each other.
const MAX_POINTS: usize = 3_000;

/// The rewards before (right) and after (up). `link` makes the address of a point.
pub(crate) fn scatter(pairs: &[RewardChange], link: impl Fn(&RewardChange) -> String) -> Markup {
    let all = || pairs.iter().flat_map(|pair| [pair.before, pair.after]);
    let x = Axis::of(all(), EDGE, SIZE - 10.0);
    let y = Axis::of(all(), SIZE - EDGE, 10.0);
    let every = pairs.len().div_ceil(MAX_POINTS).max(1);
    let low = all().fold(f64::INFINITY, f64::min);
    let high = all().fold(f64::NEG_INFINITY, f64::max);
    html! {
        svg.chart.square viewBox={ "0 0 " (SIZE) " " (SIZE) } role="group" aria-label="Rewards before and after" {
            @for tick in y.ticks(5) {
                line.grid x1=(EDGE) x2=(SIZE - 10.0) y1=(y.at(tick)) y2=(y.at(tick)) {}
                text.tick x=(EDGE - 6.0) y=(y.at(tick) + 4.0) text-anchor="end" { (number(tick)) }
                line.grid y1="10" y2=(SIZE - EDGE) x1=(x.at(tick)) x2=(x.at(tick)) {}
                text.tick x=(x.at(tick)) y=(SIZE - EDGE + 16.0) text-anchor="middle" { (number(tick)) }
            }
            @if low < high {
                line.equal x1=(x.at(low)) y1=(y.at(low)) x2=(x.at(high)) y2=(y.at(high)) {}
            }
            @for pair in pairs.iter().step_by(every) {
                @let class = if pair.before * pair.after < 0.0 { "point flipped" } else { "point" };
                a href=(link(pair)) tabindex="-1" aria-label=(pair.rollout) {
                    circle class=(class) cx=(x.at(pair.before)) cy=(y.at(pair.after)) r="3.5" {
                        title { (pair.rollout) ": " (number(pair.before)) " → " (number(pair.after)) }
                    }
                }
            }
            text.tick x=(SIZE / 2.0) y=(SIZE - 8.0) text-anchor="middle" { "reward before" }
            text.tick x="12" y=(SIZE / 2.0) text-anchor="middle" transform=(format!("rotate(-90 12 {})", SIZE / 2.0)) { "reward after" }
        }
    }
}
