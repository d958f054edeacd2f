//! A device thread: takes an engine and runs one batch after another.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::encode::tokens::TokenSequence;
use crate::engine::batch_plan::{Layout, padded_tokens};
use crate::engine::head::RawScore;
use crate::engine::session::InferenceEngine;
use crate::queue::engines::Engines;
use crate::queue::event::{BatchEvent, BatchOutcome, ModelEvent, ModelObserver};
use crate::queue::intake::{Intake, RunningBatch};
use crate::queue::score_cache::ScoreCache;
use crate::queue::slots::QueueSlots;
use crate::queue::waiters::ScoreError;

/// The state of one device thread.
pub(crate) struct Worker<E> {
    pub(crate) engines: Arc<Engines<E>>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) queue: QueueSlots,
    pub(crate) cache: ScoreCache,
    pub(crate) observer: ModelObserver,
}

impl<E> fmt::Debug for Worker<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("intake", &self.intake).finish_non_exhaustive()
    }
}

impl<E: InferenceEngine> Worker<E> {
    /// Runs until the intake is closed and all queued turns are answered.
    pub(crate) fn run(self) {
        let intake = Arc::clone(&self.intake);
        while let Some(mut batch) = intake.next_batch() {
            let hits = batch.answer_known(|tokens| self.cache.get(tokens));
            if hits > 0 {
                (self.observer)(&ModelEvent::CacheHits(hits));
            }
            if !batch.sequences.is_empty() {
                self.score(batch);
            }
        }
    }

    fn score(&self, mut batch: RunningBatch<'_>) {
        let started = Instant::now();
        let sequences: Vec<&TokenSequence> =
            batch.sequences.iter().map(|sequence| &sequence.tokens).collect();
        let computed_tokens = match self.intake.limits().layout {
            Layout::Padded | Layout::EqualLengths => {
                padded_tokens(sequences.iter().map(|tokens| tokens.len()))
            }
            Layout::Packed(sharing) => sharing.nodes(&sequences),
        };
        let span = tracing::info_span!(
            "rm.batch",
            rm.items = sequences.len(),
            rm.computed_tokens = computed_tokens
        );
        let scores = match self.engines.lend() {
            Some(mut engine) => span.in_scope(|| run_or_halve(&mut *engine, &sequences)),
            None => vec![Err(ScoreError::Engine("no engine".to_owned())); sequences.len()],
        };
        let tokens: usize = sequences.iter().map(|tokens| tokens.len()).sum();
        let duration = started.elapsed();
        // The estimate assumes that the other threads compute as many tokens in the same time.
        self.queue.record_batch(tokens * self.intake.instances(), duration);
        for (tokens, score) in sequences.iter().zip(&scores) {
            if let Ok(score) = score {
                self.cache.put(tokens, score.clone());
            }
        }

        let batch = batch.finish();
        let entries = || batch.iter().flat_map(|sequence| &sequence.entries);
        for entry in entries() {
            span.follows_from(entry.span.id());
        }
        let scored = scores.iter().filter(|score| score.is_ok()).count();
        let event = BatchEvent {
            items: batch.len(),
            coalesced: entries().count() - batch.len(),
            computed_tokens,
            tokens,
            duration,
            queue_wait: entries()
                .map(|entry| started.saturating_duration_since(entry.queued))
                .max()
                .unwrap_or_default(),
            outcome: match scored {
                0 => BatchOutcome::Failed,
                some if some < batch.len() => BatchOutcome::Partial,
                _ => BatchOutcome::Scored,
            },
        };
        // Reported before the answers, so that counters include every score that a caller has
        // received.
        (self.observer)(&ModelEvent::Batch(event));
        for (sequence, score) in batch.into_iter().zip(scores) {
            sequence.answer(&score);
        }
    }
}

/// Runs `sequences`. If the run fails, runs each half alone, down to single sequences, so that one
/// bad sequence does not affect the others.
fn run_or_halve(
    engine: &mut impl InferenceEngine,
    sequences: &[&TokenSequence],
) -> Vec<Result<RawScore, ScoreError>> {
    // A panic is treated as a failure: the thread must continue, since no other one replaces it.
    let failure = match catch_unwind(AssertUnwindSafe(|| engine.run(sequences))) {
        Ok(Ok(scores)) if scores.len() == sequences.len() => {
            return scores.into_iter().map(finite).collect();
        }
        Ok(Ok(scores)) => {
            format!("the engine returned {} scores for {} sequences", scores.len(), sequences.len())
        }
        Ok(Err(failure)) => failure,
        Err(_) => "the engine panicked".to_owned(),
    };
    tracing::warn!(
        rm.items = sequences.len(),
        error = failure,
        "the reward model failed on a batch"
    );
    if sequences.len() <= 1 {
        return sequences.iter().map(|_| Err(ScoreError::Engine(failure.clone()))).collect();
    }
    let (left, right) = sequences.split_at(sequences.len() / 2);
    let mut scores = run_or_halve(engine, left);
    scores.extend(run_or_halve(engine, right));
    scores
}

fn finite(score: RawScore) -> Result<RawScore, ScoreError> {
    match score.not_finite() {
        None => Ok(score),
        Some(number) => Err(ScoreError::NotFinite(number)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{SyncSender, sync_channel};
    use std::sync::{Barrier, Mutex};
    use std::time::Duration;

    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;
    use crate::engine::batch_plan::BatchLimits;
    use crate::queue::in_flight::InFlight;
    use crate::queue::waiters::tests::entry;
    use crate::queue::waiters::{QueuedTurn, ScoreReceiver};

    /// Scores a sequence by the sum of its ids; fails on a batch with id 13, panics on 31, and
    /// returns infinity for 99.
    #[derive(Default)]
    struct SumEngine(Arc<Mutex<Vec<usize>>>);

    impl InferenceEngine for SumEngine {
        fn layout(&self) -> Layout {
            Layout::Padded
        }

        fn run(&mut self, sequences: &[&TokenSequence]) -> Result<Vec<RawScore>, String> {
            self.0.lock().unwrap().push(sequences.len());
            if sequences.iter().any(|tokens| tokens.ids.contains(&13)) {
                return Err("thirteen".to_owned());
            }
            assert!(sequences.iter().all(|tokens| !tokens.ids.contains(&31)), "thirty-one");
            let sum = |tokens: &&TokenSequence| {
                if tokens.ids.contains(&99) {
                    f32::INFINITY
                } else {
                    tokens.ids.iter().sum::<u32>() as f32
                }
            };
            Ok(sequences.iter().map(sum).map(RawScore::from).collect())
        }
    }

    struct WorkerFixture {
        worker: Worker<SumEngine>,
        in_flight: InFlight,
        sender: SyncSender<QueuedTurn>,
        runs: Arc<Mutex<Vec<usize>>>,
        events: Arc<Mutex<Vec<BatchEvent>>>,
    }

    fn intake(
        max_wait: Duration,
        instances: usize,
    ) -> (Arc<Intake>, InFlight, SyncSender<QueuedTurn>) {
        let (sender, inbox) = sync_channel(1_000);
        let in_flight = InFlight::default();
        let limits = BatchLimits::new(Layout::Padded, 64, 64);
        (
            Arc::new(Intake::new(inbox, in_flight.clone(), limits, max_wait, instances)),
            in_flight,
            sender,
        )
    }

    fn fixture(max_wait: Duration) -> WorkerFixture {
        let (intake, in_flight, sender) = intake(max_wait, 1);
        let (runs, events) = (Arc::default(), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&events);
        let worker = Worker {
            engines: Arc::new(Engines::new(vec![SumEngine(Arc::clone(&runs))])),
            intake,
            queue: QueueSlots::new(1),
            cache: ScoreCache::new(0),
            observer: Arc::new(move |event: &ModelEvent| {
                if let ModelEvent::Batch(batch) = event {
                    seen.lock().unwrap().push(batch.clone());
                }
            }),
        };
        WorkerFixture { worker, in_flight, sender, runs, events }
    }

    fn submit(sender: &SyncSender<QueuedTurn>, ids: &[u32]) -> ScoreReceiver {
        let (entry, answer) = entry(ids, None);
        sender.send(entry).unwrap();
        answer
    }

    #[test]
    fn queued_turns_are_answered_after_the_senders_close() {
        let WorkerFixture { worker, sender, events, .. } = fixture(Duration::ZERO);
        let answers: Vec<ScoreReceiver> =
            (0u32..100).map(|n| submit(&sender, &[100 + n % 90, 1])).collect();
        drop(sender);
        worker.run();
        for (n, mut answer) in (0u32..).zip(answers) {
            assert_eq!(answer.try_recv().unwrap(), Ok(((101 + n % 90) as f32).into()));
        }
        let events = events.lock().unwrap();
        assert_eq!(events.iter().map(|event| event.items).collect::<Vec<_>>(), [32, 32, 26]);
        assert_eq!(events.iter().map(|event| event.coalesced).sum::<usize>(), 10);
        assert!(
            events
                .iter()
                .all(|event| event.outcome == BatchOutcome::Scored && event.computed_tokens <= 64)
        );
    }

    #[test]
    fn turn_whose_score_became_known_while_queued_is_not_run() {
        let WorkerFixture { mut worker, sender, runs, .. } = fixture(Duration::ZERO);
        worker.cache = ScoreCache::new(10);
        worker.cache.put(&TokenSequence::unmarked([5, 6]), 0.5.into());
        let (mut known, mut new) = (submit(&sender, &[5, 6]), submit(&sender, &[7]));
        drop(sender);
        let cache = worker.cache.clone();
        worker.run();
        assert_eq!(
            (known.try_recv().unwrap(), new.try_recv().unwrap()),
            (Ok(0.5.into()), Ok(7.0.into()))
        );
        assert_eq!(*runs.lock().unwrap(), [1]);
        assert_eq!(cache.get(&TokenSequence::unmarked([7])), Some(7.0.into()));
    }

    #[test]
    fn failing_sequence_does_not_fail_its_batch() {
        let WorkerFixture { worker, sender, runs, events, .. } = fixture(Duration::ZERO);
        let mut answers: Vec<ScoreReceiver> =
            [1, 2, 13, 4, 5, 99, 7, 8].map(|n| submit(&sender, &[n])).into();
        drop(sender);
        worker.run();
        let scores: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().unwrap()).collect();
        assert_eq!(scores[2], Err(ScoreError::Engine("thirteen".to_owned())));
        assert_eq!(scores[5], Err(ScoreError::NotFinite(f32::INFINITY)));
        for (index, n) in [(0, 1.0), (1, 2.0), (3, 4.0), (4, 5.0), (6, 7.0), (7, 8.0)] {
            assert_eq!(scores[index], Ok(n.into()));
        }
        assert_eq!(*runs.lock().unwrap(), [8, 4, 2, 2, 1, 1, 4]);
        assert_eq!(events.lock().unwrap()[0].outcome, BatchOutcome::Partial);
    }

    #[test]
    fn panic_fails_only_the_sequence_that_causes_it() {
        let WorkerFixture { worker, sender, .. } = fixture(Duration::ZERO);
        let mut answers: Vec<ScoreReceiver> = [1, 31, 3].map(|n| submit(&sender, &[n])).into();
        drop(sender);
        worker.run();
        let scores: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().unwrap()).collect();
        assert_eq!(
            scores,
            [
                Ok(1.0.into()),
                Err(ScoreError::Engine("the engine panicked".to_owned())),
                Ok(3.0.into())
            ]
        );
    }

    #[test]
    fn idle_device_waits_only_for_in_flight_requests() {
        let WorkerFixture { worker, in_flight, sender, runs, .. } =
            fixture(Duration::from_secs(3_600));
        let in_flight_guard = in_flight.announce();
        let first = submit(&sender, &[1]);
        let thread = std::thread::spawn(move || worker.run());
        let (last, second) = entry(&[2], None);
        sender.send(QueuedTurn { in_flight_guard: Some(in_flight_guard), ..last }).unwrap();
        for (answer, score) in [(first, 1.0), (second, 2.0)] {
            assert_eq!(answer.blocking_recv().unwrap(), Ok(score.into()));
        }
        // A lone request returns immediately, although `max_wait` is an hour.
        assert_eq!(submit(&sender, &[3]).blocking_recv().unwrap(), Ok(3.0.into()));
        drop(sender);
        thread.join().unwrap();
        assert_eq!(*runs.lock().unwrap(), [2, 1]);
    }

    #[test]
    fn burst_becomes_one_batch() {
        let WorkerFixture { worker, in_flight, sender, runs, .. } =
            fixture(Duration::from_secs(3_600));
        let in_flight: Vec<_> = (0..60).map(|_| in_flight.announce()).collect();
        let thread = std::thread::spawn(move || worker.run());
        let mut answers = Vec::new();
        for (n, in_flight_guard) in (0u32..).zip(in_flight) {
            answers.push(submit(&sender, &[n % 13]));
            let (last, answer) = entry(&[100 + n % 50], None);
            sender.send(QueuedTurn { in_flight_guard: Some(in_flight_guard), ..last }).unwrap();
            answers.push(answer);
        }
        for answer in answers {
            assert!(answer.blocking_recv().unwrap().is_ok());
        }
        drop(sender);
        thread.join().unwrap();
        assert_eq!(*runs.lock().unwrap(), [63]);
    }

    /// Blocks in its first batch until the gate opens; records the sizes of its batches.
    struct GatedEngine {
        gate: Option<Arc<Barrier>>,
        runs: Arc<Mutex<Vec<usize>>>,
    }

    impl InferenceEngine for GatedEngine {
        fn layout(&self) -> Layout {
            Layout::Padded
        }

        fn run(&mut self, sequences: &[&TokenSequence]) -> Result<Vec<RawScore>, String> {
            self.runs.lock().unwrap().push(sequences.len());
            if let Some(gate) = self.gate.take() {
                gate.wait();
            }
            Ok(sequences.iter().map(|tokens| RawScore::from(tokens.ids[0] as f32)).collect())
        }
    }

    #[test]
    fn threads_divide_the_waiting_set_and_run_no_sequence_twice() {
        let (intake, in_flight, sender) = intake(Duration::from_secs(3_600), 2);
        let (gate, runs) = (Arc::new(Barrier::new(3)), Arc::<Mutex<Vec<usize>>>::default());
        let engine = || GatedEngine { gate: Some(Arc::clone(&gate)), runs: Arc::clone(&runs) };
        let engines = Arc::new(Engines::new(vec![engine(), engine()]));
        let threads = [(); 2].map(|()| {
            let worker = Worker {
                engines: Arc::clone(&engines),
                intake: Arc::clone(&intake),
                queue: QueueSlots::new(1),
                cache: ScoreCache::new(0),
                observer: Arc::new(|_| {}),
            };
            std::thread::spawn(move || worker.run())
        });
        let in_flight_guard = in_flight.announce();
        let mut answers: Vec<ScoreReceiver> = (1..8).map(|n| submit(&sender, &[n])).collect();
        let (last, answer) = entry(&[8], None);
        answers.push(answer);
        sender.send(QueuedTurn { in_flight_guard: Some(in_flight_guard), ..last }).unwrap();
        guerdon_testing::wait_until_blocking("both run", Duration::from_secs(60), || {
            runs.lock().unwrap().len() == 2
        });
        // One thread runs four of the eight, the other two of the remaining four. The repeated
        // turns are admitted before the batches end. Each joins the first turn with the same
        // tokens, on either thread and without a cache.
        answers.extend((1..9).map(|n| submit(&sender, &[n])));
        drop(sender);
        intake.admit_all();
        gate.wait();
        for (n, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.blocking_recv().unwrap(), Ok(((n % 8 + 1) as f32).into()));
        }
        for thread in threads {
            thread.join().unwrap();
        }
        let mut runs = runs.lock().unwrap();
        runs[..2].sort_unstable();
        assert_eq!((&runs[..2], runs.iter().sum::<usize>()), (&[2, 4][..], 8), "{runs:?}");
    }

    #[test]
    fn dropping_an_unfinished_batch_closes_its_waiters() {
        let (intake, _, sender) = intake(Duration::ZERO, 2);
        let mut running = submit(&sender, &[1]);
        let mut batch = intake.next_batch().unwrap();
        let mut repeated = submit(&sender, &[1]);
        intake.admit_all();
        assert!(
            batch.answer_known(|_| None) == 0
                && repeated.try_recv().is_err_and(|error| error == TryRecvError::Empty)
        );
        drop(batch);
        for answer in [&mut running, &mut repeated] {
            assert_eq!(answer.try_recv(), Err(TryRecvError::Closed));
        }
    }
}
