//! `guerdon plot`: draws a normaliser or a fusion as SVG. The same input gives the same bytes.
//!
//! | file | content |
//! |---|---|
//! | `normaliser.rs` | the curve of a normaliser |
//! | `fusion.rs` | rewards against points |
//! | `argument.rs` | a value that is given as an argument |
//! | `chart.rs` | a line chart as SVG |

mod argument;
mod chart;
mod fusion;
mod normaliser;

use std::path::Path;
use std::process::ExitCode;

use crate::cli::PlotCommand;
use crate::output::out;
use crate::part::replace;

pub(super) fn run(plot: &PlotCommand) -> anyhow::Result<ExitCode> {
    match plot {
        PlotCommand::Normaliser { normaliser, length, from, to, out } => {
            let range = from.zip(*to);
            write(out.as_deref(), &normaliser::chart(normaliser, *length, range)?.svg())
        }
        PlotCommand::Fusion { fusion, scores, veto, out } => {
            write(out.as_deref(), &fusion::chart(fusion, scores, *veto)?.svg())
        }
    }
}

fn write(path: Option<&Path>, svg: &str) -> anyhow::Result<ExitCode> {
    match path {
        Some(path) => replace(path, |file| Ok(file.write_all(svg.as_bytes())?))?,
        None => out!("{svg}")?,
    }
    Ok(ExitCode::SUCCESS)
}
