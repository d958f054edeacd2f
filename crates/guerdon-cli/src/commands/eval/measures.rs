//! The measures of design/method: what a method's conversations are worth, and how many bad cases it mends.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::panel::{Metric, alpha, majority, median};
use super::rows::{BadCase, Outcome, Reply, Row};
use super::share::Share;
use super::{Difference, Estimate, mean};

/// What makes a reply excellent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Excellent {
    /// At least this rating,
    pub(super) rating: f64,
    /// of at least so many raters; none is more than half of them.
    pub(super) quorum: Option<usize>,
}

/// What was counted of one method: for every run, one number a conversation or case.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Counted {
    rating: Runs<f64>,
    /// `excellent`, `fixed`, `clean` and every outcome.
    shares: BTreeMap<String, Runs<bool>>,
    ratings: Vec<Vec<f64>>,
    verdicts: Vec<Vec<f64>>,
    raters: BTreeSet<String>,
}

type Runs<T> = BTreeMap<String, Vec<T>>;

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
    pub(super) rating: Option<Estimate>,
    /// `excellent`: conversations with at least one excellent reply. `fixed`: cases that most raters call fixed. `clean`:
    /// those of them that fewer than half call broken elsewhere. And every outcome by its name.
    pub(super) shares: BTreeMap<String, Option<Estimate>>,
    /// Krippendorff's alpha of the ratings (ordinal) and of the verdicts (nominal).
    pub(super) rating_alpha: Option<f64>,
    pub(super) verdict_alpha: Option<f64>,
    /// This method less the one it is tested against.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) against: BTreeMap<String, Difference>,
}

/// Sorts rows by method, and makes one number of what raters say of one thing.
pub(super) fn count(rows: &[Row], excellent: Excellent) -> BTreeMap<String, Counted> {
    let mut replies: BTreeMap<[&str; 3], BTreeMap<usize, Vec<&Reply>>> = BTreeMap::new();
    let mut cases: BTreeMap<[&str; 3], Vec<&BadCase>> = BTreeMap::new();
    let mut counted: BTreeMap<String, Counted> = BTreeMap::new();
    for row in rows {
        match row {
            Row::Reply(row) => {
                let of = replies.entry([&row.method, &row.run, &row.conversation]).or_default();
                of.entry(row.turn).or_default().push(row);
            }
            Row::BadCase(row) => {
                cases.entry([&row.method, &row.run, &row.case]).or_default().push(row)
            }
            Row::Outcome(Outcome { method, run, outcome, yes, .. }) => {
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

impl Counted {
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
        turns: impl Iterator<Item = &'a Vec<&'a Reply>>,
        excellent: Excellent,
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

    fn case(&mut self, run: &str, verdicts: &[&BadCase]) {
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

/// The one run, where there is no other.
fn only<T>(runs: &Runs<T>) -> Option<&[T]> {
    if runs.len() == 1 { runs.values().next().map(Vec::as_slice) } else { None }
}

fn means(runs: &Runs<f64>) -> Vec<f64> {
    runs.values().filter_map(|run| mean::mean(run)).collect()
}

fn shares(runs: &Runs<bool>) -> Vec<f64> {
    runs.values().filter_map(|run| Some(Share::of(run).estimate()?.value)).collect()
}

fn share(runs: &Runs<bool>) -> Option<Estimate> {
    match only(runs) {
        Some(one) => Share::of(one).estimate(),
        None => {
            let bounded = |[low, high]: [f64; 2]| [low.max(0.0), high.min(1.0)];
            mean::student(&shares(runs))
                .map(|it| Estimate { interval: it.interval.map(bounded), ..it })
        }
    }
}

fn rating_difference(ours: &Runs<f64>, theirs: &Runs<f64>) -> Option<Difference> {
    match (only(ours), only(theirs)) {
        (Some(ours), Some(theirs)) => mean::bootstrap_difference(ours, theirs),
        _ => mean::welch(&means(ours), &means(theirs)),
    }
}

fn share_difference(ours: &Runs<bool>, theirs: &Runs<bool>) -> Option<Difference> {
    match (only(ours), only(theirs)) {
        (Some(ours), Some(theirs)) => Share::of(ours).against(Share::of(theirs)),
        _ => mean::welch(&shares(ours), &shares(theirs)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::parse;
    use super::*;

    const HALF: Excellent = Excellent { rating: 5.0, quorum: None };

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

    fn measured(text: &str, method: &str, excellent: Excellent) -> Measures {
        let counted = count(&parse(text, "test").unwrap(), excellent);
        counted[method].measures(method, None)
    }

    #[test]
    fn ratings_are_medians_of_raters_and_means_of_replies_and_of_conversations() {
        let text = reply("m", "", 1, 0, [5.0, 5.0, 1.0]) + &reply("m", "", 1, 1, [2.0, 3.0, 4.0]);
        let text = text + &reply("m", "", 2, 0, [1.0, 2.0, 5.0]);
        let found = measured(&text, "m", HALF);
        // Conversation 1: (5 + 3) / 2 = 4; conversation 2: 2.
        assert!((found.rating.unwrap().value - 3.0).abs() < 1e-12);
        assert_eq!((found.conversations, found.raters, found.runs), (2, 3, 1));
        assert!((found.shares["excellent"].unwrap().value - 0.5).abs() < 1e-12);
        let all = measured(&text, "m", Excellent { quorum: Some(3), ..HALF });
        assert!(all.shares["excellent"].unwrap().value < 1e-12);
    }

    #[test]
    fn a_fix_that_breaks_something_is_a_fix_but_not_a_clean_one() {
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
            "a tie is no majority"
        );
        assert!((found.shares["clean"].unwrap().value - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn several_runs_are_tested_as_runs_and_one_run_by_its_conversations() {
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
            "Welch over five runs a side"
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
