//! The place where results go: a file with its part, or a stream.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, ensure};
use guerdon_types::RolloutResult;

use super::file_out::{FileMode, FileOutput, OutputPaths, RunIdentity};
use super::input::Input;
use super::pairs::PairTally;
use super::parquet_out::is_parquet;
use super::stream_out::StreamOutput;
use crate::cli::ScoreArgs;
use crate::output::PipeWriter;

/// The checked choice of the output, before anything is scored.
pub(super) enum OutputChoice {
    File(OutputPaths),
    Stream(PipeWriter<Box<dyn Write>>),
}

impl OutputChoice {
    /// # Errors
    /// The output cannot be written, or is the input.
    pub(super) fn new(score: &ScoreArgs, input: &Input) -> anyhow::Result<Self> {
        let Some(path) = &score.out else {
            let stdout: Box<dyn Write> = Box::new(std::io::stdout());
            return Ok(Self::Stream(PipeWriter::new(stdout, "standard output")));
        };
        if is_parquet(path) {
            ensure!(!score.table, "--table writes text, and {} is Parquet", path.display());
        }
        if let Some(paths) = OutputPaths::new(path, input)? {
            return Ok(Self::File(paths));
        }
        ensure!(!score.resume, "--resume needs a file, and {} is none", path.display());
        Ok(Self::Stream(PipeWriter::new(device(path)?, path.display().to_string())))
    }

    /// Opens the output of a run.
    pub(super) fn open(
        self,
        score: &ScoreArgs,
        identity: RunIdentity,
        pairs: PairTally,
    ) -> anyhow::Result<Destination> {
        Ok(match self {
            Self::File(paths) => {
                let mode = FileMode { resume: score.resume, as_table: score.table };
                Destination::File(Box::new(FileOutput::open(paths, identity, mode, pairs)?))
            }
            Self::Stream(sink) => {
                Destination::Stream(Box::new(StreamOutput::new(sink, score.table, pairs)))
            }
        })
    }
}

fn device(path: &Path) -> anyhow::Result<Box<dyn Write>> {
    let file = OpenOptions::new().write(true).open(path);
    Ok(Box::new(file.with_context(|| format!("cannot write {}", path.display()))?))
}

/// An open output.
pub(super) enum Destination {
    File(Box<FileOutput>),
    Stream(Box<StreamOutput>),
}

impl Destination {
    /// Returns true if an earlier run has the result of rollout `index`.
    pub(super) fn is_done(&self, index: usize) -> bool {
        match self {
            Self::File(file) => file.is_done(index),
            Self::Stream(_) => false,
        }
    }

    pub(super) fn take(&mut self, index: usize, result: RolloutResult) -> anyhow::Result<()> {
        match self {
            Self::File(file) => file.take(index, &result),
            Self::Stream(stream) => stream.take(index, result),
        }
    }

    /// Makes the results so far durable.
    pub(super) fn sync(&self) -> anyhow::Result<()> {
        match self {
            Self::File(file) => file.sync(),
            Self::Stream(_) => Ok(()),
        }
    }

    /// Returns true if nothing reads the results any more.
    pub(super) fn has_no_reader(&self) -> bool {
        match self {
            Self::File(_) => false,
            Self::Stream(stream) => stream.has_no_reader(),
        }
    }

    /// The number of results that are kept.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::File(file) => file.count(),
            Self::Stream(stream) => stream.written(),
        }
    }
}
