//! The device thread: it alone owns the engine, gathers what is asked, and runs it batch by batch.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::batch::{Layout, Limits, padded_tokens};
use crate::cache::ScoreCache;
use crate::queue::Queue;
use crate::session::Engine;
use crate::tokens::Tokens;
use crate::waiting::{Entry, Lost, Sequence, Waiting};

/// What a model tells of its work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelEvent {
    /// A batch was run.
    Batch(BatchEvent),
    /// So many turns had been scored before, and were not scored again.
    CacheHits(usize),
}

/// One batch that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchEvent {
    /// Distinct sequences.
    pub items: usize,
    /// Turns beyond those, which asked what another had asked.
    pub coalesced: usize,
    /// Tokens that the device computed: the longest sequence times `items`; in a packed graph, each distinct one once.
    pub computed_tokens: usize,
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

/// Who is told of it, often on the device thread: keep it quick.
pub(crate) type Observer = Arc<dyn Fn(&ModelEvent) + Send + Sync>;

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
    pub(crate) queue: Queue,
    pub(crate) cache: ScoreCache,
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
            let batch = self.unscored(waiting.take_batch(Instant::now(), self.limits));
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

    /// Answers those of `batch` that were scored after they were asked about, and returns the others.
    fn unscored(&self, batch: Vec<Sequence>) -> Vec<Sequence> {
        let mut hits = 0;
        let mut rest = Vec::with_capacity(batch.len());
        for sequence in batch {
            match self.cache.get(&sequence.tokens) {
                None => rest.push(sequence),
                Some(score) => {
                    hits += sequence.entries.len();
                    sequence.answer(&Ok(score));
                }
            }
        }
        if hits > 0 {
            (self.observer)(&ModelEvent::CacheHits(hits));
        }
        rest
    }

    fn score(&mut self, batch: Vec<Sequence>) {
        let started = Instant::now();
        let sequences: Vec<&Tokens> = batch.iter().map(|sequence| &sequence.tokens).collect();
        let computed_tokens = match self.limits.layout {
            Layout::Padded => padded_tokens(sequences.iter().map(|tokens| tokens.len())),
            Layout::Packed(sharing) => sharing.nodes(&sequences),
        };
        let span =
            tracing::info_span!("rm.batch", rm.items = batch.len(), rm.computed_tokens = computed_tokens);
        for entry in batch.iter().flat_map(|sequence| &sequence.entries) {
            span.follows_from(entry.span.id());
        }
        let scores = span.in_scope(|| run_or_halve(&mut self.engine, &sequences));

        let queued = batch.iter().flat_map(|sequence| &sequence.entries).map(|entry| entry.queued).min();
        let entries: usize = batch.iter().map(|sequence| sequence.entries.len()).sum();
        let scored = scores.iter().filter(|score| score.is_ok()).count();
        let tokens = sequences.iter().map(|tokens| tokens.len()).sum();
        let duration = started.elapsed();
        self.queue.ran(tokens, duration);
        let event = BatchEvent {
            items: batch.len(),
            coalesced: entries - batch.len(),
            computed_tokens,
            tokens,
            duration,
            queue_wait: queued.map(|queued| started.saturating_duration_since(queued)).unwrap_or_default(),
            outcome: match scored {
                0 => BatchOutcome::Failed,
                some if some < batch.len() => BatchOutcome::Partial,
                _ => BatchOutcome::Scored,
            },
        };
        // Told before it is answered, so that whoever has a score can trust the counters to know of it.
        (self.observer)(&ModelEvent::Batch(event));
        for (sequence, score) in batch.into_iter().zip(scores) {
            if let Ok(score) = score {
                self.cache.put(&sequence.tokens, score);
            }
            sequence.answer(&score);
        }
    }
}

/// Runs `sequences`; if that fails, each half alone, until what fails is one sequence. The others are scored.
fn run_or_halve(engine: &mut impl Engine, sequences: &[&Tokens]) -> Vec<Result<f32, Lost>> {
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
        fn layout(&self) -> Layout {
            Layout::Padded
        }

        fn run(&mut self, sequences: &[&Tokens]) -> Result<Vec<f32>, String> {
            self.0.lock().unwrap().push(sequences.len());
            if sequences.iter().any(|tokens| tokens.ids.contains(&13)) {
                return Err("thirteen".to_owned());
            }
            let sum = |tokens: &&Tokens| {
                if tokens.ids.contains(&99) { f32::INFINITY } else { tokens.ids.iter().sum::<u32>() as f32 }
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
            limits: Limits { layout: Layout::Padded, token_budget: 64, max_items: 64 },
            max_wait,
            queue: Queue::new(1),
            cache: ScoreCache::new(0),
            observer: Arc::new(move |event: &ModelEvent| {
                if let ModelEvent::Batch(batch) = event {
                    seen.lock().unwrap().push(batch.clone());
                }
            }),
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
            events.iter().all(|event| event.outcome == BatchOutcome::Scored && event.computed_tokens <= 64)
        );
    }

    #[test]
    fn what_was_scored_while_it_waited_is_not_scored_again() {
        let Bench { mut worker, sender, runs, .. } = bench(Duration::ZERO);
        worker.cache = ScoreCache::new(10);
        worker.cache.put(&Tokens::unmarked([5, 6]), 0.5);
        let (mut known, mut new) = (ask(&sender, &[5, 6]), ask(&sender, &[7]));
        drop(sender);
        let cache = worker.cache.clone();
        worker.run();
        assert_eq!((known.try_recv().unwrap(), new.try_recv().unwrap()), (Ok(0.5), Ok(7.0)));
        assert_eq!(*runs.lock().unwrap(), [1]);
        assert_eq!(cache.get(&Tokens::unmarked([7])), Some(7.0));
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
