//! The turns that wait for the device: who asked, until when, and which of them ask the same question.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::Span;

use crate::batch::{Limits, next_batch};

/// One turn that waits for its score.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) ids: Arc<[u32]>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) queued: Instant,
    /// The request's span, so that a trace shows which batch scored it.
    pub(crate) span: Span,
    pub(crate) reply: oneshot::Sender<Result<f32, Lost>>,
    /// Its place in the queue, free again when the entry is dropped.
    pub(crate) place: OwnedSemaphorePermit,
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
    /// By arrival.
    sequences: BTreeMap<u64, Sequence>,
    arrival: HashMap<Arc<[u32]>, u64>,
    arrivals: u64,
    tokens: usize,
}

/// One distinct sequence and everybody who waits for it; never nobody.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) ids: Arc<[u32]>,
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
            self.arrival.get(&entry.ids).and_then(|arrival| self.sequences.get_mut(arrival))
        {
            sequence.entries.push(entry);
            return;
        }
        let (arrival, ids) = (self.arrivals, Arc::clone(&entry.ids));
        self.arrivals += 1;
        self.tokens += ids.len();
        self.arrival.insert(Arc::clone(&ids), arrival);
        self.sequences.insert(arrival, Sequence { ids, entries: vec![entry] });
    }

    fn remove(&mut self, arrival: u64) -> Option<Sequence> {
        let sequence = self.sequences.remove(&arrival)?;
        self.arrival.remove(&sequence.ids);
        self.tokens -= sequence.ids.len();
        Some(sequence)
    }

    /// Takes the next batch, oldest first. Whoever hung up takes no place in it, nor does whoever's deadline is past,
    /// and those are told.
    pub(crate) fn take_batch(&mut self, now: Instant, limits: Limits) -> Vec<Sequence> {
        let mut deserted = Vec::new();
        for (arrival, sequence) in &mut self.sequences {
            for late in sequence.entries.extract_if(.., |entry| entry.reply.is_closed() || entry.is_late(now))
            {
                late.answer(Err(Lost::Deadline));
            }
            if sequence.entries.is_empty() {
                deserted.push(*arrival);
            }
        }
        for arrival in deserted {
            self.remove(arrival);
        }
        let (arrivals, lengths): (Vec<u64>, Vec<usize>) =
            self.sequences.iter().map(|(arrival, sequence)| (*arrival, sequence.ids.len())).unzip();
        next_batch(&lengths, limits).into_iter().filter_map(|place| self.remove(arrivals[place])).collect()
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

    use tokio::sync::Semaphore;

    use super::*;

    pub(crate) fn entry(ids: &[u32], deadline: Option<Instant>) -> (Entry, Answer) {
        let (reply, answer) = oneshot::channel();
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let entry =
            Entry { ids: ids.into(), deadline, queued: Instant::now(), span: Span::none(), reply, place };
        (entry, answer)
    }

    const LIMITS: Limits = Limits { token_budget: 100, max_items: 100 };

    fn taken(waiting: &mut Waiting, now: Instant) -> Vec<(Vec<u32>, usize)> {
        waiting.take_batch(now, LIMITS).into_iter().map(|s| (s.ids.to_vec(), s.entries.len())).collect()
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
