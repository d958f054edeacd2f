//! `guerdon score --in PATTERN --out FOLDER`: scores many files by parts, on any number of machines.
//!
//! The input is divided into ranges. A range becomes one part, a Parquet file whose name follows
//! from the input alone. A part is committed by a write that creates and never replaces, after it
//! is complete, so that a part in the folder is whole, and two workers on one range leave one copy.
//! A worker that is killed loses the part that it was scoring.
//!
//! | file | content |
//! |---|---|
//! | `shard.rs` | the share of one worker |
//! | `place.rs` | folders |
//! | `plan.rs` | the ranges of the input, and the names of their parts |
//! | `fetch.rs` | the rows of one range |
//! | `part.rs` | scores one range and commits its part |
//! | `record.rs` | the settings that all workers of a run share |
//! | `manifest.rs` | the list of all parts |

mod fetch;
mod manifest;
mod part;
mod place;
mod plan;
mod record;
mod shard;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::ensure;

use self::part::{PartEnd, PartScorer};
use self::place::Place;
use self::plan::Plan;
use self::record::RunRecord;
pub(crate) use self::shard::Shard;
use super::engine::ScoringEngine;
use super::numbers::CallerNumbers;
use super::rows::RowOptions;
use super::run_setup::{DRAIN, STOP, progress};
use super::settings;
use crate::cli::ScoreArgs;
use crate::commands::signals::ProcessSignals;
use crate::output::errln;

/// The numbers of one worker.
#[derive(Debug, Default)]
struct Tally {
    written: usize,
    /// Parts that were there before.
    found: usize,
    /// Parts that another worker committed while this one scored them.
    raced: usize,
    rollouts: usize,
    unscored: usize,
}

/// Scores the shard of this worker.
pub(super) async fn run(score: &ScoreArgs, pattern: &str) -> anyhow::Result<ExitCode> {
    let Some(out) = score.out.as_ref().and_then(|out| out.to_str()) else {
        anyhow::bail!("--in needs --out FOLDER for the parts");
    };
    let input = Place::of_pattern(pattern)?;
    let output = Place::of_folder(out)?;
    let options = RowOptions {
        form: score.form,
        extra: score.extra_columns,
        thoughts: score.thoughts,
        ..RowOptions::default()
    };
    let plan = Plan::read(&input, score.part_rows, score.part_bytes)?;
    ensure!(!plan.ranges.is_empty(), "--in {pattern} names no rows");
    let mut template = settings::template(score, None)?;
    let engine = ScoringEngine::new(score).await?;
    let versions = engine.versions(&template).await?;
    // All parts come from one configuration, even if the server reloads.
    template.expect = template.expect.or(versions.as_ref().and_then(settings::expectation));
    let record = RunRecord::new(&plan, &template, &options, versions)?;
    record.agree(&output)?;
    let shard = score.shard.unwrap_or_default();
    let own: Vec<usize> = (0..plan.ranges.len()).filter(|place| shard.owns(*place)).collect();
    let there = output.part_names()?;
    let is_there = |place: &usize| there.contains(&plan.part_name(*place));
    let found = own.iter().filter(|place| is_there(place)).count();
    ensure!(
        found == 0 || score.resume,
        "{} has {found} of the {} parts of this shard\n  help: add --resume to score the others, or \
         name another folder",
        output.name(),
        own.len()
    );
    let signals = ProcessSignals::listen(STOP)?;
    signals.working(DRAIN);
    let left: Vec<usize> = own.iter().copied().filter(|place| !is_there(place)).collect();
    let bar = progress(plan.rows(&left), 0);
    let numbers = CallerNumbers::default();
    let scorer = PartScorer {
        engine: &engine,
        template: &template,
        numbers: &numbers,
        options,
        record: &record,
        input: &input,
        output: &output,
        plan: &plan,
        progress: &bar,
        signals: &signals,
    };
    let mut tally = Tally { found, ..Tally::default() };
    let mut outcome = Ok(false);
    for place in &left {
        match scorer.score(*place).await {
            Ok(PartEnd::Stopped) => {
                outcome = Ok(true);
                break;
            }
            Ok(PartEnd::Done { rollouts, unscored, is_own }) => {
                tally.written += usize::from(is_own);
                tally.raced += usize::from(!is_own);
                tally.rollouts += rollouts;
                tally.unscored += unscored;
            }
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    bar.finish_and_clear();
    let is_stopped = matches!(outcome, Ok(true));
    if !is_stopped {
        engine.close().await;
    }
    print(&tally, shard, own.len());
    if outcome? {
        let code = signals.first().map(|signal| signal.exit_code().into());
        return Ok(code.unwrap_or(ExitCode::FAILURE));
    }
    complete(&output, &plan, &record)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the manifest if all parts of all shards are there.
fn complete(output: &Place, plan: &Plan, record: &RunRecord) -> anyhow::Result<()> {
    let there = output.part_names()?;
    let names: BTreeSet<String> =
        (0..plan.ranges.len()).map(|place| plan.part_name(place)).collect();
    let missing = names.difference(&there).count();
    if missing > 0 {
        errln!("{missing} of {} parts belong to shards that are not complete", names.len());
        return Ok(());
    }
    manifest::write(output, plan, record)
}

fn print(tally: &Tally, shard: Shard, own: usize) {
    let Tally { written, found, raced, rollouts, unscored } = tally;
    errln!(
        "shard {shard}: {own} parts: {written} written, {found} found, {raced} committed by another \
         worker; {rollouts} rollouts scored, {unscored} of them without a reward"
    );
}
