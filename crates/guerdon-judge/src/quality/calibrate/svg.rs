//! SVG chart of kappa by criterion: a dot on an axis from −1 to 1, with the interval as a bar.

use std::fmt::Write as _;

use super::report::CalibrationReport;

const LEFT: f64 = 220.0;
const WIDTH: f64 = 400.0;
const ROW: f64 = 28.0;

impl CalibrationReport {
    /// An SVG chart of kappa by criterion, with intervals.
    #[must_use]
    pub fn svg(&self) -> String {
        draw_chart(self)
    }
}

fn draw_chart(calibration: &CalibrationReport) -> String {
    let at = |kappa: f64| LEFT + (kappa.clamp(-1.0, 1.0) + 1.0) / 2.0 * WIDTH;
    let mut rows = String::new();
    let mut y = 60.0;
    for one in &calibration.measured {
        let middle = y + ROW / 2.0;
        let name = escaped(&one.name);
        // Writing to a String cannot fail.
        let _ = write!(
            rows,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>",
            LEFT - 12.0,
            middle + 4.0
        );
        if let Some((low, high)) = one.kappa.interval {
            let (low, high) = (at(low), at(high));
            let _ = write!(
                rows,
                "<line x1=\"{low:.1}\" y1=\"{middle}\" x2=\"{high:.1}\" y2=\"{middle}\" stroke=\"#7a9\" stroke-width=\"6\"/>"
            );
        }
        match one.kappa.value {
            Some(kappa) => {
                let x = at(kappa);
                let _ =
                    write!(rows, "<circle cx=\"{x:.1}\" cy=\"{middle}\" r=\"5\" fill=\"#245\"/>");
                let (x, y) = (LEFT + WIDTH + 12.0, middle + 4.0);
                let _ =
                    write!(rows, "<text x=\"{x}\" y=\"{y}\">{kappa:.2} (n = {})</text>", one.items);
            }
            None => {
                let (x, y) = (LEFT + WIDTH + 12.0, middle + 4.0);
                let _ = write!(
                    rows,
                    "<text x=\"{x}\" y=\"{y}\">not defined (n = {})</text>",
                    one.items
                );
            }
        }
        y += ROW;
    }
    let mut axis = String::new();
    for tick in [-1.0, -0.5, 0.0, 0.5, 1.0] {
        let x = at(tick);
        let _ = write!(
            axis,
            "<line x1=\"{x}\" y1=\"56\" x2=\"{x}\" y2=\"{y}\" stroke=\"#ccc\"/><text x=\"{x}\" y=\"50\" text-anchor=\"middle\">{tick}</text>"
        );
    }
    let title = escaped(&format!("{}: Cohen's kappa, {}", calibration.prompt, calibration.model));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"800\" height=\"{}\" font-family=\"sans-serif\" font-size=\"13\">\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{title}</text>{axis}{rows}</svg>\n",
        y + 20.0
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
