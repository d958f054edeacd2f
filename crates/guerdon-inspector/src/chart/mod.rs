//! Charts as SVG. Colours and strokes are in the style sheet, so that they follow dark and light.

mod axis;
mod bar;
mod scatter;
mod series;

pub(crate) use axis::Axis;
pub(crate) use bar::{bar_cell, spark};
pub(crate) use scatter::scatter;
pub(crate) use series::{Band, Column, Line, SeriesChart};
