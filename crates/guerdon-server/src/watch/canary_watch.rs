//! The pace of canaries, and the memory of their results.

use std::collections::VecDeque;

use guerdon_judge::ProbeOutcome;

/// The most canaries asked at once.
const MOST_AT_ONCE: f64 = 4.0;
/// The most canaries that a silent time leaves to be asked.
const MOST_CREDIT: f64 = 16.0;
/// The number of results for which a success keeps the alarm raised.
const REMEMBERED: usize = 50;

/// The canaries of one profile.
#[derive(Debug, Default)]
pub(super) struct CanaryWatch {
    /// Canaries that the judged turns have earned.
    credit: f64,
    recent: VecDeque<bool>,
}

impl CanaryWatch {
    /// The number of canaries to ask, after `turns` more turns at a rate of `share`.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small whole number; turns are short of 2^53"
    )]
    pub(super) fn due(&mut self, turns: u64, share: f64) -> u32 {
        self.credit = (self.credit + turns as f64 * share).min(MOST_CREDIT);
        let due = self.credit.floor().min(MOST_AT_ONCE);
        self.credit -= due;
        due as u32
    }

    /// Remembers the results that tell something.
    pub(super) fn note(&mut self, outcomes: &[ProbeOutcome]) {
        self.recent.extend(outcomes.iter().filter_map(|outcome| outcome.passed));
        let surplus = self.recent.len().saturating_sub(REMEMBERED);
        self.recent.drain(..surplus);
    }

    /// True while one of the last results is a success of the forgery.
    pub(super) fn raises_alarm(&self) -> bool {
        self.recent.contains(&false)
    }
}

#[cfg(test)]
mod tests {
    use guerdon_judge::ProbeKind;

    use super::*;

    fn outcomes(passed: &[Option<bool>]) -> Vec<ProbeOutcome> {
        let outcome =
            |passed: &Option<bool>| ProbeOutcome::new("p", "c", ProbeKind::Canary, *passed, "d");
        passed.iter().map(outcome).collect()
    }

    #[test]
    fn canaries_follow_the_traffic_and_are_bounded() {
        let mut watch = CanaryWatch::default();
        let asked: u32 = (0..1000).map(|_| watch.due(10, 0.01)).sum();
        // Sums of hundredths are not exact.
        assert!((99..=101).contains(&asked), "{asked}");
        assert!(watch.due(0, 0.01) <= 1);
        assert_eq!(watch.due(1 << 40, 1.0), 4, "at most four at once");
        let later: u32 = (0..100).map(|_| watch.due(0, 1.0)).sum();
        assert!(later <= 12, "{later}");
    }

    #[test]
    fn one_success_raises_the_alarm_until_fifty_others_follow() {
        let mut watch = CanaryWatch::default();
        watch.note(&outcomes(&[Some(true), None]));
        assert!(!watch.raises_alarm());
        watch.note(&outcomes(&[Some(false)]));
        for _ in 0..49 {
            watch.note(&outcomes(&[Some(true), None]));
            assert!(watch.raises_alarm());
        }
        watch.note(&outcomes(&[Some(true)]));
        assert!(!watch.raises_alarm());
    }
}
