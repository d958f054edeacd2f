//! The turns that wait for the device: who asked, until when, and which of them ask the same question.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use tokio::sync::oneshot;
use tracing::Span;

use crate::batch::{Limits, next_batch};
use crate::fair::FairClock;
use crate::intake::OnItsWay;
use crate::queue::Place;
use crate::tokens::Tokens;

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

/// The waiting set. Turns with the same ids, such as samples of a policy that has made up its mind, are one sequence.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Most urgent first.
    sequences: BTreeMap<Turn, Sequence>,
    turns: HashMap<Tokens, Turn>,
    clock: FairClock,
    arrivals: u64,
    tokens: usize,
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
        if let Some(sequence) = self.turns.get(&entry.tokens).and_then(|turn| self.sequences.get_mut(turn)) {
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
        let mut deserted = Vec::new();
        for (turn, sequence) in &mut self.sequences {
            for late in sequence.entries.extract_if(.., |entry| entry.reply.is_closed() || entry.is_late(now))
            {
                late.answer(Err(Lost::Deadline));
            }
            if sequence.entries.is_empty() {
                deserted.push(*turn);
            }
        }
        for turn in deserted {
            self.remove(turn);
        }
        if let Some(((tag, _), _)) = self.sequences.first_key_value() {
            self.clock.served(*tag);
        }
        let (turns, tokens): (Vec<Turn>, Vec<&Tokens>) =
            self.sequences.iter().map(|(turn, sequence)| (*turn, &sequence.tokens)).unzip();
        let batch = next_batch(&tokens, limits);
        let batch = batch.into_iter().filter_map(|place| self.remove(turns[place])).collect();
        if self.is_empty() {
            self.clock.reset();
        }
        batch
    }
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
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::batch::Layout;
    use crate::queue::Queue;

    pub(crate) fn entry(ids: &[u32], deadline: Option<Instant>) -> (Entry, Answer) {
        let (reply, answer) = oneshot::channel();
        let place = Queue::new(1).reserve(1).now_or_never().flatten().unwrap().place(ids.len()).unwrap();
        let (tokens, queued, span) = (Tokens::unmarked(ids), Instant::now(), Span::none());
        (Entry { tokens, client: 0, deadline, queued, span, reply, place, on_its_way: None }, answer)
    }

    const LIMITS: Limits = Limits { layout: Layout::Padded, token_budget: 100, max_items: 100 };

    fn taken(waiting: &mut Waiting, now: Instant) -> Vec<(Vec<u32>, usize)> {
        let batch = waiting.take_batch(now, LIMITS).into_iter();
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
}
