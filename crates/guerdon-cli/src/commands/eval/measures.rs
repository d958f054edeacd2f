//! The measures of a method: the ratings of its conversations, and the share of bad cases that it
//! fixes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::estimate::{Difference, IntervalEstimate};
use super::mean;
use super::panel::{Metric, alpha, majority, median};
use super::proportion::Proportion;
use super::rows::{EvalRow, FixVerdict, ObservedOutcome, ReplyRating};

/// The conditions of an excellent reply.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ExcellentReply {
    /// The lowest excellent rating.
    pub(super) rating: f64,
    /// The number of raters that must give it. Default: more than half of the reply's raters.
    pub(super) quorum: Option<usize>,
}

/// Counts of one method: for every run, one number per conversation or case.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct MethodCounts {
    rating: ByRun<f64>,
    /// `excellent`, `fixed`, `clean` and every outcome.
    shares: BTreeMap<String, ByRun<bool>>,
    ratings: Vec<Vec<f64>>,
    verdicts: Vec<Vec<f64>>,
    raters: BTreeSet<String>,
}

type ByRun<T> = BTreeMap<String, Vec<T>>;

/// A method's measures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Measures {
    pub(super) method: String,
    pub(super) runs: usize,
    /// Conversations and bad cases of all runs together.
    pub(super) conversations: usize,
    pub(super) bad_cases: usize,
    pub(super) raters: usize,
    /// Mean over conversations of the mean over replies of the raters' median.
    pub(super) rating: Option<IntervalEstimate>,
    /// `excellent`: conversations with at least one excellent reply. `fixed`: cases that most
    /// raters call fixed. `clean`: fixed cases that most raters call unbroken elsewhere. Outcomes
    /// by their names.
    pub(super) shares: BTreeMap<String, Option<IntervalEstimate>>,
    /// Krippendorff's alpha of the ratings (ordinal) and of the verdicts (nominal).
    pub(super) rating_alpha: Option<f64>,
    pub(super) verdict_alpha: Option<f64>,
    /// The difference to the method of `--against`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) against: BTreeMap<String, Difference>,
}

/// Groups rows by method, and combines the raters of each reply and case into one number.
pub(super) fn count(rows: &[EvalRow], excellent: ExcellentReply) -> BTreeMap<String, MethodCounts> {
    let mut replies: BTreeMap<[&str; 3], BTreeMap<usize, Vec<&ReplyRating>>> = BTreeMap::new();
    let mut cases: BTreeMap<[&str; 3], Vec<&FixVerdict>> = BTreeMap::new();
    let mut counted: BTreeMap<String, MethodCounts> = BTreeMap::new();
    for row in rows {
        match row {
            EvalRow::Reply(row) => {
                let of = replies.entry([&row.method, &row.run, &row.conversation]).or_default();
                of.entry(row.turn).or_default().push(row);
            }
            EvalRow::BadCase(row) => {
                cases.entry([&row.method, &row.run, &row.case]).or_default().push(row)
            }
            EvalRow::Outcome(ObservedOutcome { method, run, outcome, yes, .. }) => {
                counted.entry(method.clone()).or_default().vote(outcome, run, *yes);
            }
        }
    }
    for ([method, run, _], turns) in replies {
        counted.entry(method.to_owned()).or_default().conversation(run, turns.values(), excellent);
    }
    for ([method, run, _], verdicts) in cases {
        counted.entry(method.to_owned()).or_default().case(run, &verdicts);
    }
    counted
}

impl MethodCounts {
    fn vote(&mut self, name: &str, run: &str, yes: bool) {
        self.shares
            .entry(name.to_owned())
            .or_default()
            .entry(run.to_owned())
            .or_default()
            .push(yes);
    }

    fn conversation<'a>(
        &mut self,
        run: &str,
        turns: impl Iterator<Item = &'a Vec<&'a ReplyRating>>,
        excellent: ExcellentReply,
    ) {
        let mut medians = Vec::new();
        let mut any = false;
        for raters in turns {
            let ratings: Vec<f64> = raters.iter().map(|row| row.rating).collect();
            let high = ratings.iter().filter(|rating| **rating >= excellent.rating).count();
            any |= high >= excellent.quorum.unwrap_or(ratings.len() / 2 + 1);
            medians.extend(median(&ratings));
            self.raters.extend(raters.iter().map(|row| row.rater.clone()));
            self.ratings.push(ratings);
        }
        self.rating.entry(run.to_owned()).or_default().extend(mean::mean(&medians));
        self.vote("excellent", run, any);
    }

    fn case(&mut self, run: &str, verdicts: &[&FixVerdict]) {
        let fixed = majority(verdicts.iter().map(|row| row.fixed));
        let whole = majority(verdicts.iter().map(|row| !row.broken));
        self.vote("fixed", run, fixed);
        self.vote("clean", run, fixed && whole);
        self.raters.extend(verdicts.iter().map(|row| row.rater.clone()));
        self.verdicts.push(verdicts.iter().map(|row| f64::from(u8::from(row.fixed))).collect());
    }

    /// This method's measures, tested against `other`.
    pub(super) fn measures(&self, method: &str, other: Option<&Self>) -> Measures {
        let size =
            |name: &str| self.shares.get(name).map_or(0, |runs| runs.values().map(Vec::len).sum());
        let names: BTreeSet<&String> =
            self.rating.keys().chain(self.shares.values().flat_map(BTreeMap::keys)).collect();
        let mut against = BTreeMap::new();
        if let Some(other) = other {
            let rating = rating_difference(&self.rating, &other.rating);
            against.extend(rating.map(|difference| ("rating".to_owned(), difference)));
            for (name, runs) in &self.shares {
                let theirs = other.shares.get(name);
                let difference = theirs.and_then(|theirs| share_difference(runs, theirs));
                against.extend(difference.map(|difference| (name.clone(), difference)));
            }
        }
        Measures {
            method: method.to_owned(),
            runs: names.len(),
            conversations: size("excellent"),
            bad_cases: size("fixed"),
            raters: self.raters.len(),
            rating: match only(&self.rating) {
                Some(one) => mean::bootstrap(one),
                None => mean::student(&means(&self.rating)),
            },
            shares: self.shares.iter().map(|(name, runs)| (name.clone(), share(runs))).collect(),
            rating_alpha: alpha(&self.ratings, Metric::Ordinal),
            verdict_alpha: alpha(&self.verdicts, Metric::Nominal),
            against,
        }
    }
}

/// The run, if there is exactly one.
fn only<T>(runs: &ByRun<T>) -> Option<&[T]> {
    if runs.len() == 1 { runs.values().next().map(Vec::as_slice) } else { None }
}

fn means(runs: &ByRun<f64>) -> Vec<f64> {
    runs.values().filter_map(|run| mean::mean(run)).collect()
}

fn shares(runs: &ByRun<bool>) -> Vec<f64> {
    runs.values().filter_map(|run| Some(Proportion::of(run).estimate()?.value)).collect()
}

fn share(runs: &ByRun<bool>) -> Option<IntervalEstimate> {
    match only(runs) {
        Some(one) => Proportion::of(one).estimate(),
        None => {
            let bounded = |[low, high]: [f64; 2]| [low.max(0.0), high.min(1.0)];
            mean::student(&shares(runs))
                .map(|it| IntervalEstimate { interval: it.interval.map(bounded), ..it })
        }
    }
}

fn rating_difference(ours: &ByRun<f64>, theirs: &ByRun<f64>) -> Option<Difference> {
    match (only(ours), only(theirs)) {
        (Some(ours), Some(theirs)) => mean::bootstrap_difference(ours, theirs),
        _ => mean::welch(&means(ours), &means(theirs)),
    }
}

fn share_difference(ours: &ByRun<bool>, theirs: &ByRun<bool>) -> Option<Difference> {
    match (only(ours), only(theirs)) {
        (Some(ours), Some(theirs)) => Proportion::of(ours).against(Proportion::of(theirs)),
        _ => mean::welch(&shares(ours), &shares(theirs)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::parse;
    use super::*;

    const HALF: ExcellentReply = ExcellentReply { rating: 5.0, quorum: None };

    fn reply(
        method: &str,
        run: &str,
        conversation: usize,
        turn: usize,
        ratings: [f64; 3],
    ) -> String {
        let line = |(rater, rating): (usize, f64)| {
            format!(
                "{{\"measure\": \"reply\", \"method\": \"{method}\", \"run\": \"{run}\", \"conversation\": \
                 \"{conversation}\", \"turn\": {turn}, \"rater\": \"r{rater}\", \"rating\": {rating}}}\n"
            )
        };
        ratings.into_iter().enumerate().map(line).collect()
    }

    fn measured(text: &str, method: &str, excellent: ExcellentReply) -> Measures {
        let counted = count(&parse(text, "test").unwrap(), excellent);
        counted[method].measures(method, None)
    }

    #[test]
    fn rating_is_median_of_raters_and_mean_of_replies_and_conversations() {
        let text = reply("m", "", 1, 0, [5.0, 5.0, 1.0]) + &reply("m", "", 1, 1, [2.0, 3.0, 4.0]);
        let text = text + &reply("m", "", 2, 0, [1.0, 2.0, 5.0]);
        let found = measured(&text, "m", HALF);
        // Conversation 1: (5 + 3) / 2 = 4; conversation 2: 2.
        assert!((found.rating.unwrap().value - 3.0).abs() < 1e-12);
        assert_eq!((found.conversations, found.raters, found.runs), (2, 3, 1));
        assert!((found.shares["excellent"].unwrap().value - 0.5).abs() < 1e-12);
        let all = measured(&text, "m", ExcellentReply { quorum: Some(3), ..HALF });
        assert!(all.shares["excellent"].unwrap().value < 1e-12);
    }

    #[test]
    fn fix_that_breaks_something_is_fixed_but_not_clean() {
        let case = |case: usize, rater: usize, fixed: bool, broken: bool| {
            format!(
                "{{\"measure\": \"bad_case\", \"method\": \"m\", \"case\": \"{case}\", \"rater\": \"{rater}\", \
                 \"fixed\": {fixed}, \"broken\": {broken}}}\n"
            )
        };
        let text = case(1, 1, true, false) + &case(1, 2, true, false) + &case(1, 3, false, true);
        let text =
            text + &case(2, 1, true, true) + &case(2, 2, true, true) + &case(2, 3, true, false);
        let text = text + &case(3, 1, true, false) + &case(3, 2, false, false);
        let found = measured(&text, "m", HALF);
        assert_eq!(found.bad_cases, 3);
        assert!(
            (found.shares["fixed"].unwrap().value - 2.0 / 3.0).abs() < 1e-12,
            "a tie is not a majority"
        );
        assert!((found.shares["clean"].unwrap().value - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn several_runs_are_compared_as_runs_and_one_run_by_conversations() {
        let runs = |method: &str, ratings: &[f64]| -> String {
            let one =
                |(run, rating): (usize, &f64)| reply(method, &run.to_string(), 1, 0, [*rating; 3]);
            ratings.iter().enumerate().map(one).collect()
        };
        let text = runs("a", &[1.0, 2.0, 3.0, 4.0, 5.0]) + &runs("b", &[2.0, 4.0, 6.0, 8.0, 10.0]);
        let counted = count(&parse(&text, "test").unwrap(), HALF);
        let found = counted["a"].measures("a", Some(&counted["b"]));
        assert!(
            (found.against["rating"].p.unwrap() - 0.1075).abs() < 1e-4,
            "Welch's test over five runs per side"
        );

        let outcome = |method: &str, yes: usize, all: usize| -> String {
            let line = |at: usize| {
                format!(
                    "{{\"measure\": \"outcome\", \"method\": \"{method}\", \"conversation\": \"{at}\", \
                     \"outcome\": \"responded\", \"yes\": {}}}\n",
                    at < yes
                )
            };
            (0..all).map(line).collect()
        };
        let text = outcome("a", 56, 70) + &outcome("b", 48, 80);
        let counted = count(&parse(&text, "test").unwrap(), HALF);
        let found = counted["a"].measures("a", Some(&counted["b"]));
        assert!((found.against["responded"].p.unwrap() - 0.00805).abs() < 2e-5, "two proportions");
        assert_eq!(found.rating, None);
    }
}
