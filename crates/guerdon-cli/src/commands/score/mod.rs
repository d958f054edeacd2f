//! `guerdon score`: scores a file of rollouts into a file of results, one line or row each, in the
//! same order. A row that cannot be read gets a result with an error; the others are scored.
//!
//! | file or folder | content |
//! |---|---|
//! | `input/` | reads files |
//! | `rows/` | reads rows of every form as rollouts |
//! | `run_setup.rs` | the progress bar of a run, and how it stops |
//! | `settings.rs` | the settings of the requests |
//! | `numbers.rs` | the numbers of the caller that some estimators need |
//! | `engine.rs` | the engine that scores |
//! | `chunk.rs` | splits the input into requests |
//! | `job.rs` | sends the requests and takes the results |
//! | `destination.rs` | the place of the results |
//! | `file_out.rs` | a file, and the part of an unfinished run |
//! | `finished.rs` | the record of a finished run |
//! | `stream_out.rs` | standard output |
//! | `parquet_out.rs` | a Parquet file |
//! | `report.rs` | sums up errors |
//! | `offline/` | many files by parts, on any number of machines |
//! | `pairs.rs` | sums up preference pairs |
//! | `groups.rs` | sums up groups that cannot be compared |

mod chunk;
mod destination;
mod engine;
mod file_out;
mod finished;
mod groups;
mod input;
mod job;
mod numbers;
mod offline;
mod pairs;
mod parquet_out;
mod report;
mod rows;
mod run_setup;
mod settings;
mod stream_out;

pub(crate) use parquet_out::{columns_of, is_parquet, turn_columns};
use std::path::Path;
use std::process::ExitCode;

use guerdon_types::{GroupComparison, Problem, ProblemCode};

use self::chunk::RequestChunks;
use self::destination::{Destination, OutputChoice};
use self::engine::ScoringEngine;
use self::file_out::RunIdentity;
use self::input::Input;
use self::job::{Job, JobEnd};
use self::numbers::CallerNumbers;
pub(crate) use self::offline::Shard;
use self::pairs::PairTally;
use self::rows::RowOptions;
pub(crate) use self::rows::{ExtraColumns, RowForm, Thoughts};
use self::run_setup::{DRAIN, LINGER, STOP, progress};
use super::setup::runtime;
use super::signals::{ProcessSignals, StopSignal};
use crate::cli::ScoreArgs;
use crate::output::errln;

pub(super) fn run(score: &ScoreArgs) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    let code = match (&score.inputs, &score.input) {
        (Some(pattern), _) => runtime.block_on(offline::run(score, pattern)),
        (None, Some(input)) => runtime.block_on(score_file(score, input)),
        (None, None) => anyhow::bail!("name a file of rollouts, or several with --in"),
    };
    runtime.shutdown_timeout(LINGER);
    code
}

async fn score_file(score: &ScoreArgs, input: &Path) -> anyhow::Result<ExitCode> {
    let options = RowOptions {
        form: score.form,
        extra: score.extra_columns,
        thoughts: score.thoughts,
        ..RowOptions::default()
    };
    let input = Input::open(input, options)?;
    let mut template = settings::template(score, input.settings())?;
    let estimator = settings::estimator(&template)?;
    let numbers = CallerNumbers::new(score, template.advantages.as_ref(), estimator)?;
    let choice = OutputChoice::new(score, &input)?;
    let engine = ScoringEngine::new(score).await?;
    let versions = engine.versions(&template).await?;
    let digest = versions.as_ref().and_then(settings::expectation);
    let identity = RunIdentity::new(&input, &template, &numbers, versions)?;
    let pairs = PairTally::new(input.pairs.clone());
    let mut destination = choice.open(score, identity, pairs)?;
    if let Destination::File(_) = destination {
        // All results of a file come from one configuration, even if the server reloads.
        template.expect = template.expect.or(digest);
    }
    let chunks = RequestChunks::new(&input, estimator, |index| destination.is_done(index))?;

    // Until now a signal has ended the process: there was nothing to keep.
    let signals = ProcessSignals::listen(STOP)?;
    signals.working(DRAIN);
    let progress = progress(input.rollouts, destination.count());
    let mut job = Job {
        engine: &engine,
        template: &template,
        numbers: &numbers,
        chunks,
        destination: &mut destination,
        groups: GroupComparison::default(),
        progress: &progress,
        signals: &signals,
    };
    let end = tokio::select! {
        end = job.run() => end,
        () = signals.urgent() => Ok(JobEnd::Stopped),
    };
    let mut groups = job.groups.finish();
    progress.finish_and_clear();
    if !matches!(end, Ok(JobEnd::Stopped)) {
        engine.close().await;
    }
    let signal = signals.first();
    if let (Ok(JobEnd::Complete), Destination::File(file)) = (&end, &destination)
        && file.is_continued()
    {
        // The groups include the results of the earlier run.
        groups = file.compared_groups(&input)?.finish();
    }
    match end {
        Ok(end) => {
            let code = finish(end, destination, &input, signal);
            groups::print(&groups);
            code
        }
        Err(error) => {
            if let Destination::File(file) = &destination
                && let Some(kept) = file.kept()
            {
                errln!("{kept}");
            }
            Err(error)
        }
    }
}

fn finish(
    end: JobEnd,
    destination: Destination,
    input: &Input,
    signal: Option<StopSignal>,
) -> anyhow::Result<ExitCode> {
    let total = input.rollouts;
    match end {
        JobEnd::Complete => {
            let report = match destination {
                Destination::File(file) => file.finish()?,
                Destination::Stream(stream) => stream.finish()?,
            };
            report.print(total);
            Ok(if report.unscored > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        JobEnd::NoReader => Ok(match destination {
            Destination::Stream(stream) if stream.unscored() > 0 => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        }),
        JobEnd::Stopped => {
            let count = destination.count();
            match destination {
                Destination::File(file) => match file.kept() {
                    Some(kept) => errln!("stopped: {kept}"),
                    None => errln!("stopped before the first result"),
                },
                Destination::Stream(stream) => {
                    stream.finish()?;
                    errln!("stopped after {count} of {total} results");
                }
            }
            Ok(signal.map_or(ExitCode::FAILURE, |signal| signal.exit_code().into()))
        }
        JobEnd::Incomplete(error) => {
            let why = Problem::new(ProblemCode::Unscored, error.to_string());
            match destination {
                Destination::File(file) => {
                    if let Some(kept) = file.kept() {
                        errln!("{kept}");
                    }
                }
                Destination::Stream(mut stream) => {
                    stream.fill(input, &why)?;
                    stream.finish()?.print(total);
                }
            }
            Err(error)
        }
    }
}
