//! Aggregate statistics of the judge's points: correlation with the length of a turn, share at the
//! bound, and abstentions by reason. Each report covers the time since the one before. A policy
//! that exploits its judge shows here first.

use std::collections::BTreeMap;

use guerdon_types::{Part, Signal};
use parking_lot::Mutex;
use serde::Serialize;

/// Since the last look.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct DriftReport {
    /// Turns with points.
    pub judged: u64,
    /// Turns without.
    pub unjudged: u64,
    /// The mean of the points; `None` if no turn has any.
    pub mean_points: Option<f64>,
    /// Pearson's correlation of points with the turn's length in characters; nothing if one of them
    /// does not vary.
    pub length_correlation: Option<f64>,
    /// The share of judged turns whose points reach the fusion's bound by themselves; nothing
    /// without a bound.
    pub clipped: Option<f64>,
    /// Number of abstentions by reason.
    pub abstained: BTreeMap<&'static str, u64>,
}

/// Counts.
#[derive(Debug, Default)]
pub(crate) struct DriftMonitor {
    /// The bound of the fusion, if it is known.
    bound: Option<f64>,
    seen: Mutex<DriftSums>,
}

/// Running means and co-moments (Welford, "Note on a method for calculating corrected sums of
/// squares and products", 1962): sums of squares would lose the small differences of large lengths.
#[derive(Debug, Default)]
struct DriftSums {
    judged: u64,
    unjudged: u64,
    clipped: u64,
    mean_length: f64,
    mean_points: f64,
    lengths: f64,
    points: f64,
    both: f64,
    abstained: BTreeMap<&'static str, u64>,
}

impl DriftMonitor {
    pub(crate) fn within(bound: f64) -> Self {
        Self { bound: Some(bound), ..Self::default() }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "turns are short of 2^53, in number and in length"
    )]
    pub(crate) fn observe(&self, turn: &str, signal: &Signal) {
        let mut seen = self.seen.lock();
        for abstained in &signal.abstained {
            // Always a word of this version: the signal was made in this process.
            if let Some(why) = abstained.why.known() {
                *seen.abstained.entry(why.as_str()).or_default() += 1;
            }
        }
        let Some(Part::Judge(part)) = &signal.part else {
            seen.unjudged += 1;
            return;
        };
        let (length, points) = (turn.chars().count() as f64, part.points.get());
        seen.judged += 1;
        seen.clipped += u64::from(self.bound.is_some_and(|bound| points.abs() >= bound));
        let count = seen.judged as f64;
        let (from_length, from_points) = (length - seen.mean_length, points - seen.mean_points);
        seen.mean_length += from_length / count;
        seen.mean_points += from_points / count;
        seen.lengths += from_length * (length - seen.mean_length);
        seen.points += from_points * (points - seen.mean_points);
        seen.both += from_length * (points - seen.mean_points);
    }

    #[expect(clippy::cast_precision_loss, reason = "turns are short of 2^53")]
    pub(crate) fn take_report(&self) -> DriftReport {
        let seen = std::mem::take(&mut *self.seen.lock());
        let DriftSums {
            judged,
            unjudged,
            clipped,
            mean_points,
            lengths,
            points,
            both,
            abstained,
            ..
        } = seen;
        DriftReport {
            judged,
            unjudged,
            mean_points: (judged > 0).then_some(mean_points),
            length_correlation: (lengths > 0.0 && points > 0.0)
                .then(|| both / (lengths * points).sqrt()),
            clipped: self.bound.filter(|_| judged > 0).map(|_| clipped as f64 / judged as f64),
            abstained,
        }
    }
}

#[cfg(test)]
mod tests {
    use guerdon_types::{AbstainWhy, Abstention, Finite, JudgePart, SourceId};

    use super::*;

    fn judged(points: i32) -> Signal {
        let (criteria, model) = (Vec::new(), "m".to_owned());
        Signal::scored(Part::Judge(JudgePart {
            points: Finite::from(points),
            criteria,
            cached: false,
            model,
            group: None,
            asked: BTreeMap::new(),
        }))
    }

    #[test]
    fn points_that_follow_the_length_are_seen_and_each_look_begins_anew() {
        let drift = DriftMonitor::within(30.0);
        for (length, points) in [(10, 10), (20, 20), (30, 30), (40, 40)] {
            drift.observe(&"字".repeat(length), &judged(points));
        }
        let why = Abstention::new(SourceId::judge(), AbstainWhy::Refused, "no");
        drift.observe("x", &Signal::abstained(why));
        let report = drift.take_report();
        assert_eq!((report.judged, report.unjudged), (4, 1));
        assert!((report.length_correlation.unwrap() - 1.0).abs() < 1e-9);
        assert_eq!((report.mean_points, report.clipped), (Some(25.0), Some(0.5)));
        assert_eq!(report.abstained["refused"], 1);
        assert_eq!(drift.take_report(), DriftReport::default());
    }

    #[test]
    fn points_that_never_vary_have_no_correlation() {
        let drift = DriftMonitor::default();
        drift.observe("a", &judged(5));
        drift.observe("abc", &judged(5));
        let report = drift.take_report();
        assert_eq!((report.length_correlation, report.clipped), (None, None));
    }
}
