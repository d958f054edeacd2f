//! A device thread: it alone owns its engine, and runs batch after batch on it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::encode::tokens::Tokens;
use crate::engine::batch_plan::{Layout, padded_tokens};
use crate::engine::session::Engine;
use crate::queue::event::{BatchEvent, BatchOutcome, ModelEvent, Observer};
use crate::queue::intake::{Batch, Intake};
use crate::queue::score_cache::ScoreCache;
use crate::queue::slots::Queue;
use crate::queue::waiters::Lost;

/// One device thread's own.
pub(crate) struct Worker<E> {
    pub(crate) engine: E,
    pub(crate) intake: Arc<Intake>,
    pub(crate) queue: Queue,
    pub(crate) cache: ScoreCache,
    pub(crate) observer: Observer,
}

impl<E> fmt::Debug for Worker<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("intake", &self.intake).finish_non_exhaustive()
    }
}

impl<E: Engine> Worker<E> {
    /// Runs until nobody can ask any more and everybody who did is answered.
    pub(crate) fn run(mut self) {
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

    fn score(&mut self, mut batch: Batch<'_>) {
        let started = Instant::now();
        let sequences: Vec<&Tokens> =
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
        let scores = span.in_scope(|| run_or_halve(&mut self.engine, &sequences));
        let tokens: usize = sequences.iter().map(|tokens| tokens.len()).sum();
        let duration = started.elapsed();
        // The other threads did about as much meanwhile.
        self.queue.ran(tokens * self.intake.instances(), duration);
        for (tokens, score) in sequences.iter().zip(&scores) {
            if let Ok(score) = score {
                self.cache.put(tokens, *score);
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
        // Told before it is answered, so that whoever has a score can trust the counters to know of it.
        (self.observer)(&ModelEvent::Batch(event));
        for (sequence, score) in batch.into_iter().zip(scores) {
            sequence.answer(&score);
        }
    }
}

/// Runs `sequences`; if that fails, each half alone, until what fails is one sequence. The others are scored.
fn run_or_halve(engine: &mut impl Engine, sequences: &[&Tokens]) -> Vec<Result<f32, Lost>> {
    // A panic is one more way to fail: the thread must not end with it, for nobody would take its place.
    let failure = match catch_unwind(AssertUnwindSafe(|| engine.run(sequences))) {
        Ok(Ok(scores)) if scores.len() == sequences.len() => {
            return scores.into_iter().map(finite).collect();
        }
        Ok(Ok(scores)) => {
            format!("the engine gave {} scores for {} sequences", scores.len(), sequences.len())
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
    use std::sync::mpsc::{SyncSender, sync_channel};
    use std::sync::{Barrier, Mutex};
    use std::time::Duration;

    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;
    use crate::engine::batch_plan::Limits;
    use crate::queue::in_flight::Coming;
    use crate::queue::waiters::tests::entry;
    use crate::queue::waiters::{Answer, Entry};

    /// Scores a sequence by its sum, fails on any batch with a 13, panics on a 31, and finds 99 infinite.
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
            assert!(sequences.iter().all(|tokens| !tokens.ids.contains(&31)), "thirty-one");
            let sum = |tokens: &&Tokens| {
                if tokens.ids.contains(&99) {
                    f32::INFINITY
                } else {
                    tokens.ids.iter().sum::<u32>() as f32
                }
            };
            Ok(sequences.iter().map(sum).collect())
        }
    }

    struct Bench {
        worker: Worker<Sums>,
        coming: Coming,
        sender: SyncSender<Entry>,
        runs: Arc<Mutex<Vec<usize>>>,
        events: Arc<Mutex<Vec<BatchEvent>>>,
    }

    fn intake(max_wait: Duration, instances: usize) -> (Arc<Intake>, Coming, SyncSender<Entry>) {
        let (sender, inbox) = sync_channel(1_000);
        let coming = Coming::default();
        let limits = Limits::new(Layout::Padded, 64, 64);
        (Arc::new(Intake::new(inbox, coming.clone(), limits, max_wait, instances)), coming, sender)
    }

    fn bench(max_wait: Duration) -> Bench {
        let (intake, coming, sender) = intake(max_wait, 1);
        let (runs, events) = (Arc::default(), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&events);
        let worker = Worker {
            engine: Sums(Arc::clone(&runs)),
            intake,
            queue: Queue::new(1),
            cache: ScoreCache::new(0),
            observer: Arc::new(move |event: &ModelEvent| {
                if let ModelEvent::Batch(batch) = event {
                    seen.lock().unwrap().push(batch.clone());
                }
            }),
        };
        Bench { worker, coming, sender, runs, events }
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
            events
                .iter()
                .all(|event| event.outcome == BatchOutcome::Scored && event.computed_tokens <= 64)
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
        let Bench { worker, sender, runs, events, .. } = bench(Duration::ZERO);
        let mut answers: Vec<Answer> =
            [1, 2, 13, 4, 5, 99, 7, 8].map(|n| ask(&sender, &[n])).into();
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
    fn a_panic_costs_the_sequence_that_makes_it_and_neither_the_thread_nor_the_others() {
        let Bench { worker, sender, .. } = bench(Duration::ZERO);
        let mut answers: Vec<Answer> = [1, 31, 3].map(|n| ask(&sender, &[n])).into();
        drop(sender);
        worker.run();
        let scores: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().unwrap()).collect();
        assert_eq!(scores, [Ok(1.0), Err(Lost::Engine("the engine panicked".to_owned())), Ok(3.0)]);
    }

    #[test]
    fn an_idle_device_waits_for_those_who_are_coming_and_for_nobody_else() {
        let Bench { worker, coming, sender, runs, .. } = bench(Duration::from_secs(3_600));
        let on_its_way = coming.announce();
        let first = ask(&sender, &[1]);
        let thread = std::thread::spawn(move || worker.run());
        let (last, second) = entry(&[2], None);
        sender.send(Entry { on_its_way: Some(on_its_way), ..last }).unwrap();
        for (answer, score) in [(first, 1.0), (second, 2.0)] {
            assert_eq!(answer.blocking_recv().unwrap(), Ok(score));
        }
        // A lone request returns at once, an hour of `max_wait` notwithstanding.
        assert_eq!(ask(&sender, &[3]).blocking_recv().unwrap(), Ok(3.0));
        drop(sender);
        thread.join().unwrap();
        assert_eq!(*runs.lock().unwrap(), [2, 1]);
    }

    #[test]
    fn a_burst_becomes_one_batch_while_it_is_still_coming() {
        let Bench { worker, coming, sender, runs, .. } = bench(Duration::from_secs(3_600));
        let coming: Vec<_> = (0..60).map(|_| coming.announce()).collect();
        let thread = std::thread::spawn(move || worker.run());
        let mut answers = Vec::new();
        for (n, on_its_way) in (0u32..).zip(coming) {
            answers.push(ask(&sender, &[n % 13]));
            let (last, answer) = entry(&[100 + n % 50], None);
            sender.send(Entry { on_its_way: Some(on_its_way), ..last }).unwrap();
            answers.push(answer);
        }
        for answer in answers {
            assert!(answer.blocking_recv().unwrap().is_ok());
        }
        drop(sender);
        thread.join().unwrap();
        assert_eq!(*runs.lock().unwrap(), [63]);
    }

    /// Waits in its first batch until it is let go; notes how large its batches are.
    struct Meets {
        gate: Option<Arc<Barrier>>,
        runs: Arc<Mutex<Vec<usize>>>,
    }

    impl Engine for Meets {
        fn layout(&self) -> Layout {
            Layout::Padded
        }

        fn run(&mut self, sequences: &[&Tokens]) -> Result<Vec<f32>, String> {
            self.runs.lock().unwrap().push(sequences.len());
            if let Some(gate) = self.gate.take() {
                gate.wait();
            }
            Ok(sequences.iter().map(|tokens| tokens.ids[0] as f32).collect())
        }
    }

    #[test]
    fn several_threads_share_what_waits_and_compute_nothing_twice() {
        let (intake, coming, sender) = intake(Duration::from_secs(3_600), 2);
        let (gate, runs) = (Arc::new(Barrier::new(3)), Arc::<Mutex<Vec<usize>>>::default());
        let threads = [(); 2].map(|()| {
            let worker = Worker {
                engine: Meets { gate: Some(Arc::clone(&gate)), runs: Arc::clone(&runs) },
                intake: Arc::clone(&intake),
                queue: Queue::new(1),
                cache: ScoreCache::new(0),
                observer: Arc::new(|_| {}),
            };
            std::thread::spawn(move || worker.run())
        });
        let on_its_way = coming.announce();
        let mut answers: Vec<Answer> = (1..8).map(|n| ask(&sender, &[n])).collect();
        let (last, answer) = entry(&[8], None);
        answers.push(answer);
        sender.send(Entry { on_its_way: Some(on_its_way), ..last }).unwrap();
        while runs.lock().unwrap().len() < 2 {
            std::thread::yield_now();
        }
        // One runs four of the eight, the other two of those left. Who asks again is answered with the first who asked,
        // whichever thread computes it and though nothing is cached; it is taken in before the batches end.
        answers.extend((1..9).map(|n| ask(&sender, &[n])));
        drop(sender);
        intake.take_in_all();
        gate.wait();
        for (n, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.blocking_recv().unwrap(), Ok((n % 8 + 1) as f32));
        }
        for thread in threads {
            thread.join().unwrap();
        }
        let mut runs = runs.lock().unwrap();
        runs[..2].sort_unstable();
        assert_eq!((&runs[..2], runs.iter().sum::<usize>()), (&[2, 4][..], 8), "{runs:?}");
    }

    #[test]
    fn who_waits_for_a_batch_that_nobody_finishes_is_not_left_waiting() {
        let (intake, _, sender) = intake(Duration::ZERO, 2);
        let mut asked = ask(&sender, &[1]);
        let mut batch = intake.next_batch().unwrap();
        let mut again = ask(&sender, &[1]);
        intake.take_in_all();
        assert!(
            batch.answer_known(|_| None) == 0
                && again.try_recv().is_err_and(|error| error == TryRecvError::Empty)
        );
        drop(batch);
        for answer in [&mut asked, &mut again] {
            assert_eq!(answer.try_recv(), Err(TryRecvError::Closed));
        }
    }
}
