//! The device thread: it alone owns the engine, gathers what is asked, and runs it batch by batch.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::batch::{Limits, padded_tokens};
use crate::session::Engine;
use crate::waiting::{Entry, Lost, Sequence, Waiting};

/// One batch that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchEvent {
    /// Distinct sequences.
    pub items: usize,
    /// Turns beyond those, which asked what another had asked.
    pub coalesced: usize,
    /// Tokens that the device computed: the longest sequence times `items`.
    pub padded_tokens: usize,
    /// Tokens that were asked about.
    pub tokens: usize,
    /// How long the device took.
    pub duration: Duration,
    /// How long the turn that waited longest had waited.
    pub queue_wait: Duration,
    /// How it went.
    pub outcome: BatchOutcome,
}

/// How a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BatchOutcome {
    /// Every sequence has a score.
    Scored,
    /// Some have none: the engine failed on them alone, or their score was not finite.
    Partial,
    /// None has.
    Failed,
}

impl BatchOutcome {
    /// The outcome as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scored => "scored",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }
}

/// What is told of every batch, on the device thread: keep it quick.
pub(crate) type Observer = Arc<dyn Fn(&BatchEvent) + Send + Sync>;

/// Counts the requests that are being tokenized: those who will be in the queue in a moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coming(Arc<AtomicUsize>);

/// One request on its way; over when it is dropped.
#[derive(Debug)]
pub(crate) struct OnItsWay(Arc<AtomicUsize>);

impl Coming {
    pub(crate) fn announce(&self) -> OnItsWay {
        self.0.fetch_add(1, Ordering::Relaxed);
        OnItsWay(Arc::clone(&self.0))
    }

    // Relaxed: the count only decides how long to wait, never what is scored.
    fn anybody(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The device thread's own.
pub(crate) struct Worker<E> {
    pub(crate) engine: E,
    pub(crate) inbox: Receiver<Entry>,
    pub(crate) coming: Coming,
    pub(crate) limits: Limits,
    pub(crate) max_wait: Duration,
    pub(crate) observer: Observer,
}

impl<E> fmt::Debug for Worker<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl<E: Engine> Worker<E> {
    /// Runs until nobody can ask any more and everybody who did is answered.
    pub(crate) fn run(mut self) {
        let mut waiting = Waiting::default();
        loop {
            if waiting.is_empty() {
                let Ok(entry) = self.inbox.recv() else { return };
                waiting.push(entry);
            }
            self.gather(&mut waiting);
            let batch = waiting.take_batch(Instant::now(), self.limits);
            if !batch.is_empty() {
                self.score(batch);
            }
        }
    }

    /// Takes in what has arrived; and if that is less than a batch while more is known to come, waits for it a little.
    ///
    /// A busy device never gets here with less than everybody who came while it ran, and a lone request finds nobody
    /// coming, so the wait costs neither. It is for the idle device that a burst hits: without it, 256 requests at once
    /// begin with batches of one or two, each as slow as a batch of eight.
    fn gather(&self, waiting: &mut Waiting) {
        let until = Instant::now() + self.max_wait;
        loop {
            while let Ok(entry) = self.inbox.try_recv() {
                waiting.push(entry);
            }
            if waiting.tokens() >= self.limits.token_budget || !self.coming.anybody() {
                return;
            }
            match self.inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(entry) => waiting.push(entry),
                Err(_) => return,
            }
        }
    }

    fn score(&mut self, batch: Vec<Sequence>) {
        let started = Instant::now();
        let sequences: Vec<&[u32]> = batch.iter().map(|sequence| &*sequence.ids).collect();
        let padded_tokens = padded_tokens(sequences.iter().map(|ids| ids.len()));
        let span = tracing::info_span!("rm.batch", rm.items = batch.len(), rm.padded_tokens = padded_tokens);
        for entry in batch.iter().flat_map(|sequence| &sequence.entries) {
            span.follows_from(entry.span.id());
        }
        let scores = span.in_scope(|| run_or_halve(&mut self.engine, &sequences));

        let queued = batch.iter().flat_map(|sequence| &sequence.entries).map(|entry| entry.queued).min();
        let entries: usize = batch.iter().map(|sequence| sequence.entries.len()).sum();
        let scored = scores.iter().filter(|score| score.is_ok()).count();
        let event = BatchEvent {
            items: batch.len(),
            coalesced: entries - batch.len(),
            padded_tokens,
            tokens: sequences.iter().map(|ids| ids.len()).sum(),
            duration: started.elapsed(),
            queue_wait: queued.map(|queued| started.saturating_duration_since(queued)).unwrap_or_default(),
            outcome: match scored {
                0 => BatchOutcome::Failed,
                some if some < batch.len() => BatchOutcome::Partial,
                _ => BatchOutcome::Scored,
            },
        };
        // Told before it is answered, so that whoever has a score can trust the counters to know of it.
        (self.observer)(&event);
        for (sequence, score) in batch.into_iter().zip(scores) {
            for entry in sequence.entries {
                entry.answer(score.clone());
            }
        }
    }
}

/// Runs `sequences`; if that fails, each half alone, until what fails is one sequence. The others are scored.
fn run_or_halve(engine: &mut impl Engine, sequences: &[&[u32]]) -> Vec<Result<f32, Lost>> {
    let failure = match engine.run(sequences) {
        Ok(scores) if scores.len() == sequences.len() => return scores.into_iter().map(finite).collect(),
        Ok(scores) => format!("the engine gave {} scores for {} sequences", scores.len(), sequences.len()),
        Err(failure) => failure,
    };
    tracing::warn!(rm.items = sequences.len(), error = failure, "the reward model failed on a batch");
    if sequences.len() <= 1 {
        return sequences.iter().map(|_| Err(Lost::Engine(failure.clone()))).collect();
    }
    let (left, right) = sequences.split_at(sequences.len() / 2);
    let mut scores = run_or_halve(engine, left);
    scores.extend(run_or_halve(engine, right));
    scores
}

fn finite(score: f32) -> Result<f32, Lost> {
    if score.is_finite() { Ok(score) } else { Err(Lost::NotFinite(score)) }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{SyncSender, sync_channel};

    use super::*;
    use crate::waiting::Answer;
    use crate::waiting::tests::entry;

    /// Scores a sequence by its sum, fails on any batch with a 13, and finds 99 infinite.
    #[derive(Default)]
    struct Sums(Arc<Mutex<Vec<usize>>>);

    impl Engine for Sums {
        fn run(&mut self, sequences: &[&[u32]]) -> Result<Vec<f32>, String> {
            self.0.lock().unwrap().push(sequences.len());
            if sequences.iter().any(|ids| ids.contains(&13)) {
                return Err("thirteen".to_owned());
            }
            let sum = |ids: &&[u32]| {
                if ids.contains(&99) { f32::INFINITY } else { ids.iter().sum::<u32>() as f32 }
            };
            Ok(sequences.iter().map(sum).collect())
        }
    }

    struct Bench {
        worker: Worker<Sums>,
        sender: SyncSender<Entry>,
        runs: Arc<Mutex<Vec<usize>>>,
        events: Arc<Mutex<Vec<BatchEvent>>>,
    }

    fn bench(max_wait: Duration) -> Bench {
        let (sender, inbox) = sync_channel(1_000);
        let (runs, events) = (Arc::default(), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&events);
        let worker = Worker {
            engine: Sums(Arc::clone(&runs)),
            inbox,
            coming: Coming::default(),
            limits: Limits { token_budget: 64, max_items: 64 },
            max_wait,
            observer: Arc::new(move |event: &BatchEvent| seen.lock().unwrap().push(event.clone())),
        };
        Bench { worker, sender, runs, events }
    }

    fn ask(sender: &SyncSender<Entry>, ids: &[u32]) -> Answer {
        let (entry, answer) = entry(ids, None);
        sender.send(entry).unwrap();
        answer
    }

    #[test]
    fn what_is_queued_at_the_end_is_still_answered() {
        let Bench { worker, sender, events, .. } = bench(Duration::ZERO);
        let answers: Vec<Answer> = (0u32..100).map(|n| ask(&sender, &[100 + n % 90, 1])).collect();
        drop(sender);
        worker.run();
        for (n, mut answer) in (0u32..).zip(answers) {
            assert_eq!(answer.try_recv().unwrap(), Ok((101 + n % 90) as f32));
        }
        let events = events.lock().unwrap();
        assert_eq!(events.iter().map(|event| event.items).collect::<Vec<_>>(), [32, 32, 26]);
        assert_eq!(events.iter().map(|event| event.coalesced).sum::<usize>(), 10);
        assert!(
            events.iter().all(|event| event.outcome == BatchOutcome::Scored && event.padded_tokens <= 64)
        );
    }

    #[test]
    fn a_poisoned_sequence_fails_alone() {
        let Bench { worker, sender, runs, events } = bench(Duration::ZERO);
        let mut answers: Vec<Answer> = [1, 2, 13, 4, 5, 99, 7, 8].map(|n| ask(&sender, &[n])).into();
        drop(sender);
        worker.run();
        let scores: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().unwrap()).collect();
        assert_eq!(scores[2], Err(Lost::Engine("thirteen".to_owned())));
        assert_eq!(scores[5], Err(Lost::NotFinite(f32::INFINITY)));
        for (place, n) in [(0, 1.0), (1, 2.0), (3, 4.0), (4, 5.0), (6, 7.0), (7, 8.0)] {
            assert_eq!(scores[place], Ok(n));
        }
        assert_eq!(*runs.lock().unwrap(), [8, 4, 2, 2, 1, 1, 4]);
        assert_eq!(events.lock().unwrap()[0].outcome, BatchOutcome::Partial);
    }

    #[test]
    fn an_idle_device_waits_for_those_who_are_coming_and_for_nobody_else() {
        let Bench { worker, sender, runs, .. } = bench(Duration::from_secs(3_600));
        let coming = worker.coming.announce();
        let first = ask(&sender, &[1]);
        let thread = std::thread::spawn(move || worker.run());
        // On its way until it is sent: only then has the thread nobody left to wait for.
        drop(coming);
        let second = ask(&sender, &[2]);
        for (answer, score) in [(first, 1.0), (second, 2.0)] {
            assert_eq!(answer.blocking_recv().unwrap(), Ok(score));
        }
        // A lone request returns at once, an hour of `max_wait` notwithstanding.
        assert_eq!(ask(&sender, &[3]).blocking_recv().unwrap(), Ok(3.0));
        drop(sender);
        thread.join().unwrap();
        assert!(runs.lock().unwrap().len() <= 3);
    }

    #[test]
    fn a_burst_becomes_one_batch_while_it_is_still_coming() {
        let Bench { worker, sender, runs, .. } = bench(Duration::from_secs(3_600));
        let coming: Vec<_> = (0..64).map(|_| worker.coming.announce()).collect();
        let thread = std::thread::spawn(move || worker.run());
        let mut answers = Vec::new();
        for (n, coming) in (0u32..).zip(coming) {
            drop(coming);
            answers.push(ask(&sender, &[n % 13]));
            answers.push(ask(&sender, &[100 + n]));
        }
        for answer in answers {
            assert!(answer.blocking_recv().unwrap().is_ok());
        }
        drop(sender);
        thread.join().unwrap();
        assert!(runs.lock().unwrap().len() <= 5, "{:?}", runs.lock().unwrap());
    }
}
