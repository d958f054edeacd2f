//! Where the device threads get their work: who is on the way, who waits, and what runs already.
//!
//! One thread at a time looks for work, and while it waits for some the others wait behind it; whoever is first in line takes
//! the next batch and leaves the place to the next. So threads share one waiting set, and which of them runs a batch
//! changes nothing.

use std::collections::HashMap;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::encode::tokens::Tokens;
use crate::engine::batch_plan::{Layout, Limits};
use crate::queue::in_flight::Coming;
use crate::queue::waiters::{Entry, Sequence, Waiting};

/// What all device threads of a model share.
#[derive(Debug)]
pub(crate) struct Intake {
    line: Mutex<Line>,
    running: Running,
    coming: Coming,
    limits: Limits,
    max_wait: Duration,
    /// How many device threads there are.
    instances: usize,
}

/// What only the first in line touches.
#[derive(Debug)]
struct Line {
    inbox: Receiver<Entry>,
    waiting: Waiting,
}

/// The sequences that run now, and who asked the same meanwhile.
type Running = Mutex<HashMap<Tokens, Vec<Entry>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Intake {
    pub(crate) fn new(
        inbox: Receiver<Entry>,
        coming: Coming,
        limits: Limits,
        max_wait: Duration,
        instances: usize,
    ) -> Self {
        let line = Mutex::new(Line { inbox, waiting: Waiting::default() });
        Self { line, running: Running::default(), coming, limits, max_wait, instances }
    }

    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) const fn instances(&self) -> usize {
        self.instances
    }

    /// The next batch, which may be empty if whoever waited hung up. It blocks until somebody asks; `None` once nobody can
    /// any more and everybody who did was taken.
    pub(crate) fn next_batch(&self) -> Option<Batch<'_>> {
        let mut line = lock(&self.line);
        let was_idle = line.waiting.is_empty();
        if was_idle {
            let entry = line.inbox.recv().ok()?;
            self.take_in(&mut line.waiting, entry);
        }
        self.gather(&mut line, was_idle);
        let limits = self.share_of(line.waiting.tokens());
        let sequences = line.waiting.take_batch(Instant::now(), limits);
        // Before the next in line may look: what one thread runs no other shall run too.
        lock(&self.running)
            .extend(sequences.iter().map(|sequence| (sequence.tokens.clone(), Vec::new())));
        Some(Batch { sequences, running: &self.running })
    }

    /// Takes in what has arrived; and if that is less than a batch while more is known to come, waits for it a little. How many
    /// tokens are a batch is not known where texts share them: there one that was idle waits for all that it would choose from.
    ///
    /// A lone request finds nobody coming, so the wait does not cost it. A busy device seldom gets here with less than
    /// enough: everybody is there who came while it ran. The wait is for the idle device that a burst hits: without it, 256
    /// requests at once begin with batches of one or two, each as slow as a batch of eight.
    fn gather(&self, line: &mut Line, was_idle: bool) {
        let until = Instant::now() + self.max_wait;
        let enough = match self.limits.layout {
            Layout::Packed(_) if was_idle => self.limits.window(),
            // So many are company enough for a device that loses time by waiting.
            Layout::Packed(_) => self.limits.window() / 4,
            Layout::Padded | Layout::EqualLengths => self.limits.largest(),
        };
        loop {
            while let Ok(entry) = line.inbox.try_recv() {
                self.take_in(&mut line.waiting, entry);
            }
            if line.waiting.tokens() >= enough || !self.coming.anybody() {
                return;
            }
            match line.inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(entry) => self.take_in(&mut line.waiting, entry),
                Err(_) => return,
            }
        }
    }

    /// Puts an entry with those who wait, or with those who asked the same and whose answer is being computed.
    fn take_in(&self, waiting: &mut Waiting, mut entry: Entry) {
        drop(entry.on_its_way.take());
        match lock(&self.running).get_mut(&entry.tokens) {
            Some(asked_meanwhile) => asked_meanwhile.push(entry),
            None => waiting.push(entry),
        }
    }

    /// Takes in what has arrived, though nobody is free to run it.
    #[cfg(test)]
    pub(crate) fn take_in_all(&self) {
        let mut line = lock(&self.line);
        while let Ok(entry) = line.inbox.try_recv() {
            self.take_in(&mut line.waiting, entry);
        }
    }

    /// With several threads, a batch of at most one thread's share of what waits: the others would look on otherwise. So
    /// batches become smaller towards the end, and threads finish together.
    fn share_of(&self, tokens: usize) -> Limits {
        if self.instances == 1 {
            return self.limits;
        }
        self.limits.at_most(tokens.div_ceil(self.instances))
    }
}

/// Sequences that run together. Whoever asks for one of them meanwhile waits for it, until it is taken out of here; when
/// the batch is dropped, those whose sequence never was are told that nobody computes it.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) sequences: Vec<Sequence>,
    running: &'a Running,
}

impl Batch<'_> {
    /// Answers the sequences that were scored since they were asked about, and says how many turns that were.
    pub(crate) fn answer_known(&mut self, known: impl Fn(&Tokens) -> Option<f32>) -> usize {
        let mut hits = 0;
        for mut sequence in std::mem::take(&mut self.sequences) {
            match known(&sequence.tokens) {
                None => self.sequences.push(sequence),
                Some(score) => {
                    sequence
                        .entries
                        .extend(lock(self.running).remove(&sequence.tokens).into_iter().flatten());
                    hits += sequence.entries.len();
                    sequence.answer(&Ok(score));
                }
            }
        }
        hits
    }

    /// Takes all sequences out, each with everybody who waits for it. Who asks from now on asks anew, so what is known goes
    /// into the cache before.
    pub(crate) fn finish(&mut self) -> Vec<Sequence> {
        let mut running = lock(self.running);
        for sequence in &mut self.sequences {
            sequence.entries.extend(running.remove(&sequence.tokens).into_iter().flatten());
        }
        std::mem::take(&mut self.sequences)
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}
