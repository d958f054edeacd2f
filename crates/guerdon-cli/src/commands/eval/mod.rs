//! `guerdon eval`: computes measures of methods from files of ratings, verdicts and outcomes.
//!
//! | file | content |
//! |---|---|
//! | `rows.rs` | the lines of a file |
//! | `panel.rs` | several raters: median, majority, Krippendorff's alpha |
//! | `estimate.rs` | a figure and a difference with their intervals |
//! | `proportion.rs` | proportions: Wilson's and Newcombe's intervals, the two-proportion test |
//! | `mean.rs` | means: bootstrap within a run; Student and Welch over runs |
//! | `measures.rs` | rating, excellent replies, fixes, clean fixes, outcomes |

mod estimate;
mod mean;
mod measures;
mod panel;
mod proportion;
mod rows;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};

use self::measures::{ExcellentReply, Measures};
use crate::cli::EvalArgs;
use crate::commands::setup::{read, without_mark};
use crate::output::outln;

pub(super) fn run(eval: &EvalArgs) -> anyhow::Result<ExitCode> {
    let mut rows = Vec::new();
    for input in &eval.inputs {
        let text = if input.as_os_str() == "-" {
            std::io::read_to_string(std::io::stdin().by_ref())
                .context("cannot read standard input")?
        } else {
            read(input)?
        };
        rows.extend(rows::parse(without_mark(&text), &input.display().to_string())?);
    }
    ensure!(!rows.is_empty(), "the input has no rating, verdict or outcome; see --help");
    let counted =
        measures::count(&rows, ExcellentReply { rating: eval.excellent, quorum: eval.quorum });
    let other = match &eval.against {
        Some(name) => {
            let known = || counted.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            Some(
                counted
                    .get(name)
                    .with_context(|| format!("--against {name}: the input has only {}", known()))?,
            )
        }
        None => None,
    };
    let measured: Vec<Measures> = counted
        .iter()
        .map(|(name, one)| {
            one.measures(name, other.filter(|_| eval.against.as_ref() != Some(name)))
        })
        .collect();
    if eval.json {
        outln!("{}", serde_json::to_string_pretty(&measured)?)?;
    } else {
        outln!("{}", table(&measured))?;
        if let Some(name) = &eval.against {
            outln!("\ndifference to {name}\n{}", differences(&measured))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(measured: &[Measures]) -> Table {
    let shares: BTreeSet<&String> = measured.iter().flat_map(|one| one.shares.keys()).collect();
    let mut header =
        ["method", "runs", "conv.", "cases", "raters", "rating"].map(str::to_owned).to_vec();
    header.extend(shares.iter().map(|name| (*name).clone()));
    header.extend(["alpha, ratings", "alpha, verdicts"].map(str::to_owned));
    let mut table = table_with(header);
    for one in measured {
        let counts =
            [one.runs, one.conversations, one.bad_cases, one.raters].map(|count| count.to_string());
        let alpha = |alpha: Option<f64>| {
            alpha.map_or_else(|| "-".to_owned(), |alpha| format!("{alpha:.2}"))
        };
        let mut row = vec![one.method.clone()];
        row.extend(counts);
        row.push(
            one.rating.map_or_else(|| "-".to_owned(), |it| figure(it.value, it.interval, 1.0, 2)),
        );
        row.extend(shares.iter().map(|name| {
            let it = one.shares.get(*name).copied().flatten();
            it.map_or_else(|| "-".to_owned(), |it| figure(it.value, it.interval, 100.0, 1))
        }));
        row.extend([alpha(one.rating_alpha), alpha(one.verdict_alpha)]);
        table.add_row(row);
    }
    table
}

fn differences(measured: &[Measures]) -> Table {
    let mut table =
        table_with(["method", "measure", "difference", "p"].map(str::to_owned).to_vec());
    for one in measured {
        for (name, it) in &one.against {
            let (scale, digits) = if name == "rating" { (1.0, 2) } else { (100.0, 1) };
            let p = match it.p {
                Some(p) if p < 0.001 => "< 0.001".to_owned(),
                Some(p) => format!("{p:.3}"),
                None => "-".to_owned(),
            };
            table.add_row([
                one.method.clone(),
                name.clone(),
                figure(it.value, it.interval, scale, digits),
                p,
            ]);
        }
    }
    table
}

fn table_with(header: Vec<String>) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A figure with its interval. With a scale of 100, a proportion in percent.
fn figure(value: f64, interval: Option<[f64; 2]>, scale: f64, digits: usize) -> String {
    let number = |x: f64| format!("{:.digits$}", x * scale);
    let interval = interval
        .map_or_else(String::new, |[low, high]| format!(" [{}, {}]", number(low), number(high)));
    format!("{}{interval}", number(value))
}
