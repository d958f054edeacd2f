//! Agreement of two raters: the share of equal answers, and Cohen's kappa.

use std::collections::{BTreeMap, BTreeSet};

use super::answer::Answer;

/// The most raters that are compared.
const MAX_RATERS: usize = 8;

/// Agreement of two raters on one question.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// The criterion, or `pairs`.
    pub about: String,
    /// The raters, by name.
    pub raters: [String; 2],
    /// The items that both answered.
    pub items: usize,
    /// The share of equal answers, 0 to 1.
    pub share: f64,
    /// Cohen's kappa, at most 1; `None` if chance alone would make them agree on everything.
    pub kappa: Option<f64>,
}

/// The agreement of every two raters, on each question that both answered. The last answer to an
/// item counts.
#[must_use]
pub fn agreements(answers: &[Answer]) -> Vec<Agreement> {
    let raters: BTreeSet<&str> = answers.iter().map(Answer::rater).collect();
    let raters: Vec<&str> = raters.into_iter().take(MAX_RATERS).collect();
    let mut said: BTreeMap<(&str, &str), BTreeMap<[i64; 2], &str>> = BTreeMap::new();
    for answer in answers {
        let (about, item) = answer.item();
        said.entry((about, answer.rater())).or_default().insert(item, answer.said());
    }
    let about: BTreeSet<&str> = said.keys().map(|(about, _)| *about).collect();
    let mut found = Vec::new();
    for about in about {
        for (place, one) in raters.iter().enumerate() {
            for other in raters.iter().skip(place + 1) {
                let (Some(first), Some(second)) =
                    (said.get(&(about, one)), said.get(&(about, other)))
                else {
                    continue;
                };
                let both = first.iter().filter_map(|(item, own)| Some((*own, *second.get(item)?)));
                let both: Vec<(&str, &str)> = both.collect();
                if let Some((share, kappa)) = kappa(&both) {
                    let raters = [(*one).to_owned(), (*other).to_owned()];
                    let (about, items) = (about.to_owned(), both.len());
                    found.push(Agreement { about, raters, items, share, kappa });
                }
            }
        }
    }
    found
}

/// The share of equal answers, and Cohen's kappa (Cohen, "A coefficient of agreement for nominal
/// scales", 1960). `None` without an answer.
#[expect(clippy::cast_precision_loss, reason = "answers are short of 2^53")]
fn kappa(both: &[(&str, &str)]) -> Option<(f64, Option<f64>)> {
    if both.is_empty() {
        return None;
    }
    let total = both.len() as f64;
    let share = both.iter().filter(|(one, other)| one == other).count() as f64 / total;
    let labels: BTreeSet<&str> = both.iter().flat_map(|(one, other)| [*one, *other]).collect();
    let chance: f64 = labels
        .into_iter()
        .map(|label| {
            let first = both.iter().filter(|(one, _)| *one == label).count() as f64;
            let second = both.iter().filter(|(_, other)| *other == label).count() as f64;
            first * second / (total * total)
        })
        .sum();
    Some((share, (chance < 1.0).then(|| (share - chance) / (1.0 - chance))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kappa_is_that_of_the_worked_example() {
        // 20 both yes, 5 yes/no, 10 no/yes, 15 both no: the worked example of many textbooks.
        let counts =
            [(("yes", "yes"), 20), (("yes", "no"), 5), (("no", "yes"), 10), (("no", "no"), 15)];
        let both: Vec<_> =
            counts.into_iter().flat_map(|(pair, count)| std::iter::repeat_n(pair, count)).collect();
        let (share, kappa) = kappa(&both).unwrap();
        assert!((share - 0.7).abs() < 1e-12 && (kappa.unwrap() - 0.4).abs() < 1e-12);
    }

    #[test]
    fn kappa_of_constant_answers_is_undefined() {
        assert_eq!(kappa(&[("a", "a"), ("a", "a")]), Some((1.0, None)));
        assert_eq!(kappa(&[]), None);
    }
}
