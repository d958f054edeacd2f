//! The waiting set: queued turns, coalesced into distinct sequences, with deadlines and fair order.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use guerdon_queue::{FairQueue, QueuePosition};
use tokio::sync::oneshot;
use tracing::Span;

use crate::encode::tokens::TokenSequence;
use crate::engine::batch_plan::{BatchLimits, next_batch};
use crate::engine::head::RawScore;
use crate::queue::in_flight::InFlightGuard;
use crate::queue::slots::QueueSlot;

/// A turn that waits for its score.
#[derive(Debug)]
pub(crate) struct QueuedTurn {
    pub(crate) tokens: TokenSequence,
    /// The client; device time is shared evenly between clients.
    pub(crate) client: u64,
    pub(crate) deadline: Option<Instant>,
    pub(crate) queued: Instant,
    /// The request's span, which links a trace to the batch that scored it.
    pub(crate) span: Span,
    pub(crate) reply: oneshot::Sender<Result<RawScore, ScoreError>>,
    /// The turn's queue slot, freed when the entry is dropped.
    pub(crate) slot: QueueSlot,
    /// Set in the last entry of a request: counts the request as in flight until it is admitted.
    pub(crate) in_flight_guard: Option<InFlightGuard>,
}

/// The receiving end of a queued turn's score.
pub(crate) type ScoreReceiver = oneshot::Receiver<Result<RawScore, ScoreError>>;

/// The reason why a queued turn has no score.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ScoreError {
    /// The deadline passed while the turn waited.
    Deadline,
    /// The model returned this number as its score or as one of its objectives.
    NotFinite(f32),
    /// The engine failed on the sequence alone, with this message.
    Engine(String),
}

/// The interval at which all waiting turns are checked for expired deadlines and closed channels,
/// and not only those in the window.
const SWEEP_EVERY: Duration = Duration::from_millis(50);

/// The waiting set. Turns with the same ids, such as equal samples of a converged policy, are one
/// sequence.
#[derive(Debug, Default)]
pub(crate) struct WaitingSet {
    /// By client; the cost of a sequence is its number of tokens.
    sequences: FairQueue<u64, WaitingSequence>,
    positions: HashMap<TokenSequence, QueuePosition>,
    next_sweep: Option<Instant>,
}

/// A distinct token sequence and its waiters (at least one).
#[derive(Debug)]
pub(crate) struct WaitingSequence {
    pub(crate) tokens: TokenSequence,
    pub(crate) entries: Vec<QueuedTurn>,
}

impl WaitingSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// Tokens of the distinct sequences, without padding.
    pub(crate) fn tokens(&self) -> usize {
        usize::try_from(self.sequences.cost()).unwrap_or(usize::MAX)
    }

    pub(crate) fn push(&mut self, entry: QueuedTurn) {
        if let Some(sequence) =
            self.positions.get(&entry.tokens).and_then(|at| self.sequences.get_mut(*at))
        {
            sequence.entries.push(entry);
            return;
        }
        let tokens = entry.tokens.clone();
        let cost = u64::try_from(tokens.len()).unwrap_or(u64::MAX);
        let client = entry.client;
        let sequence = WaitingSequence { tokens: tokens.clone(), entries: vec![entry] };
        let position = self.sequences.push(client, cost, 1, sequence);
        self.positions.insert(tokens, position);
    }

    fn remove(&mut self, position: QueuePosition) -> Option<WaitingSequence> {
        let sequence = self.sequences.remove(position)?;
        self.positions.remove(&sequence.tokens);
        Some(sequence)
    }

    /// Removes the next batch: the most urgent sequence and the sequences that run well with it.
    /// Turns whose callers have disconnected are dropped, and turns past their deadline get
    /// [`ScoreError::Deadline`].
    pub(crate) fn take_batch(&mut self, now: Instant, limits: BatchLimits) -> Vec<WaitingSequence> {
        // All turns are checked now and then, so that slots become free; otherwise only the window
        // is checked.
        let all = self.next_sweep.is_none_or(|next_sweep| now >= next_sweep);
        if all {
            self.next_sweep = Some(now + SWEEP_EVERY);
        }
        self.sweep(now, if all { usize::MAX } else { limits.window() });
        let first = self.sequences.first().map(|(position, _)| position);
        if let Some(position) = first {
            self.sequences.serve(position);
        }
        let (positions, tokens): (Vec<QueuePosition>, Vec<&TokenSequence>) =
            within_window(&self.sequences, limits.window())
                .map(|(position, sequence)| (position, &sequence.tokens))
                .unzip();
        let batch = next_batch(&tokens, limits);
        let batch = batch.into_iter().filter_map(|index| self.remove(positions[index])).collect();
        if self.is_empty() {
            self.sequences.reset_clock();
        }
        batch
    }

    /// Removes the closed and late turns among the most urgent sequences, until `window` tokens of
    /// live sequences are found.
    fn sweep(&mut self, now: Instant, window: usize) {
        let gone = |entry: &QueuedTurn| entry.reply.is_closed() || entry.is_late(now);
        let mut left = 0;
        let touched: Vec<QueuePosition> = self
            .sequences
            .iter()
            .take_while(|(_, sequence)| {
                let within = left < window;
                if sequence.entries.iter().any(|entry| !gone(entry)) {
                    left += sequence.tokens.len();
                }
                within
            })
            .filter(|(_, sequence)| sequence.entries.iter().any(gone))
            .map(|(position, _)| position)
            .collect();
        for position in touched {
            let Some(sequence) = self.sequences.get_mut(position) else { continue };
            for late in sequence.entries.extract_if(.., |entry| gone(entry)) {
                late.answer(Err(ScoreError::Deadline));
            }
            if sequence.entries.is_empty() {
                self.remove(position);
            }
        }
    }
}

/// The most urgent sequences that together hold `window` tokens, or slightly more.
fn within_window(
    sequences: &FairQueue<u64, WaitingSequence>,
    window: usize,
) -> impl Iterator<Item = (QueuePosition, &WaitingSequence)> {
    let mut before = 0;
    sequences.iter().take_while(move |(_, sequence)| {
        let within = before < window;
        before += sequence.tokens.len();
        within
    })
}

impl WaitingSequence {
    /// Sends the score to all waiters.
    pub(crate) fn answer(self, score: &Result<RawScore, ScoreError>) {
        for entry in self.entries {
            entry.answer(score.clone());
        }
    }
}

impl QueuedTurn {
    fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Frees the queue slot and sends the score. Sending fails if the caller has disconnected,
    /// which is no error.
    pub(crate) fn answer(self, score: Result<RawScore, ScoreError>) {
        let Self { reply, slot, .. } = self;
        drop(slot);
        drop(reply.send(score));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::engine::batch_plan::Layout;
    use crate::queue::slots::QueueSlots;

    pub(crate) fn entry(ids: &[u32], deadline: Option<Instant>) -> (QueuedTurn, ScoreReceiver) {
        let (reply, answer) = oneshot::channel();
        let slot = QueueSlots::new(1)
            .reserve(0, 1)
            .now_or_never()
            .flatten()
            .unwrap()
            .slot(ids.len())
            .unwrap();
        let (tokens, queued, span) = (TokenSequence::unmarked(ids), Instant::now(), Span::none());
        (
            QueuedTurn {
                tokens,
                client: 0,
                deadline,
                queued,
                span,
                reply,
                slot,
                in_flight_guard: None,
            },
            answer,
        )
    }

    fn taken(waiting: &mut WaitingSet, now: Instant) -> Vec<(Vec<u32>, usize)> {
        let batch = waiting.take_batch(now, BatchLimits::new(Layout::Padded, 100, 100)).into_iter();
        batch.map(|sequence| (sequence.tokens.ids.to_vec(), sequence.entries.len())).collect()
    }

    #[test]
    fn small_client_does_not_wait_for_a_large_one() {
        let mut waiting = WaitingSet::default();
        let mut answers = Vec::new();
        for n in 0..50 {
            let (entry, answer) = entry(&[n; 40], None);
            waiting.push(entry);
            answers.push(answer);
        }
        let first = taken(&mut waiting, Instant::now());
        assert_eq!(first, [(vec![0; 40], 1), (vec![1; 40], 1)]);
        let (single, _answer) = entry(&[99; 40], None);
        waiting.push(QueuedTurn { client: 1, ..single });
        let second = taken(&mut waiting, Instant::now());
        assert!(second.contains(&(vec![99; 40], 1)), "{second:?}");
    }

    #[test]
    fn turns_with_equal_tokens_share_one_sequence() {
        let mut waiting = WaitingSet::default();
        let kept: Vec<ScoreReceiver> = [&[1, 2][..], &[3], &[1, 2]]
            .into_iter()
            .map(|ids| {
                let (entry, answer) = entry(ids, None);
                waiting.push(entry);
                answer
            })
            .collect();
        assert_eq!(waiting.tokens(), 3);
        assert_eq!(taken(&mut waiting, Instant::now()), [(vec![1, 2], 2), (vec![3], 1)]);
        assert!(waiting.is_empty() && waiting.tokens() == 0);
        drop(kept);
    }

    #[test]
    fn closed_turns_are_dropped_and_late_turns_get_a_deadline_error() {
        let now = Instant::now();
        let mut waiting = WaitingSet::default();
        let (gone, answer) = entry(&[1], None);
        drop(answer);
        let (late, mut late_answer) = entry(&[2], Some(now));
        let (in_time, _answer) = entry(&[3], Some(now + Duration::from_secs(1)));
        // Another turn with the same tokens is not late, so the sequence stays.
        let (also, _also) = entry(&[2], None);
        for entry in [gone, late, in_time, also] {
            waiting.push(entry);
        }
        assert_eq!(taken(&mut waiting, now), [(vec![2], 1), (vec![3], 1)]);
        assert_eq!(late_answer.try_recv().unwrap(), Err(ScoreError::Deadline));
    }

    #[test]
    fn closed_turns_behind_the_window_are_swept() {
        let limits = BatchLimits::new(Layout::Padded, 1, 1);
        let (now, mut waiting) = (Instant::now(), WaitingSet::default());
        let mut answers = Vec::new();
        for n in 0..3 {
            let (entry, answer) = entry(&vec![n; limits.window()], None);
            waiting.push(entry);
            answers.push(answer);
        }
        assert_eq!(waiting.take_batch(now, limits).len(), 1);
        answers.pop();
        let late = answers.pop();
        assert_eq!(waiting.take_batch(now, limits).len(), 1, "the most urgent is still there");
        assert!(!waiting.is_empty(), "the last one has not been swept yet");
        assert!(waiting.take_batch(now + SWEEP_EVERY, limits).is_empty() && waiting.is_empty());
        drop(late);
    }
}
