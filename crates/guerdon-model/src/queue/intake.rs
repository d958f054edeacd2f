//! Work for the device threads: collects queued turns, forms batches, and coalesces equal
//! sequences.
//!
//! One thread at a time holds the intake's lock and waits for work; the other threads wait for the
//! lock. All threads share one waiting set, so the thread that runs a batch does not affect the
//! scores.

use std::collections::HashMap;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::encode::tokens::TokenSequence;
use crate::engine::batch_plan::{BatchLimits, Layout};
use crate::engine::head::RawScore;
use crate::queue::in_flight::InFlight;
use crate::queue::waiters::{QueuedTurn, WaitingSequence, WaitingSet};

/// The state that all device threads of a model share.
#[derive(Debug)]
pub(crate) struct Intake {
    state: Mutex<IntakeState>,
    running: RunningSequences,
    in_flight: InFlight,
    limits: BatchLimits,
    max_wait: Duration,
    /// Number of device threads.
    instances: usize,
}

/// The state that only the thread with the lock uses.
#[derive(Debug)]
struct IntakeState {
    inbox: Receiver<QueuedTurn>,
    waiting: WaitingSet,
}

/// The running sequences, each with the turns with the same tokens that arrived since it started.
type RunningSequences = Mutex<HashMap<TokenSequence, Vec<QueuedTurn>>>;

impl Intake {
    pub(crate) fn new(
        inbox: Receiver<QueuedTurn>,
        in_flight: InFlight,
        limits: BatchLimits,
        max_wait: Duration,
        instances: usize,
    ) -> Self {
        let state = Mutex::new(IntakeState { inbox, waiting: WaitingSet::default() });
        Self { state, running: RunningSequences::default(), in_flight, limits, max_wait, instances }
    }

    pub(crate) const fn limits(&self) -> BatchLimits {
        self.limits
    }

    pub(crate) const fn instances(&self) -> usize {
        self.instances
    }

    /// The next batch. Blocks until a turn is queued. The batch is empty if all waiting callers
    /// have disconnected. Returns `None` once all senders are dropped and all entries are taken.
    pub(crate) fn next_batch(&self) -> Option<RunningBatch<'_>> {
        let mut state = self.state.lock();
        let was_idle = state.waiting.is_empty();
        if was_idle {
            let entry = state.inbox.recv().ok()?;
            self.admit(&mut state.waiting, entry);
        }
        self.gather(&mut state, was_idle);
        let limits = self.thread_share(state.waiting.tokens());
        let sequences = state.waiting.take_batch(Instant::now(), limits);
        // Registered before the lock is released, so that no other thread runs the same sequences.
        self.running
            .lock()
            .extend(sequences.iter().map(|sequence| (sequence.tokens.clone(), Vec::new())));
        Some(RunningBatch { sequences, running: &self.running })
    }

    /// Admits the entries that have arrived. If they do not fill a batch and further requests are
    /// in flight, waits for these requests, at most `max_wait`. If texts share tokens, the size of
    /// a full batch is unknown in advance; a device that was idle then waits for a full window.
    ///
    /// A lone request has no other request in flight and does not wait. A busy device seldom waits,
    /// because turns queue up while it runs. The wait is for an idle device that receives a burst:
    /// without it, 256 simultaneous requests would start with batches of one or two, each as slow
    /// as a batch of eight.
    fn gather(&self, state: &mut IntakeState, was_idle: bool) {
        let until = Instant::now() + self.max_wait;
        let enough = match self.limits.layout {
            Layout::Packed(_) if was_idle => self.limits.window(),
            // A quarter of the window suffices for a device that loses time by waiting.
            Layout::Packed(_) => self.limits.window() / 4,
            Layout::Padded | Layout::EqualLengths => self.limits.largest(),
        };
        loop {
            while let Ok(entry) = state.inbox.try_recv() {
                self.admit(&mut state.waiting, entry);
            }
            if state.waiting.tokens() >= enough || !self.in_flight.any() {
                return;
            }
            match state.inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(entry) => self.admit(&mut state.waiting, entry),
                Err(_) => return,
            }
        }
    }

    /// Adds an entry to the waiting set, or to the running sequence with the same tokens.
    fn admit(&self, waiting: &mut WaitingSet, mut entry: QueuedTurn) {
        drop(entry.in_flight_guard.take());
        match self.running.lock().get_mut(&entry.tokens) {
            Some(joined) => joined.push(entry),
            None => waiting.push(entry),
        }
    }

    /// Admits all entries that have arrived, without running them.
    #[cfg(test)]
    pub(crate) fn admit_all(&self) {
        let mut state = self.state.lock();
        while let Ok(entry) = state.inbox.try_recv() {
            self.admit(&mut state.waiting, entry);
        }
    }

    /// The limits of one thread's share of the waiting tokens. Batches become smaller towards the
    /// end, so that all threads finish together.
    fn thread_share(&self, tokens: usize) -> BatchLimits {
        if self.instances == 1 {
            return self.limits;
        }
        self.limits.at_most(tokens.div_ceil(self.instances))
    }
}

/// Sequences that run together. Turns with the same tokens join them until the batch is finished.
/// Dropping an unfinished batch closes its waiters' channels.
#[derive(Debug)]
pub(crate) struct RunningBatch<'a> {
    pub(crate) sequences: Vec<WaitingSequence>,
    running: &'a RunningSequences,
}

impl RunningBatch<'_> {
    /// Answers the sequences for which `known` returns a score. Returns the number of answered
    /// turns.
    pub(crate) fn answer_known(
        &mut self,
        known: impl Fn(&TokenSequence) -> Option<RawScore>,
    ) -> usize {
        let mut hits = 0;
        for mut sequence in std::mem::take(&mut self.sequences) {
            match known(&sequence.tokens) {
                None => self.sequences.push(sequence),
                Some(score) => {
                    sequence
                        .entries
                        .extend(self.running.lock().remove(&sequence.tokens).into_iter().flatten());
                    hits += sequence.entries.len();
                    sequence.answer(&Ok(score));
                }
            }
        }
        hits
    }

    /// Removes the batch's sequences with their waiters. Later turns with the same tokens are
    /// queued again, so known scores must be in the cache before this call.
    pub(crate) fn finish(&mut self) -> Vec<WaitingSequence> {
        let mut running = self.running.lock();
        for sequence in &mut self.sequences {
            sequence.entries.extend(running.remove(&sequence.tokens).into_iter().flatten());
        }
        std::mem::take(&mut self.sequences)
    }
}

impl Drop for RunningBatch<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}
