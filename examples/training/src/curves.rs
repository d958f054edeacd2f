//! Curves of a run or of a study, as one SVG.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

/// One plot among several.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Panel {
    /// The title, with the unit.
    pub title: String,
    /// The curves.
    pub lines: Vec<Curve>,
}

/// A curve, by update.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Update and figure.
    pub points: Vec<(f64, f64)>,
    /// Update, lower and upper bound, drawn as a band.
    pub band: Vec<(f64, f64, f64)>,
}

const COLOURS: [RGBColor; 7] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
    RGBColor(23, 190, 207),
    RGBColor(127, 127, 127),
];

/// Draws the panels, three in a row. Panels without a point are left out.
///
/// # Errors
/// The errors of plotters and of the file system.
pub fn draw(file: &Path, panels: &[Panel]) -> anyhow::Result<()> {
    let panels: Vec<&Panel> = panels
        .iter()
        .filter(|panel| panel.lines.iter().any(|line| !line.points.is_empty()))
        .collect();
    let rows = panels.len().div_ceil(3).max(1);
    let mut svg = String::new();
    let draw_error = |error: String| anyhow!("cannot draw {}: {error}", file.display());
    {
        let height = u32::try_from(rows).unwrap_or(1) * 260;
        let area = SVGBackend::with_string(&mut svg, (1140, height)).into_drawing_area();
        area.fill(&WHITE).map_err(|error| draw_error(error.to_string()))?;
        for (panel, area) in panels.iter().zip(area.split_evenly((rows, 3))) {
            draw_one(panel, &area).map_err(|error| draw_error(error.to_string()))?;
        }
        area.present().map_err(|error| draw_error(error.to_string()))?;
    }
    crate::files::write(file, svg.as_bytes())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// The height of the strip below a plot that has its legend, so that no curve is covered.
const LEGEND: u32 = 20;

fn draw_one(panel: &Panel, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let (width, height) = area.dim_in_pixel();
    let (plot, legend) = area.split_vertically(height.saturating_sub(LEGEND));
    let xs = || panel.lines.iter().flat_map(|line| line.points.iter().map(|point| point.0));
    let bounds =
        |line: &Curve| line.band.iter().flat_map(|band| [band.1, band.2]).collect::<Vec<_>>();
    let ys =
        || panel.lines.iter().flat_map(|line| line.points.iter().map(|p| p.1).chain(bounds(line)));
    let (x0, x1) = range(xs(), 0.0);
    let (y0, y1) = range(ys(), 0.05);
    let mut chart = ChartBuilder::on(&plot)
        .caption(&panel.title, ("sans-serif", 14))
        .margin(8)
        .margin_bottom(0)
        .x_label_area_size(34)
        .y_label_area_size(46)
        .build_cartesian_2d(x0..x1, y0..y1)?;
    chart
        .configure_mesh()
        .x_desc("update")
        .x_labels(6)
        .y_labels(5)
        .x_label_formatter(&|x| tick(*x))
        .y_label_formatter(&|y| tick(*y))
        .light_line_style(WHITE)
        .draw()?;
    let share = i32::try_from(width / u32::try_from(panel.lines.len().max(1))?)?;
    for (at, (line, colour)) in (0_i32..).zip(panel.lines.iter().zip(COLOURS.into_iter().cycle())) {
        let up = line.band.iter().map(|band| (band.0, band.2));
        let outline: Vec<(f64, f64)> =
            up.chain(line.band.iter().rev().map(|band| (band.0, band.1))).collect();
        if outline.len() > 2 {
            chart.draw_series([Polygon::new(outline, colour.mix(0.15))])?;
        }
        chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
        if panel.lines.len() > 1 {
            let (left, middle) = (12 + at * (share - 4), 8);
            let stroke = [(left, middle), (left + 12, middle)];
            legend.draw(&PathElement::new(stroke, colour.stroke_width(2)))?;
            legend.draw(&Text::new(line.name.clone(), (left + 16, 2), ("sans-serif", 11)))?;
        }
    }
    Ok(())
}

/// The label of a tick, without a minus before 0 and without digits that say nothing.
fn tick(x: f64) -> String {
    let text = format!("{x:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// The range of some numbers, widened by the share `margin`; never empty.
fn range(of: impl Iterator<Item = f64>, margin: f64) -> (f64, f64) {
    let (low, high) =
        of.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let pad = (high - low) * margin;
    if high - low > 1e-9 { (low - pad, high + pad) } else { (low.min(0.0), high.max(low + 1.0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_panel_with_a_point_is_drawn_with_its_legend() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("curves.svg");
        let line = |name: &str| Curve {
            name: name.to_owned(),
            points: vec![(1.0, 0.5), (2.0, 0.7)],
            band: vec![(1.0, 0.4, 0.6), (2.0, 0.6, 0.8)],
        };
        let flat = Curve { points: vec![(1.0, 3.0)], ..Curve::default() };
        let panels = [
            Panel { title: "reward".into(), lines: vec![line("repo"), line("grpo")] },
            Panel { title: "flat".into(), lines: vec![flat] },
            Panel { title: "nothing".into(), lines: vec![Curve::default()] },
        ];
        draw(&file, &panels).unwrap();
        let svg = crate::files::read(&file).unwrap();
        for word in ["<svg", "reward", "repo", "grpo", "flat", "<polygon"] {
            assert!(svg.contains(word), "no {word}");
        }
        assert!(!svg.contains("nothing"));
    }

    /// The names of curves are below the plot's frame, however the curves run.
    #[test]
    fn legends_are_outside_the_plots() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("curves.svg");
        let line = |name: &str, low: f64| Curve {
            name: name.to_owned(),
            points: (0..9).map(|x| (f64::from(x), low)).collect(),
            ..Curve::default()
        };
        let panel = Panel {
            title: "reward".into(),
            lines: vec![line("first arm", 0.0), line("second arm", 1.0)],
        };
        draw(&file, &[panel]).unwrap();
        let svg = crate::files::read(&file).unwrap();
        // A curve has nine points; axes and the legend's strokes have two.
        let curves = svg.split('<').filter_map(|tag| {
            let points = tag.strip_prefix("polyline")?.split("points=\"").nth(1)?;
            let numbers =
                points.split('"').next()?.split([' ', ',']).filter_map(|x| x.parse().ok());
            Some(numbers.collect::<Vec<f64>>()).filter(|numbers| numbers.len() >= 18)
        });
        let lowest_point = curves
            .flatten()
            .collect::<Vec<_>>()
            .chunks(2)
            .map(|point| point[1])
            .fold(0.0, f64::max);
        assert!(lowest_point > 0.0);
        let legend = svg.split("<text").filter(|tag| tag.contains(" arm")).map(|tag| {
            tag.split("y=\"").nth(1).unwrap().split('"').next().unwrap().parse::<f64>().unwrap()
        });
        let legend: Vec<f64> = legend.collect();
        assert_eq!(legend.len(), 2);
        assert!(legend.iter().all(|y| *y > lowest_point), "{legend:?} {lowest_point}");
    }

    #[test]
    fn ticks_have_no_minus_zero() {
        assert_eq!([-0.0, 0.25, -1.5, 40.0].map(tick), ["0", "0.25", "-1.5", "40"]);
    }
}
