//! Splits the input into requests.

use std::collections::{HashMap, VecDeque};

use anyhow::bail;
use guerdon_client::optim::RolloutEstimator;
use guerdon_types::{Rollout, RolloutResult};

use super::input::{Entries, Input, InputEntry};

/// Rollouts per request: few enough for the limits of any server and the deadline of a slow judge.
const CHUNK: usize = 128;

/// Text per request, in bytes; a rollout that is larger is a request of its own.
const CHUNK_BYTES: usize = 16 << 20;

/// The rollouts of one request, and entries of the input that cannot be scored.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The index of each rollout in the input.
    pub(super) lines: Vec<usize>,
    pub(super) rollouts: Vec<Rollout>,
    /// With advantages: a number for the group of each rollout. Groups are scored whole.
    pub(super) groups: Option<Vec<usize>>,
    pub(super) refused: Vec<(usize, RolloutResult)>,
    bytes: usize,
}

impl Chunk {
    fn is_full(&self) -> bool {
        self.rollouts.len() >= CHUNK || self.refused.len() >= CHUNK || self.bytes >= CHUNK_BYTES
    }

    fn is_empty(&self) -> bool {
        self.rollouts.is_empty() && self.refused.is_empty()
    }

    fn add(&mut self, entry: InputEntry) {
        match entry.rollout {
            Ok(rollout) => {
                self.bytes += entry.bytes;
                self.lines.push(entry.index);
                self.rollouts.push(*rollout);
            }
            Err(result) => self.refused.push((entry.index, *result)),
        }
    }
}

/// Iterator over the requests of a run. Skips what an earlier run has done.
pub(super) struct RequestChunks<'a> {
    entries: Option<Entries<'a>>,
    /// Requests that were split, and with advantages all requests.
    ready: VecDeque<Chunk>,
}

impl<'a> RequestChunks<'a> {
    /// The requests for `input`, without the entries that are done.
    ///
    /// # Errors
    /// The input cannot be read, or advantages are asked for and a rollout names no group.
    pub(super) fn new(
        input: &'a Input,
        estimator: Option<RolloutEstimator>,
        is_done: impl Fn(usize) -> bool,
    ) -> anyhow::Result<Self> {
        Ok(match estimator {
            None => Self { entries: Some(input.entries()?), ready: VecDeque::new() },
            Some(estimator) if !estimator.needs_groups() && !estimator.needs_whole_batch() => {
                Self { entries: Some(input.entries()?), ready: VecDeque::new() }
            }
            Some(estimator) => {
                Self { entries: None, ready: grouped(input.entries()?, estimator, is_done)? }
            }
        })
    }

    /// The next request; `None` at the end.
    ///
    /// # Errors
    /// The input cannot be read.
    pub(super) fn next(
        &mut self,
        is_done: impl Fn(usize) -> bool,
    ) -> anyhow::Result<Option<Chunk>> {
        if let Some(chunk) = self.ready.pop_front() {
            return Ok(Some(chunk));
        }
        let Some(entries) = &mut self.entries else { return Ok(None) };
        let mut chunk = Chunk::default();
        while !chunk.is_full()
            && let Some(entry) = entries.next()?
        {
            if !is_done(entry.index) {
                chunk.add(entry);
            }
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    /// Replaces a request that is too large by two halves. Returns the request if it cannot be
    /// split.
    pub(super) fn split(&mut self, mut chunk: Chunk) -> Option<Chunk> {
        if chunk.groups.is_some() || chunk.rollouts.len() < 2 {
            return Some(chunk);
        }
        let half = chunk.rollouts.len() / 2;
        let second = Chunk {
            lines: chunk.lines.split_off(half),
            rollouts: chunk.rollouts.split_off(half),
            ..Chunk::default()
        };
        self.ready.push_front(second);
        self.ready.push_front(chunk);
        None
    }
}

/// Requests of whole groups; one request for an estimator that compares all rollouts.
fn grouped(
    mut entries: Entries<'_>,
    estimator: RolloutEstimator,
    is_done: impl Fn(usize) -> bool,
) -> anyhow::Result<VecDeque<Chunk>> {
    let mut numbers = HashMap::new();
    let mut groups: Vec<Vec<InputEntry>> = Vec::new();
    let mut chunk = Chunk { groups: Some(Vec::new()), ..Chunk::default() };
    while let Some(entry) = entries.next()? {
        let Ok(rollout) = &entry.rollout else {
            if !is_done(entry.index) {
                chunk.add(entry);
            }
            continue;
        };
        if estimator.needs_groups() && rollout.group.is_none() {
            bail!(
                "{}: advantages compare the samples of one prompt, and this rollout names no group\n  \
                 help: give all samples of one prompt the same `group`, or leave --advantages out",
                entry.place
            );
        }
        let number = match &rollout.group {
            Some(group) if !estimator.needs_whole_batch() => {
                *numbers.entry(group.clone()).or_insert(groups.len())
            }
            _ => 0,
        };
        if number == groups.len() {
            groups.push(Vec::new());
        }
        if let Some(group) = groups.get_mut(number) {
            group.push(entry);
        }
    }
    let mut chunks = VecDeque::new();
    for (number, group) in groups.into_iter().enumerate() {
        if group.iter().all(|entry| is_done(entry.index)) {
            continue;
        }
        for entry in group {
            chunk.add(entry);
            chunk.groups.get_or_insert_default().push(number);
        }
        if chunk.is_full() {
            let next = Chunk { groups: Some(Vec::new()), ..Chunk::default() };
            chunks.push_back(std::mem::replace(&mut chunk, next));
        }
    }
    if !chunk.is_empty() {
        chunks.push_back(chunk);
    }
    Ok(chunks)
}
