//! Results on standard output or a pipe: in the order of the input, each as soon as all results
//! before it have arrived.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};

use anyhow::Context as _;
use guerdon_types::{Problem, RolloutResult};

use super::input::{Input, InputEntry, without_reward};
use super::pairs::PairTally;
use super::report::ErrorReport;
use crate::commands::table::table;
use crate::output::PipeWriter;

/// Writes results in order.
pub(super) struct StreamOutput {
    sink: BufWriter<PipeWriter<Box<dyn Write>>>,
    /// The results of a table, which is printed at the end.
    kept: Option<Vec<RolloutResult>>,
    waiting: BTreeMap<usize, RolloutResult>,
    next: usize,
    report: ErrorReport,
}

impl StreamOutput {
    pub(super) fn new(sink: PipeWriter<Box<dyn Write>>, as_table: bool, pairs: PairTally) -> Self {
        Self {
            sink: BufWriter::new(sink),
            kept: as_table.then(Vec::new),
            waiting: BTreeMap::new(),
            next: 0,
            report: ErrorReport::new(pairs),
        }
    }

    pub(super) fn take(&mut self, index: usize, result: RolloutResult) -> anyhow::Result<()> {
        // A result that was repeated after a broken connection.
        if index < self.next {
            return Ok(());
        }
        self.waiting.insert(index, result);
        let mut is_written = false;
        while let Some(result) = self.waiting.remove(&self.next) {
            self.write(result)?;
            is_written = true;
        }
        if is_written { self.flush() } else { Ok(()) }
    }

    fn write(&mut self, result: RolloutResult) -> anyhow::Result<()> {
        self.next += 1;
        self.report.note(&result);
        if let Some(kept) = &mut self.kept {
            kept.push(result);
            return Ok(());
        }
        serde_json::to_writer(&mut self.sink, &result).map_err(std::io::Error::from)?;
        Ok(self.sink.write_all(b"\n")?)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.sink.flush()?)
    }

    /// Returns true once the reader has closed the pipe.
    pub(super) fn has_no_reader(&self) -> bool {
        self.sink.get_ref().is_closed()
    }

    /// The number of results that were written.
    pub(super) const fn written(&self) -> usize {
        self.next
    }

    /// The number of written results without a reward.
    pub(super) const fn unscored(&self) -> usize {
        self.report.unscored
    }

    /// Writes a result without a reward for every rollout that has no result, for the reason `why`.
    pub(super) fn fill(&mut self, input: &Input, why: &Problem) -> anyhow::Result<()> {
        let mut entries = input.entries()?;
        while let Some(entry) = entries.next()? {
            if entry.index == self.next {
                let result = self.waiting.remove(&self.next);
                self.write(result.unwrap_or_else(|| unanswered(entry, why)))?;
            }
        }
        Ok(())
    }

    /// Ends the output.
    pub(super) fn finish(mut self) -> anyhow::Result<ErrorReport> {
        if let Some(kept) = self.kept.as_ref().filter(|kept| !kept.is_empty()) {
            writeln!(self.sink, "{}", table(kept))?;
        }
        self.flush().context("cannot write the results")?;
        Ok(self.report)
    }
}

/// The result of an entry without an answer.
fn unanswered(entry: InputEntry, why: &Problem) -> RolloutResult {
    match entry.rollout {
        Ok(rollout) => {
            let id = rollout.id.unwrap_or_else(|| entry.index.to_string().into());
            without_reward(id, why.clone())
        }
        Err(result) => *result,
    }
}
