//! A second attempt for slow ones. It is sent when the first has taken longer than 95 of 100 recent
//! attempts, and only for a share of all attempts. The first reply counts. The other attempt is
//! dropped, and may still be billed. (Dean and Barroso, "The tail at scale", CACM 56(2), 2013.)

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;

/// Number of recent durations kept.
const MEMORY: usize = 256;
/// Fewest durations from which a 95th percentile is estimated.
const ENOUGH: usize = 32;
/// Most unused hedges that are saved.
const SAVED: f64 = 10.0;

/// Delay before a hedge, and the number of hedges still allowed.
#[derive(Debug)]
pub(crate) struct Hedge {
    share: f64,
    memory: Mutex<RecentDurations>,
}

#[derive(Debug, Default)]
struct RecentDurations {
    durations: VecDeque<Duration>,
    credit: f64,
}

impl Hedge {
    pub(crate) fn new(share: f64) -> Self {
        Self { share, memory: Mutex::default() }
    }

    /// Counts a first attempt, and returns the time to wait before its hedge. `None` if hedging is
    /// off or too few durations are known.
    pub(crate) fn patience(&self) -> Option<Duration> {
        if self.share <= 0.0 {
            return None;
        }
        let mut memory = self.memory.lock();
        memory.credit = (memory.credit + self.share).min(SAVED);
        if memory.durations.len() < ENOUGH {
            return None;
        }
        let mut sorted: Vec<Duration> = memory.durations.iter().copied().collect();
        let nth = sorted.len() * 95 / 100;
        sorted.select_nth_unstable(nth);
        sorted.get(nth).copied()
    }

    /// Takes one hedge from the allowance; false if none is left.
    pub(crate) fn take(&self) -> bool {
        let mut memory = self.memory.lock();
        let may = memory.credit >= 1.0;
        if may {
            memory.credit -= 1.0;
        }
        may
    }

    /// Records the duration of an answered attempt.
    pub(crate) fn answered(&self, took: Duration) {
        if self.share <= 0.0 {
            return;
        }
        let mut memory = self.memory.lock();
        if memory.durations.len() == MEMORY {
            memory.durations.pop_front();
        }
        memory.durations.push_back(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_the_95th_percentile_once_enough_is_known() {
        let hedge = Hedge::new(0.05);
        for millis in 1..=31 {
            hedge.answered(Duration::from_millis(millis));
        }
        assert_eq!(hedge.patience(), None);
        for millis in 32..=100 {
            hedge.answered(Duration::from_millis(millis));
        }
        assert_eq!(hedge.patience(), Some(Duration::from_millis(96)));
    }

    #[test]
    fn second_attempts_stay_within_their_share() {
        let hedge = Hedge::new(0.05);
        let mut sent = 0;
        for _ in 0..1000 {
            hedge.patience();
            sent += usize::from(hedge.take());
        }
        assert!((45..=50).contains(&sent), "{sent}");
        let none = Hedge::new(0.0);
        assert!(none.patience().is_none() && !none.take());
    }
}
