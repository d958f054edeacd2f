//! Small charts in the cells of tables.

use maud::{Markup, html};

use super::Axis;

const WIDTH: f64 = 220.0;
const HEIGHT: f64 = 16.0;

/// A bar from `from` to `to` on the common scale of a table: `all` has the ends of all its bars.
pub(crate) fn bar_cell(from: f64, to: f64, all: &[f64], class: &str) -> Markup {
    let axis = Axis::of(all.iter().copied().chain([0.0]), 2.0, WIDTH - 2.0);
    let (start, end) = (axis.at(from.min(to)), axis.at(from.max(to)));
    let zero = axis.at(0.0);
    html! {
        svg.bar viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) height=(HEIGHT) aria-hidden="true" {
            line.zero x1=(zero) x2=(zero) y1="0" y2=(HEIGHT) {}
            rect class=(class) x=(start) y="3" width=((end - start).max(1.5)) height="10" rx="2" {}
        }
    }
}

/// A line of numbers, without axes.
pub(crate) fn spark(numbers: &[Option<f64>], label: &str) -> Markup {
    let known = || numbers.iter().copied().flatten();
    let x = Axis::of([0.0, as_f64(numbers.len().saturating_sub(1))].into_iter(), 2.0, 118.0);
    let y = Axis::of(known(), 22.0, 2.0);
    let points: Vec<String> = numbers
        .iter()
        .enumerate()
        .filter_map(|(place, number)| Some(format!("{},{}", x.at(as_f64(place)), y.at((*number)?))))
        .collect();
    html! {
        svg.spark viewBox="0 0 120 24" width="120" height="24" role="img" aria-label=(label) {
            polyline points=(points.join(" ")) {}
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a chart has few points")]
const fn as_f64(count: usize) -> f64 {
    count as f64
}
