//! Lines and bands over the columns of a run.

use maud::{Markup, html};

use super::Axis;
use crate::page::number;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// One column: its place on the axis, its tooltip, and the page that it links to.
pub(crate) struct Column {
    pub(crate) x: i64,
    pub(crate) title: String,
    pub(crate) link: Option<String>,
}

/// A line with a gap where a number is missing.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) class: String,
    pub(crate) numbers: Vec<Option<f64>>,
}

/// The area between two numbers of each column.
pub(crate) struct Band {
    pub(crate) class: &'static str,
    pub(crate) ranges: Vec<Option<(f64, f64)>>,
}

/// A chart over columns.
pub(crate) struct SeriesChart {
    /// A description of the chart, for readers who cannot see it.
    pub(crate) label: String,
    pub(crate) height: f64,
    pub(crate) columns: Vec<Column>,
    pub(crate) bands: Vec<Band>,
    pub(crate) lines: Vec<Line>,
    /// Columns with a vertical line, and its text.
    pub(crate) markers: Vec<(i64, String)>,
    /// True if the numbers are shares, shown in percent from 0.
    pub(crate) is_share: bool,
}

impl SeriesChart {
    pub(crate) fn draw(&self) -> Markup {
        let bottom = self.height - BOTTOM;
        let x = Axis::of(self.columns.iter().map(|column| as_f64(column.x)), LEFT, WIDTH - RIGHT);
        let numbers = self.lines.iter().flat_map(|line| line.numbers.iter().copied().flatten());
        let ranges = self.bands.iter().flat_map(|band| band.ranges.iter().copied().flatten());
        let zero = self.is_share.then_some([0.0, 0.05]).into_iter().flatten();
        let all = numbers.chain(ranges.flat_map(|(low, high)| [low, high])).chain(zero);
        let y = Axis::of(all, bottom, TOP);
        html! {
            svg.chart viewBox={ "0 0 " (WIDTH) " " (self.height) } role="group" aria-label=(self.label) {
                @for tick in y.ticks(4) {
                    line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y.at(tick)) y2=(y.at(tick)) {}
                    text.tick x=(LEFT - 8.0) y=(y.at(tick) + 4.0) text-anchor="end" { (self.tick(tick)) }
                }
                @for tick in x.ticks(8).into_iter().filter(|tick| tick.fract() == 0.0) {
                    text.tick x=(x.at(tick)) y=(self.height - 8.0) text-anchor="middle" { (number(tick)) }
                }
                @for band in &self.bands { @for area in self.areas(band, &x, &y) {
                    polygon class={ "band " (band.class) } points=(area) {}
                } }
                @for line in &self.lines {
                    @for run in self.runs(line, &x, &y) {
                        @if let [(x, y)] = run[..] {
                            circle class={ "dot " (line.class) } cx=(x) cy=(y) r="2.5" {}
                        } @else {
                            polyline class={ "line " (line.class) } points=(points(&run)) {}
                        }
                    }
                }
                @for (place, title) in &self.markers {
                    g.marker {
                        title { (title) }
                        line x1=(x.at(as_f64(*place))) x2=(x.at(as_f64(*place))) y1=(TOP) y2=(bottom) {}
                        path d=(format!("M{0} {1}l5 -7h-10z", x.at(as_f64(*place)), TOP + 4.0)) {}
                    }
                }
                (self.hover(&x, bottom))
            }
        }
    }

    fn tick(&self, tick: f64) -> String {
        if self.is_share { format!("{} %", number(tick * 100.0)) } else { number(tick) }
    }

    /// A transparent target for each column, with its tooltip and its link.
    fn hover(&self, x: &Axis, bottom: f64) -> Markup {
        let places: Vec<f64> = self.columns.iter().map(|column| x.at(as_f64(column.x))).collect();
        let border = |place: usize, other: Option<usize>, end: f64| {
            let own = places.get(place).copied().unwrap_or(end);
            other
                .and_then(|other| places.get(other))
                .map_or(end, |other| f64::midpoint(own, *other))
        };
        html! {
            @for (place, column) in self.columns.iter().enumerate() {
                @let start = border(place, place.checked_sub(1), LEFT);
                @let end = border(place, Some(place + 1), WIDTH - RIGHT);
                @let target = html! {
                    rect.target x=(start) y=(TOP) width=((end - start).max(0.5)) height=(bottom - TOP) {
                        title { (column.title) }
                    }
                };
                @if let Some(link) = &column.link {
                    a href=(link) aria-label=(column.title) { (target) }
                } @else { (target) }
            }
        }
    }

    /// The stretches of a line between gaps.
    fn runs(&self, line: &Line, x: &Axis, y: &Axis) -> Vec<Vec<(f64, f64)>> {
        let mut runs = vec![Vec::new()];
        for (column, number) in self.columns.iter().zip(&line.numbers) {
            match (number, runs.last_mut()) {
                (Some(number), Some(run)) => run.push((x.at(as_f64(column.x)), y.at(*number))),
                _ => runs.push(Vec::new()),
            }
        }
        runs.retain(|run| !run.is_empty());
        runs
    }

    fn areas(&self, band: &Band, x: &Axis, y: &Axis) -> Vec<String> {
        let mut areas: Vec<Vec<(f64, f64, f64)>> = vec![Vec::new()];
        for (column, range) in self.columns.iter().zip(&band.ranges) {
            match (range, areas.last_mut()) {
                (Some((low, high)), Some(area)) => {
                    area.push((x.at(as_f64(column.x)), y.at(*low), y.at(*high)));
                }
                _ => areas.push(Vec::new()),
            }
        }
        areas.retain(|area| area.len() > 1);
        let outline = |area: Vec<(f64, f64, f64)>| {
            let above = area.iter().map(|(x, _, high)| (*x, *high));
            let below = area.iter().rev().map(|(x, low, _)| (*x, *low));
            points(&above.chain(below).collect::<Vec<_>>())
        };
        areas.into_iter().map(outline).collect()
    }
}

fn points(points: &[(f64, f64)]) -> String {
    let texts: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
    texts.join(" ")
}

#[expect(clippy::cast_precision_loss, reason = "a step is far below 2^52")]
const fn as_f64(step: i64) -> f64 {
    step as f64
}
