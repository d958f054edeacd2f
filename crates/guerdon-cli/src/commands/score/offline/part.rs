//! Scores one range and commits its part.

use anyhow::Context as _;
use guerdon_types::{GroupComparison, ScoreRequest};
use indicatif::ProgressBar;

use super::fetch::fetch;
use super::place::{Creation, Place};
use super::plan::Plan;
use super::record::RunRecord;
use crate::commands::score::chunk::RequestChunks;
use crate::commands::score::destination::Destination;
use crate::commands::score::engine::ScoringEngine;
use crate::commands::score::file_out::{FileMode, FileOutput, OutputPaths, RunIdentity};
use crate::commands::score::input::Input;
use crate::commands::score::job::{Job, JobEnd};
use crate::commands::score::numbers::CallerNumbers;
use crate::commands::score::pairs::PairTally;
use crate::commands::score::rows::RowOptions;
use crate::commands::signals::ProcessSignals;

/// The end of one part.
pub(super) enum PartEnd {
    /// A signal asked for the end.
    Stopped,
    /// The part is in the folder.
    Done {
        rollouts: usize,
        unscored: usize,
        /// False if another worker committed it first.
        is_own: bool,
    },
}

/// The values that the parts of a run share.
pub(super) struct PartScorer<'a> {
    pub(super) engine: &'a ScoringEngine,
    pub(super) template: &'a ScoreRequest,
    pub(super) numbers: &'a CallerNumbers,
    pub(super) options: RowOptions,
    pub(super) record: &'a RunRecord,
    pub(super) input: &'a Place,
    pub(super) output: &'a Place,
    pub(super) plan: &'a Plan,
    pub(super) progress: &'a ProgressBar,
    pub(super) signals: &'a ProcessSignals,
}

impl PartScorer<'_> {
    /// Scores the range at `place`.
    ///
    /// # Errors
    /// The input cannot be read, the server does not answer, or the part cannot be written. Nothing
    /// is committed then.
    pub(super) async fn score(&self, place: usize) -> anyhow::Result<PartEnd> {
        let (range, file) = self.plan.at(place).context("there is no such range")?;
        let name = self.plan.part_name(place);
        let folder = tempfile::Builder::new().prefix("guerdon-part-").tempdir()?;
        let rows = folder.path().join("rows.jsonl");
        let origin = tokio::task::block_in_place(|| fetch(self.input, file, range, &rows))?;
        let input = Input::open(&rows, RowOptions { origin, ..self.options })
            .with_context(|| format!("{}, {name}", file.name))?;
        let target = folder.path().join("part.parquet");
        let paths =
            OutputPaths::new(&target, &input)?.context("the temporary folder has no files")?;
        let identity = RunIdentity::new(&input, self.template, self.numbers, None)?;
        let mode = FileMode { resume: false, as_table: false };
        let pairs = PairTally::new(input.pairs.clone());
        let mut output = FileOutput::open(paths, identity, mode, pairs)?;
        output.write_as_part(self.notes(place, &input)?);
        let mut destination = Destination::File(Box::new(output));
        let mut job = Job {
            engine: self.engine,
            template: self.template,
            numbers: self.numbers,
            chunks: RequestChunks::new(&input, None, |_| false)?,
            destination: &mut destination,
            groups: GroupComparison::default(),
            progress: self.progress,
            signals: self.signals,
        };
        let end = tokio::select! {
            end = job.run() => end?,
            () = self.signals.urgent() => JobEnd::Stopped,
        };
        match end {
            JobEnd::Complete => {}
            JobEnd::Stopped | JobEnd::NoReader => return Ok(PartEnd::Stopped),
            JobEnd::Incomplete(error) => return Err(error),
        }
        let unscored = match destination {
            Destination::File(output) => output.finish()?.unscored,
            Destination::Stream(_) => 0,
        };
        #[expect(clippy::disallowed_methods, reason = "a command reads the file that it made")]
        let content = std::fs::read(&target).context("cannot read the part")?;
        let created = self.output.create(&name, &content)?;
        let is_own = created == Creation::New;
        Ok(PartEnd::Done { rollouts: input.rollouts, unscored, is_own })
    }

    /// The texts at the end of a part. They follow from the input and the configuration, so that two
    /// workers write the same bytes.
    fn notes(&self, place: usize, input: &Input) -> anyhow::Result<Vec<(String, String)>> {
        let listed = self.plan.listed(place).context("there is no such range")?;
        let mut notes = vec![
            ("guerdon.input".to_owned(), serde_json::to_string(&listed)?),
            ("guerdon.rollouts".to_owned(), input.rollouts.to_string()),
        ];
        if let Some(digest) = self.record.digest() {
            notes.push(("guerdon.digest".to_owned(), digest.to_owned()));
        }
        Ok(notes)
    }
}
