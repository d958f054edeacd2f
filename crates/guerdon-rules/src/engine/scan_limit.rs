//! The limit of an evaluation: a deadline, a flag, or both.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

/// Stops an evaluation from outside: at a deadline, or when another thread sets a flag.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScanLimit<'s> {
    /// The moment after which an evaluation stops.
    pub deadline: Option<Instant>,
    /// A flag that stops an evaluation when it is true.
    pub stop: Option<&'s AtomicBool>,
}

impl ScanLimit<'_> {
    /// Returns true if the deadline has passed or the flag is set.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
            || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// The number of steps between two looks at the limit, because reading a clock costs as much as
/// many steps.
const STEPS_BETWEEN_LOOKS: u32 = 256;

/// A limit that loops ask at every step. Once it is over it stays over, so that no half-read text
/// is used.
#[derive(Debug, Default)]
pub(crate) struct ScanClock<'s> {
    limit: Mutex<ScanLimit<'s>>,
    steps: AtomicU32,
    over: AtomicBool,
}

impl<'s> ScanClock<'s> {
    pub(crate) fn new(limit: ScanLimit<'s>) -> Self {
        Self { limit: Mutex::new(limit), ..Self::default() }
    }

    /// Sets a deadline, unless there is an earlier one.
    pub(crate) fn add_deadline(&self, deadline: Option<Instant>) {
        let mut limit = self.limit.lock();
        limit.deadline = [limit.deadline, deadline].into_iter().flatten().min();
    }

    /// Counts a step of a loop. Returns true if the scan must stop.
    pub(crate) fn tick(&self) -> bool {
        let steps = self.steps.load(Ordering::Relaxed) + 1;
        if steps < STEPS_BETWEEN_LOOKS {
            self.steps.store(steps, Ordering::Relaxed);
            return self.over.load(Ordering::Relaxed);
        }
        self.is_over()
    }

    /// Returns true if an earlier look stopped the scan.
    pub(crate) fn has_stopped(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Looks at the limit. Returns true if the scan must stop.
    pub(crate) fn is_over(&self) -> bool {
        self.steps.store(0, Ordering::Relaxed);
        if !self.over.load(Ordering::Relaxed) && self.limit.lock().is_over() {
            self.over.store(true, Ordering::Relaxed);
        }
        self.over.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_stops_a_clock_for_good() {
        let stop = AtomicBool::new(false);
        let clock = ScanClock::new(ScanLimit { stop: Some(&stop), ..ScanLimit::default() });
        assert!((0..1000).all(|_| !clock.tick()));
        stop.store(true, Ordering::Relaxed);
        assert!((0..STEPS_BETWEEN_LOOKS).any(|_| clock.tick()));
        stop.store(false, Ordering::Relaxed);
        assert!(clock.tick() && clock.is_over());
    }

    #[test]
    fn the_earlier_deadline_counts() {
        let now = Instant::now();
        let clock = ScanClock::new(ScanLimit { deadline: Some(now), ..ScanLimit::default() });
        clock.add_deadline(Some(now + std::time::Duration::from_secs(600)));
        assert!(clock.is_over());
    }
}
