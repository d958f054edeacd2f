//! Sends the requests of a run one after the other and takes their results.

use std::collections::BTreeSet;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use guerdon_types::{GroupComparison, Rollout, RolloutResult, ScoreRequest};
use indicatif::ProgressBar;

use super::chunk::{Chunk, RequestChunks};
use super::destination::Destination;
use super::engine::{EngineError, ScoringEngine};
use super::input::without_reward;
use super::numbers::CallerNumbers;
use crate::commands::signals::ProcessSignals;

/// Times that a request is sent. It is sent again if its reply was cut; the client itself repeats a
/// request without a reply.
const SENDS: usize = 3;

/// Requests that fail one after the other before the run gives up.
const FAILURES: usize = 3;

/// The end of a run.
pub(super) enum JobEnd {
    /// Every rollout has a result.
    Complete,
    /// A signal asked for the end.
    Stopped,
    /// Nothing reads the results.
    NoReader,
    /// The server did not answer for some rollouts.
    Incomplete(anyhow::Error),
}

/// A run.
pub(super) struct Job<'a> {
    pub(super) engine: &'a ScoringEngine,
    /// The request without its rollouts.
    pub(super) template: &'a ScoreRequest,
    pub(super) numbers: &'a CallerNumbers,
    pub(super) chunks: RequestChunks<'a>,
    pub(super) destination: &'a mut Destination,
    /// The groups of the rollouts that this run scored.
    pub(super) groups: GroupComparison,
    pub(super) progress: &'a ProgressBar,
    pub(super) signals: &'a ProcessSignals,
}

/// The failure of one request.
enum ChunkError {
    Engine(EngineError),
    /// The output failed, or the reply has an unexpected form.
    Fatal(anyhow::Error),
}

impl From<EngineError> for ChunkError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<anyhow::Error> for ChunkError {
    fn from(error: anyhow::Error) -> Self {
        Self::Fatal(error)
    }
}

impl Job<'_> {
    /// Runs until the end of the input.
    ///
    /// # Errors
    /// The server refuses a request, or the input or the output fails.
    pub(super) async fn run(&mut self) -> anyhow::Result<JobEnd> {
        let mut failure = None;
        let mut failures = 0;
        loop {
            if self.signals.first().is_some() {
                return Ok(JobEnd::Stopped);
            }
            let Some(chunk) = self.chunks.next(|index| self.destination.is_done(index))? else {
                break;
            };
            let outcome = self.score(chunk).await;
            self.destination.sync()?;
            if self.destination.has_no_reader() {
                return Ok(JobEnd::NoReader);
            }
            match outcome {
                Ok(()) => failures = 0,
                Err(ChunkError::Engine(error)) if error.is_transient() => {
                    failures += 1;
                    let ends = error.is_unreachable() || failures == FAILURES;
                    failure = failure.or(Some(error));
                    if ends {
                        break;
                    }
                }
                Err(ChunkError::Engine(error)) => return Err(error.into()),
                Err(ChunkError::Fatal(error)) => return Err(error),
            }
        }
        Ok(failure.map_or(JobEnd::Complete, |error| JobEnd::Incomplete(error.into())))
    }

    async fn score(&mut self, mut chunk: Chunk) -> Result<(), ChunkError> {
        let mut left: BTreeSet<usize> = (0..chunk.rollouts.len()).collect();
        let mut sent = 0;
        while !left.is_empty() {
            sent += 1;
            match self.send(&mut chunk, &mut left).await {
                Ok(()) => {}
                Err(ChunkError::Engine(error)) if error.is_cut() && sent < SENDS => {
                    left = whole_groups(&chunk, &left);
                }
                Err(ChunkError::Engine(error)) => {
                    let Some(problem) = error.too_large() else { return Err(error.into()) };
                    let Some(unsplit) = self.chunks.split(chunk) else { return Ok(()) };
                    if unsplit.rollouts.len() != 1 {
                        return Err(error.into());
                    }
                    chunk = unsplit;
                    for (line, rollout) in chunk.lines.iter().zip(&chunk.rollouts) {
                        let id = rollout.id.clone().unwrap_or_else(|| line.to_string().into());
                        self.take(*line, without_reward(id, problem.clone()))?;
                    }
                    break;
                }
                fatal => return fatal,
            }
            if self.destination.has_no_reader() {
                return Ok(());
            }
        }
        self.take_refused(&mut chunk)?;
        Ok(())
    }

    /// Sends the rollouts that are left.
    async fn send(
        &mut self,
        chunk: &mut Chunk,
        left: &mut BTreeSet<usize>,
    ) -> Result<(), ChunkError> {
        let asked: Vec<usize> = left.iter().copied().collect();
        let rollouts: Vec<Rollout> =
            asked.iter().filter_map(|place| chunk.rollouts.get(*place)).cloned().collect();
        let lines: Vec<usize> =
            asked.iter().filter_map(|place| chunk.lines.get(*place)).copied().collect();
        let advantages = self.numbers.of(self.template, &lines, &rollouts)?;
        let request = ScoreRequest { rollouts, advantages, ..self.template.clone() };
        let mut results = self.engine.stream(&request).await?;
        drop(request);
        while let Some(result) = results.next().await {
            let (index, result) = result?;
            // Not before the first result: a request that is refused writes nothing.
            self.take_refused(chunk)?;
            let place = asked.get(index).context("the server answered for no rollout")?;
            let line = chunk.lines.get(*place).context("the server answered for no rollout")?;
            // A result that was sent again is compared once.
            if let Some(group) = chunk.rollouts.get(*place).and_then(|one| one.group.as_ref())
                && !self.destination.is_done(*line)
            {
                self.groups.add(*line, group, &result);
            }
            self.take(*line, result)?;
            left.remove(place);
            if self.destination.has_no_reader() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn take(&mut self, line: usize, result: RolloutResult) -> anyhow::Result<()> {
        if !self.destination.is_done(line) {
            self.progress.inc(1);
        }
        self.destination.take(line, result)
    }

    fn take_refused(&mut self, chunk: &mut Chunk) -> anyhow::Result<()> {
        chunk.refused.drain(..).try_for_each(|(line, result)| self.take(line, result))
    }
}

/// The rollouts that are left, and with advantages all rollouts of their groups: advantages compare
/// rollouts of one request.
fn whole_groups(chunk: &Chunk, left: &BTreeSet<usize>) -> BTreeSet<usize> {
    let Some(groups) = &chunk.groups else { return left.clone() };
    let open: BTreeSet<usize> =
        left.iter().filter_map(|place| groups.get(*place)).copied().collect();
    let is_open = |(place, group): (usize, &usize)| open.contains(group).then_some(place);
    groups.iter().enumerate().filter_map(is_open).collect()
}
