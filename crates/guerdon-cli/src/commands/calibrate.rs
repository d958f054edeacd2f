//! `guerdon judge calibrate`: measures a judge's agreement with people.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use guerdon_judge::{BootstrapEstimate, CalibrationReport, Gold, LabelAgreement};

use super::setup::read;
use super::workbench::{compiled, source};
use crate::cli::CalibrateArgs;
use crate::output::outln;
use crate::part::replace;

pub(super) async fn run(calibrate: &CalibrateArgs) -> anyhow::Result<ExitCode> {
    let gold = Gold::read(&text(&calibrate.gold)?)
        .with_context(|| format!("{} cannot be used", calibrate.gold.display()))?;
    let prompts = compiled(std::slice::from_ref(&calibrate.prompt))?;
    let labels = prompts
        .label_agreement(&gold)
        .with_context(|| format!("{} does not fit the prompt", calibrate.gold.display()))?;
    if calibrate.labels_only {
        ensure!(
            !labels.is_empty(),
            "{} has no second labels; add `\"second\": {{…}}` to its lines",
            calibrate.gold.display()
        );
        if calibrate.json {
            outln!("{}", serde_json::to_string_pretty(&labels)?)?;
        } else {
            outln!("two labellings of {}\n{}", calibrate.gold.display(), label_table(&labels))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let source = source(prompts, &calibrate.judge)?;
    let calibration =
        source.calibrate(&gold, calibrate.repeats).await.context("no prompt was given")?;
    if calibrate.json {
        outln!("{}", serde_json::to_string_pretty(&calibration)?)?;
    } else {
        outln!("{} by {}\n{}", calibration.prompt, calibration.model, table(&calibration))?;
        if !calibration.labels.is_empty() {
            outln!("two labellings of the gold items\n{}", label_table(&calibration.labels))?;
        }
    }
    if let Some(svg) = &calibrate.svg {
        replace(svg, |file| Ok(file.write_all(calibration.svg().as_bytes())?))?;
    }
    if calibrate.stamp {
        let stamped = calibration.stamped(&read(&calibrate.prompt)?).context(
            "nothing to write into the prompt: no kappa is defined, or the file changed in between",
        )?;
        replace(&calibrate.prompt, |file| Ok(file.write_all(stamped.as_bytes())?))?;
    }
    let answered: usize = calibration.measured.iter().map(|one| one.items).sum();
    ensure!(answered > 0, "the judge answered none of the labelled items");
    Ok(ExitCode::SUCCESS)
}

fn text(path: &Path) -> anyhow::Result<String> {
    if path.extension().is_none_or(|extension| extension != "gz") {
        return read(path);
    }
    let cannot = || format!("cannot read {}", path.display());
    let mut text = String::new();
    let file = File::open(path).with_context(cannot)?;
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).with_context(cannot)?;
    Ok(text)
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

/// A number with its interval.
fn measure(measure: BootstrapEstimate) -> String {
    match (measure.value, measure.interval) {
        (Some(value), Some((low, high))) => format!("{value:.2} [{low:.2}, {high:.2}]"),
        (value, _) => share(value),
    }
}

fn with_columns(names: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(names);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn label_table(labels: &[LabelAgreement]) -> Table {
    let mut table = with_columns(&["", "n", "agreement", "kappa", "weighted"]);
    for one in labels {
        table.add_row([
            one.name.clone(),
            one.items.to_string(),
            measure(one.agreement),
            measure(one.kappa),
            measure(one.weighted_kappa),
        ]);
    }
    table
}

fn table(calibration: &CalibrationReport) -> Table {
    let mut table = with_columns(&[
        "",
        "n",
        "abst.",
        "agreement",
        "kappa",
        "weighted",
        "flips",
        "length",
        "position",
    ]);
    for one in &calibration.measured {
        table.add_row([
            one.name.clone(),
            one.items.to_string(),
            one.abstained.to_string(),
            measure(one.agreement),
            measure(one.kappa),
            measure(one.weighted_kappa),
            share(one.flip_rate),
            share(one.length_bias),
            share(one.position_bias),
        ]);
    }
    table
}
