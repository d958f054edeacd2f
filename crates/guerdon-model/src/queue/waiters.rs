//! The turns that wait for the device: who asked, until when, and which of them ask the same question.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::Span;

use crate::encode::tokens::Tokens;
use crate::engine::batch_plan::{Limits, next_batch};
use crate::queue::fair::FairClock;
use crate::queue::in_flight::OnItsWay;
use crate::queue::slots::Place;

/// One turn that waits for its score.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) tokens: Tokens,
    /// Who asks: the device's time is shared evenly between clients.
    pub(crate) client: u64,
    pub(crate) deadline: Option<Instant>,
    pub(crate) queued: Instant,
    /// The request's span, so that a trace shows which batch scored it.
    pub(crate) span: Span,
    pub(crate) reply: oneshot::Sender<Result<f32, Lost>>,
    /// Its place in the queue, free again when the entry is dropped.
    pub(crate) place: Place,
    /// In the last entry of a request: the request, until it is taken in.
    pub(crate) on_its_way: Option<OnItsWay>,
}

/// What whoever asked waits on.
pub(crate) type Answer = oneshot::Receiver<Result<f32, Lost>>;

/// Why a queued turn has no score.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Lost {
    /// Its deadline passed while it waited.
    Deadline,
    /// The model said this.
    NotFinite(f32),
    /// The engine failed on it, alone.
    Engine(String),
}

/// How often everybody who waits is looked at, and not only those who may be chosen.
const SWEEP_EVERY: Duration = Duration::from_millis(50);

/// The waiting set. Turns with the same ids, such as samples of a policy that has made up its mind, are one sequence.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Most urgent first.
    sequences: BTreeMap<Turn, Sequence>,
    turns: HashMap<Tokens, Turn>,
    clock: FairClock,
    arrivals: u64,
    tokens: usize,
    next_sweep: Option<Instant>,
}

/// A sequence's turn: its fair tag, and by arrival among equals.
type Turn = (u64, u64);

/// One distinct sequence and everybody who waits for it; never nobody.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) tokens: Tokens,
    pub(crate) entries: Vec<Entry>,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// Tokens of the distinct sequences, without padding.
    pub(crate) const fn tokens(&self) -> usize {
        self.tokens
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        if let Some(sequence) =
            self.turns.get(&entry.tokens).and_then(|turn| self.sequences.get_mut(turn))
        {
            sequence.entries.push(entry);
            return;
        }
        let tokens = entry.tokens.clone();
        let turn = (self.clock.tag(entry.client, tokens.len()), self.arrivals);
        self.arrivals += 1;
        self.tokens += tokens.len();
        self.turns.insert(tokens.clone(), turn);
        self.sequences.insert(turn, Sequence { tokens, entries: vec![entry] });
    }

    fn remove(&mut self, turn: Turn) -> Option<Sequence> {
        let sequence = self.sequences.remove(&turn)?;
        self.turns.remove(&sequence.tokens);
        self.tokens -= sequence.tokens.len();
        Some(sequence)
    }

    /// Takes the next batch: the most urgent sequence, and what runs well beside it. Whoever hung up takes no place in it,
    /// nor does whoever's deadline is past, and those are told.
    pub(crate) fn take_batch(&mut self, now: Instant, limits: Limits) -> Vec<Sequence> {
        // All of them now and then, so that places become free; between times those who may be chosen.
        let all = self.next_sweep.is_none_or(|next_sweep| now >= next_sweep);
        if all {
            self.next_sweep = Some(now + SWEEP_EVERY);
        }
        self.sweep(now, if all { usize::MAX } else { limits.window() });
        if let Some(((tag, _), _)) = self.sequences.first_key_value() {
            self.clock.served(*tag);
        }
        let (turns, tokens): (Vec<Turn>, Vec<&Tokens>) = within(&self.sequences, limits.window())
            .map(|(turn, sequence)| (*turn, &sequence.tokens))
            .unzip();
        let batch = next_batch(&tokens, limits);
        let batch = batch.into_iter().filter_map(|place| self.remove(turns[place])).collect();
        if self.is_empty() {
            self.clock.reset();
        }
        batch
    }

    /// Lets go of those among the most urgent who hung up or whose deadline is past, until what is left has `window` tokens.
    fn sweep(&mut self, now: Instant, window: usize) {
        let gone = |entry: &Entry| entry.reply.is_closed() || entry.is_late(now);
        let mut left = 0;
        let touched: Vec<Turn> = self
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
            .map(|(turn, _)| *turn)
            .collect();
        for turn in touched {
            let Some(sequence) = self.sequences.get_mut(&turn) else { continue };
            for late in sequence.entries.extract_if(.., |entry| gone(entry)) {
                late.answer(Err(Lost::Deadline));
            }
            if sequence.entries.is_empty() {
                self.remove(turn);
            }
        }
    }
}

/// The most urgent sequences, of `window` tokens in all or a little more.
fn within(
    sequences: &BTreeMap<Turn, Sequence>,
    window: usize,
) -> impl Iterator<Item = (&Turn, &Sequence)> {
    let mut before = 0;
    sequences.iter().take_while(move |(_, sequence)| {
        let within = before < window;
        before += sequence.tokens.len();
        within
    })
}

impl Sequence {
    /// Answers everybody who waits for it.
    pub(crate) fn answer(self, score: &Result<f32, Lost>) {
        for entry in self.entries {
            entry.answer(score.clone());
        }
    }
}

impl Entry {
    fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Answers, and gives the place in the queue back. A caller who hung up meanwhile is nobody's fault.
    pub(crate) fn answer(self, score: Result<f32, Lost>) {
        let Self { reply, place, .. } = self;
        drop(place);
        drop(reply.send(score));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::engine::batch_plan::Layout;
    use crate::queue::slots::Queue;

    pub(crate) fn entry(ids: &[u32], deadline: Option<Instant>) -> (Entry, Answer) {
        let (reply, answer) = oneshot::channel();
        let place =
            Queue::new(1).reserve(1).now_or_never().flatten().unwrap().place(ids.len()).unwrap();
        let (tokens, queued, span) = (Tokens::unmarked(ids), Instant::now(), Span::none());
        (
            Entry { tokens, client: 0, deadline, queued, span, reply, place, on_its_way: None },
            answer,
        )
    }

    fn taken(waiting: &mut Waiting, now: Instant) -> Vec<(Vec<u32>, usize)> {
        let batch = waiting.take_batch(now, Limits::new(Layout::Padded, 100, 100)).into_iter();
        batch.map(|sequence| (sequence.tokens.ids.to_vec(), sequence.entries.len())).collect()
    }

    #[test]
    fn a_small_client_does_not_wait_for_a_large_one() {
        let mut waiting = Waiting::default();
        let mut answers = Vec::new();
        for n in 0..50 {
            let (entry, answer) = entry(&[n; 40], None);
            waiting.push(entry);
            answers.push(answer);
        }
        let first = taken(&mut waiting, Instant::now());
        assert_eq!(first, [(vec![0; 40], 1), (vec![1; 40], 1)]);
        let (single, _answer) = entry(&[99; 40], None);
        waiting.push(Entry { client: 1, ..single });
        let second = taken(&mut waiting, Instant::now());
        assert!(second.contains(&(vec![99; 40], 1)), "{second:?}");
    }

    #[test]
    fn equal_questions_are_one_sequence_and_all_who_asked_wait_for_it() {
        let mut waiting = Waiting::default();
        let kept: Vec<Answer> = [&[1, 2][..], &[3], &[1, 2]]
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
    fn who_hung_up_takes_no_place_and_who_is_late_is_told() {
        let now = Instant::now();
        let mut waiting = Waiting::default();
        let (gone, answer) = entry(&[1], None);
        drop(answer);
        let (late, mut told) = entry(&[2], Some(now));
        let (in_time, _answer) = entry(&[3], Some(now + Duration::from_secs(1)));
        // Asks what the late one asked, in time: the sequence stays for this one.
        let (also, _also) = entry(&[2], None);
        for entry in [gone, late, in_time, also] {
            waiting.push(entry);
        }
        assert_eq!(taken(&mut waiting, now), [(vec![2], 1), (vec![3], 1)]);
        assert_eq!(told.try_recv().unwrap(), Err(Lost::Deadline));
    }

    #[test]
    fn who_hung_up_far_behind_gives_the_place_back_before_long() {
        let limits = Limits::new(Layout::Padded, 1, 1);
        let (now, mut waiting) = (Instant::now(), Waiting::default());
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
        assert!(!waiting.is_empty(), "nobody looked at the last yet");
        assert!(waiting.take_batch(now + SWEEP_EVERY, limits).is_empty() && waiting.is_empty());
        drop(late);
    }
}
