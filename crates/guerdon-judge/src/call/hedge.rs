//! A second attempt for the few that are slow: sent when the first has taken longer than 95 of 100
//! usually do, and only within a share of all attempts. The first reply counts; the other attempt
//! is given up, and its price is the price of not waiting. (Dean and Barroso, "The tail at scale",
//! CACM 56(2), 2013.)

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Duration;

/// Durations remembered.
const MEMORY: usize = 256;
/// Fewer than these say nothing about a 95th percentile.
const ENOUGH: usize = 32;
/// Hedges that a quiet time may save up.
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

    /// A first attempt is sent: how long to wait before a second one, if that is wanted at all.
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

    /// An attempt was answered.
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
