//! Log lines about a file that cannot be written: the first failure, a count at intervals, and the
//! recovery. A full disk fails every write, and its log must not fill what is left.

use std::time::{Duration, Instant};

/// Interval of the log lines about one outage.
const INTERVAL: Duration = Duration::from_secs(30);

/// Consecutive failures of writes to one file.
#[derive(Debug, Default)]
pub(super) struct WriteOutage {
    /// Answers that were not written since the outage began.
    lost: usize,
    reported: Option<Instant>,
}

/// A log line that is due after a write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OutageNews {
    /// Writes fail; this many answers are lost so far.
    Failing(usize),
    /// Writes succeed again, after this many lost answers.
    Over(usize),
}

impl WriteOutage {
    /// Counts the outcome of one write of `changes` changes at `now`. Returns what to log, if
    /// anything is due.
    pub(super) fn after_write(
        &mut self,
        succeeded: bool,
        changes: usize,
        now: Instant,
    ) -> Option<OutageNews> {
        if succeeded {
            let Self { lost, reported } = std::mem::take(self);
            return reported.map(|_| OutageNews::Over(lost));
        }
        self.lost += changes;
        if self.reported.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            return None;
        }
        self.reported = Some(now);
        Some(OutageNews::Failing(self.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_logged_at_its_start_at_intervals_and_at_its_end() {
        let (mut outage, start) = (WriteOutage::default(), Instant::now());
        assert_eq!(outage.after_write(true, 5, start), None);
        assert_eq!(outage.after_write(false, 2, start), Some(OutageNews::Failing(2)));
        for _ in 0..1_000 {
            assert_eq!(outage.after_write(false, 1, start + INTERVAL / 2), None);
        }
        assert_eq!(
            outage.after_write(false, 1, start + INTERVAL),
            Some(OutageNews::Failing(1_003))
        );
        assert_eq!(outage.after_write(true, 1, start + INTERVAL), Some(OutageNews::Over(1_003)));
        assert_eq!(outage.after_write(true, 1, start + INTERVAL), None);
    }
}
