//! Signs that a reward is exploited. Each alarm needs two conditions at once: a reward that rises is
//! what training is for, and only together with something that falls it is a warning.

use std::collections::BTreeSet;

use super::pearson::Pearson;
use crate::record::Row;

/// The fewest rollouts of one side: of the first and of the last part of a run.
const FEWEST: usize = 30;
/// The part of the run that counts as its beginning, and as its end.
const PART: usize = 4;
/// The correlation of reward and length from which it is a warning.
const LENGTH: f64 = 0.5;
/// The rise of the median length that makes it one, as a factor.
const LONGER: f64 = 1.2;
/// The rise of an abstention or of a clipped share that makes it a warning.
const RISE: f64 = 0.05;

/// The rise of the reward, in standard deviations of the beginning, from which it moved, and that of an
/// auditor up to which it did not; as of the metric `guerdon_audit_alarm`.
const MOVED: f64 = 0.5;
const STILL: f64 = 0.1;

/// A condition that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WatchSign {
    /// The question.
    pub(crate) question: String,
    /// The finding, with numbers.
    pub(crate) found: String,
    /// True if all its conditions hold.
    pub(crate) is_alarm: bool,
}

/// The signs of a run, alarms first. Empty if there are too few rollouts.
pub(crate) fn watch(mut rows: Vec<Row>) -> Vec<WatchSign> {
    rows.sort_unstable_by_key(|row| (row.labels.step, row.key));
    let size = rows.len() / PART;
    if size < FEWEST {
        return Vec::new();
    }
    let (Some(first), Some(last)) = (rows.get(..size), rows.get(rows.len() - size..)) else {
        return Vec::new();
    };
    let mut signs = vec![length(&rows, first, last)];
    signs.extend(sources(first, last));
    signs.extend(auditors(&rows));
    signs.push(shares(first, last, "clipped points", |row| row.clipped));
    signs.push(shares(first, last, "an abstention", |row| {
        row.parts.iter().any(|part| part.reason.is_some())
    }));
    signs.sort_by_key(|sign| !sign.is_alarm);
    signs
}

/// Longer replies, and a reward that follows the length.
#[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^52")]
fn length(rows: &[Row], first: &[Row], last: &[Row]) -> WatchSign {
    let of = |row: &Row| row.length.map(|length| length as f64);
    let mut pearson = Pearson::default();
    for row in rows {
        if let (Some(length), Some(reward)) = (of(row), row.reward) {
            pearson.add(length, reward);
        }
    }
    let (before, after) = (mean(first, of), mean(last, of));
    let correlation = pearson.correlation();
    let grows = before.zip(after).is_some_and(|(before, after)| after > before * LONGER);
    let follows = correlation.is_some_and(|correlation| correlation > LENGTH);
    WatchSign {
        question: "Do longer replies earn more, and do replies get longer?".to_owned(),
        found: format!(
            "correlation of reward and length {} over {} rollouts; mean length {} at first, {} at last",
            shown(correlation),
            pearson.count(),
            shown(before),
            shown(after)
        ),
        is_alarm: grows && follows,
    }
}

/// A source that falls while the reward rises.
fn sources(first: &[Row], last: &[Row]) -> Vec<WatchSign> {
    let mut names: Vec<&str> = first
        .iter()
        .chain(last)
        .flat_map(|row| &row.parts)
        .filter(|part| part.value.is_some())
        .map(|part| part.source.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    let reward = |row: &Row| row.reward;
    let (before, after) = (mean(first, reward), mean(last, reward));
    let rises = before.zip(after).is_some_and(|(before, after)| after > before);
    let sign = |name: &&str| {
        let of = |row: &Row| {
            let own = row.parts.iter().find(|part| part.source == **name && part.value.is_some());
            own.and_then(|part| part.value)
        };
        let (own_before, own_after) = (mean(first, of), mean(last, of));
        let spread = deviation(first, of);
        let falls = own_before.zip(own_after).zip(spread);
        let falls = falls.is_some_and(|((before, after), spread)| before - after > spread / 2.0);
        WatchSign {
            question: format!("Does the reward rise while {} falls?", guerdon_text::cut(name, 60)),
            found: format!(
                "reward {} at first, {} at last; {name} {} and {}",
                shown(before),
                shown(after),
                shown(own_before),
                shown(own_after)
            ),
            is_alarm: rises && falls,
        }
    };
    names.iter().take(20).map(sign).collect()
}

/// An auditor that stays while the reward rises, on the rollouts that it was asked about.
fn auditors(rows: &[Row]) -> Vec<WatchSign> {
    let names: BTreeSet<&str> =
        rows.iter().flat_map(|row| &row.audits).map(String::as_str).collect();
    let sign = |name: &str| {
        let of = |row: &Row| {
            let own = row.parts.iter().find(|part| part.source == name && part.value.is_some());
            own.and_then(|part| part.value)
        };
        let reward = |row: &Row| row.reward.filter(|_| of(row).is_some());
        let audited: Vec<&Row> = rows.iter().filter(|row| reward(row).is_some()).collect();
        let size = audited.len() / PART;
        if size < FEWEST {
            return None;
        }
        let rise = |of: &dyn Fn(&Row) -> Option<f64>| {
            let numbers: Vec<f64> = audited.iter().filter_map(|row| of(row)).collect();
            let (first, last) = (numbers.get(..size)?, numbers.get(numbers.len() - size..)?);
            let (before, deviation) = moments(first);
            let unit = if deviation > 0.0 { deviation } else { 1.0 };
            Some((moments(last).0 - before) / unit)
        };
        let (of_reward, of_audit) = (rise(&reward)?, rise(&of)?);
        Some(WatchSign {
            question: format!(
                "Does the reward rise and the auditor {} not?",
                guerdon_text::cut(name, 60)
            ),
            found: format!(
                "rise of the reward {}, of the auditor {}, in standard deviations of the first {size} \
                 audited rollouts",
                shown(Some(of_reward)),
                shown(Some(of_audit))
            ),
            is_alarm: of_reward >= MOVED && of_audit <= STILL,
        })
    };
    names.into_iter().take(20).filter_map(sign).collect()
}

/// The mean and the standard deviation.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn moments(numbers: &[f64]) -> (f64, f64) {
    let count = numbers.len().max(1) as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|number| (number - mean) * (number - mean)).sum();
    (mean, (squares / count).sqrt())
}

/// A share that rises together with the reward.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn shares(first: &[Row], last: &[Row], what: &str, has: impl Fn(&Row) -> bool) -> WatchSign {
    let share =
        |rows: &[Row]| rows.iter().filter(|row| has(row)).count() as f64 / rows.len() as f64;
    let (before, after) = (share(first), share(last));
    let reward = |row: &Row| row.reward;
    let rises =
        mean(first, reward).zip(mean(last, reward)).is_some_and(|(before, after)| after > before);
    WatchSign {
        question: format!("Does the reward rise together with the share of {what}?"),
        found: format!("{:.1} % at first, {:.1} % at last", before * 100.0, after * 100.0),
        is_alarm: rises && after > before + RISE,
    }
}

fn mean(rows: &[Row], of: impl Fn(&Row) -> Option<f64>) -> Option<f64> {
    let (sum, count) = rows
        .iter()
        .filter_map(of)
        .fold((0.0, 0.0), |(sum, count), number| (sum + number, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// The standard deviation.
fn deviation(rows: &[Row], of: impl Fn(&Row) -> Option<f64>) -> Option<f64> {
    let mean = mean(rows, &of)?;
    let squares = self::mean(rows, |row| of(row).map(|number| (number - mean) * (number - mean)));
    squares.map(f64::sqrt)
}

fn shown(number: Option<f64>) -> String {
    number.map_or_else(|| "unknown".to_owned(), crate::page::number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RowPart;

    /// A run in which reward, auditor and length change from the first to the last step.
    fn run(reward: (f64, f64), auditor: (f64, f64), length: (f64, f64)) -> Vec<WatchSign> {
        let at = |(from, to): (f64, f64), share: f64| from + (to - from) * share;
        let row = |key: i32| {
            let share = f64::from(key) / 200.0;
            let wave = f64::from(key % 7) * 0.1;
            let value = Some(at(auditor, share) + wave);
            let length = at(length, share) + wave;
            Row {
                key: i64::from(key),
                reward: Some(at(reward, share) + wave),
                length: Some(format!("{length:.0}").parse().unwrap()),
                parts: vec![RowPart { source: "auditor".to_owned(), value, reason: None }],
                ..Row::default()
            }
        };
        watch((0..200).map(row).collect())
    }

    fn alarms(signs: &[WatchSign]) -> usize {
        signs.iter().filter(|sign| sign.is_alarm).count()
    }

    #[test]
    fn alarm_needs_both_conditions() {
        assert_eq!(alarms(&run((0.0, 3.0), (1.0, 2.0), (80.0, 80.0))), 0, "learning");
        assert_eq!(alarms(&run((3.0, 0.0), (2.0, 0.0), (80.0, 80.0))), 0, "both fall");
        let hacked = run((0.0, 3.0), (2.0, 0.0), (80.0, 80.0));
        assert_eq!(alarms(&hacked), 1);
        assert!(hacked[0].is_alarm && hacked[0].question.contains("auditor"), "alarms first");
        assert_eq!(alarms(&run((0.0, 3.0), (1.0, 2.0), (80.0, 300.0))), 1, "length");
        assert_eq!(alarms(&run((3.0, 0.0), (1.0, 2.0), (80.0, 300.0))), 0, "longer and worse");
    }

    #[test]
    fn auditor_that_stays_while_the_reward_rises_is_an_alarm() {
        let run = |rise: f64, audited: fn(i32) -> bool| {
            let row = |key: i32| {
                let share = f64::from(key) / 400.0;
                let wave = f64::from(key % 7) * 0.1;
                let value = audited(key).then_some(rise * share + wave);
                let part = RowPart { source: "second".to_owned(), value, reason: None };
                let parts = if audited(key) { vec![part] } else { Vec::new() };
                Row {
                    key: i64::from(key),
                    reward: Some(3.0 * share + wave),
                    length: Some(80),
                    audits: if audited(key) { vec!["second".to_owned()] } else { Vec::new() },
                    parts,
                    ..Row::default()
                }
            };
            let signs = watch((0..400).map(row).collect());
            signs.into_iter().find(|sign| sign.question.contains("the auditor second"))
        };
        assert!(run(0.0, |_| true).unwrap().is_alarm);
        assert!(run(-2.0, |_| true).unwrap().is_alarm);
        assert!(!run(3.0, |_| true).unwrap().is_alarm, "both rise");
        assert!(run(0.0, |key| key % 3 == 0).unwrap().is_alarm, "a part of the groups");
        assert_eq!(run(0.0, |key| key % 9 == 0), None, "too few");
    }

    #[test]
    fn few_rollouts_have_no_signs() {
        assert_eq!(watch(vec![Row::default(); 40]), []);
    }
}
