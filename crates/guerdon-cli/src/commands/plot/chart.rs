//! A line chart as SVG. Numbers are rounded to a tenth of a pixel, so that the same chart has the
//! same bytes on every machine.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 590.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 380.0;

/// Colours that people with a colour vision deficiency can tell apart (Okabe and Ito).
const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// A line.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// Its points, in the order of drawing.
    pub(super) points: Vec<(f64, f64)>,
}

/// Lines on two axes.
#[derive(Debug)]
pub(super) struct LineChart {
    pub(super) title: String,
    /// The name of the horizontal axis.
    pub(super) x: String,
    /// The name of the vertical axis.
    pub(super) y: String,
    pub(super) series: Vec<Series>,
}

/// An axis from a value to a pixel.
struct Axis {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// An axis that covers `values`.
    fn covering(values: impl Iterator<Item = f64>, (start, end): (f64, f64)) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            (low, high) = (low.min(value), high.max(value));
        }
        if !low.is_finite() || !high.is_finite() {
            (low, high) = (0.0, 1.0);
        }
        if high - low <= f64::EPSILON * low.abs().max(1.0) {
            let margin = (0.1 * low.abs()).max(1.0);
            (low, high) = ((low - margin).max(f64::MIN), (high + margin).min(f64::MAX));
        }
        Self { low, high, start, end }
    }

    fn at(&self, value: f64) -> f64 {
        // Halved, so that a range of great numbers stays finite.
        let share = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        self.start + share * (self.end - self.start)
    }

    /// The step between ticks: 1, 2 or 5 times a power of ten, with at most 8 steps.
    fn step(&self) -> f64 {
        let rough = (self.high / 8.0 - self.low / 8.0).max(f64::MIN_POSITIVE);
        let power = 10_f64.powf(rough.log10().floor());
        let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= rough * 0.999_999);
        times.unwrap_or(10.0) * power
    }

    /// Round values on the axis.
    fn ticks(&self) -> Vec<f64> {
        let step = self.step();
        let first = (self.low / step - 1e-9).ceil();
        (0..=10)
            .map(|place| (first + f64::from(place)) * step)
            .take_while(|tick| *tick <= self.high + step * 1e-9)
            .collect()
    }
}

impl LineChart {
    /// The chart as an SVG document.
    pub(super) fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|one| one.points.iter().copied());
        let x = Axis::covering(points().map(|point| point.0), (LEFT, RIGHT));
        let y = Axis::covering(points().map(|point| point.1), (BOTTOM, TOP));
        let mut body = String::new();
        for tick in x.ticks() {
            let at = x.at(tick);
            line(&mut body, (at, TOP), (at, BOTTOM), shade(tick));
            text(&mut body, (at, BOTTOM + 18.0), "middle", &number(tick, x.step()));
        }
        for tick in y.ticks() {
            let at = y.at(tick);
            line(&mut body, (LEFT, at), (RIGHT, at), shade(tick));
            text(&mut body, (LEFT - 8.0, at + 4.0), "end", &number(tick, y.step()));
        }
        text(&mut body, (f64::midpoint(LEFT, RIGHT), BOTTOM + 40.0), "middle", &self.x);
        text(&mut body, (LEFT, TOP - 10.0), "middle", &self.y);
        for (place, series) in self.series.iter().enumerate() {
            let colour = COLOURS.get(place % COLOURS.len()).copied().unwrap_or("#000000");
            let dash = if place < COLOURS.len() { "" } else { " stroke-dasharray=\"6 3\"" };
            let mut path = String::new();
            for (value_x, value_y) in &series.points {
                // Writing to a String cannot fail.
                let _ = write!(path, "{:.1},{:.1} ", x.at(*value_x), y.at(*value_y));
            }
            let _ = writeln!(
                body,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>",
                path.trim_end()
            );
            let row = TOP + 20.0 * f64::from(u32::try_from(place).unwrap_or(u32::MAX));
            let _ = writeln!(
                body,
                "<line x1=\"{:.1}\" y1=\"{row:.1}\" x2=\"{:.1}\" y2=\"{row:.1}\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>",
                RIGHT + 16.0,
                RIGHT + 40.0
            );
            text(&mut body, (RIGHT + 46.0, row + 4.0), "start", &series.name);
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>\n{body}</svg>\n",
            escaped(&self.title)
        )
    }
}

/// The colour of a grid line: that through 0 is darker.
fn shade(tick: f64) -> &'static str {
    if tick.abs() < f64::EPSILON { "#888888" } else { "#dddddd" }
}

fn line(body: &mut String, from: (f64, f64), to: (f64, f64), stroke: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(
        body,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{stroke}\"/>"
    );
}

fn text(body: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    let words = escaped(words);
    let _ =
        writeln!(body, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}

/// A tick with as many digits as the step between ticks has.
fn number(tick: f64, step: f64) -> String {
    let tick = if tick.abs() < step * 1e-6 { 0.0 } else { tick };
    if !(1e-4..1e6).contains(&step) {
        return format!("{tick:.1e}");
    }
    let digits = (0..=5).find(|digits| step * 10_f64.powi(*digits) >= 0.999_999).unwrap_or(5);
    format!("{tick:.*}", usize::try_from(digits).unwrap_or(5))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn axis(low: f64, high: f64) -> Axis {
        Axis::covering([low, high].into_iter(), (LEFT, RIGHT))
    }

    proptest! {
        #[test]
        fn ticks_are_on_the_axis_and_few(low in -1e6..1e6f64, width in 1e-3..1e6f64) {
            let axis = axis(low, low + width);
            let ticks = axis.ticks();
            prop_assert!((2..=10).contains(&ticks.len()), "{ticks:?}");
            for tick in ticks {
                prop_assert!((LEFT - 0.1..=RIGHT + 0.1).contains(&axis.at(tick)));
            }
        }

        #[test]
        fn chart_of_any_finite_points_has_no_number_that_svg_cannot_read(
            points in prop::collection::vec(
                (prop::num::f64::NORMAL, prop::num::f64::NORMAL | prop::num::f64::ZERO), 0..6),
        ) {
            let series = Series { name: "<&>".into(), points };
            let (title, x, y) = ("t".into(), "x".into(), "y".into());
            let svg = LineChart { title, x, y, series: vec![series] }.svg();
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            prop_assert!(svg.contains("&lt;&amp;&gt;"));
        }
    }

    #[test]
    fn ticks_have_the_digits_of_their_step() {
        assert_eq!(number(0.30000000000000004, 0.1), "0.3");
        assert_eq!(number(-0.0, 5.0), "0");
        assert_eq!(number(150.0, 50.0), "150");
        assert_eq!(number(2.5, 0.25), "2.5");
        assert_eq!(axis(-1.0, 1.0).ticks(), [-1.0, -0.5, 0.0, 0.5, 1.0]);
    }
}
