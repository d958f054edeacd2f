//! The next question to a rater: in a shuffled order that is the same for all raters, so that two of
//! them soon have questions in common.

use std::collections::{BTreeMap, HashSet};

use guerdon_text::sha256_hex;
use guerdon_types::Message;

use super::answer::Answer;
use crate::record::Record;

/// The most samples of a group that are paired.
const MAX_SAMPLES: usize = 16;

/// Two replies to one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedPair {
    /// The group.
    pub group: Option<String>,
    /// The places of the rollouts, the smaller one first.
    pub keys: [i64; 2],
    /// The messages before both replies.
    pub prompt: Vec<Message>,
    /// The replies, in the order of `keys`.
    pub replies: [String; 2],
    /// True if the second reply is shown on the left.
    pub is_swapped: bool,
}

/// A reply whose level is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedTurn {
    /// The place of the rollout.
    pub key: i64,
    /// The rollout.
    pub rollout: String,
    /// The index of the message.
    pub turn: usize,
    /// The messages up to that one.
    pub messages: Vec<Message>,
}

/// The messages before the last scored reply, and that reply.
fn reply(record: &Record) -> Option<(&[Message], &Message)> {
    let messages = record.messages.as_ref()?;
    let turn = record.result.turns.last()?.index;
    Some((messages.get(..turn)?, messages.get(turn)?))
}

/// The pair of two records of one group whose dialogues are equal before the last scored replies.
#[must_use]
pub fn pair_of(one: &Record, other: &Record) -> Option<AskedPair> {
    let (first, second) = if one.key < other.key { (one, other) } else { (other, one) };
    let (a, b) = (reply(first)?, reply(second)?);
    let labels = (&first.labels, &second.labels);
    let is_group = labels.0.group.is_some()
        && labels.0.group == labels.1.group
        && labels.0.run == labels.1.run
        && labels.0.step == labels.1.step;
    if first.key == second.key || !is_group || a.0 != b.0 || a.1 == b.1 {
        return None;
    }
    Some(AskedPair {
        group: labels.0.group.clone(),
        keys: [first.key, second.key],
        prompt: a.0.to_vec(),
        replies: [a.1.content.clone(), b.1.content.clone()],
        is_swapped: false,
    })
}

/// The last scored turn of a record.
#[must_use]
pub fn turn_of(record: &Record) -> Option<AskedTurn> {
    let (before, own) = reply(record)?;
    Some(AskedTurn {
        key: record.key,
        rollout: record.result.id.to_string(),
        turn: before.len(),
        messages: [before, std::slice::from_ref(own)].concat(),
    })
}

/// The next pair that `rater` has not answered. Sides are swapped by a seed of rater and pair.
#[must_use]
pub fn next_pair(records: &[Record], answers: &[Answer], rater: &str) -> Option<AskedPair> {
    let done = done(answers, rater, "pairs");
    let mut groups: BTreeMap<_, Vec<&Record>> = BTreeMap::new();
    for record in records {
        let labels = &record.labels;
        let samples = groups.entry((&labels.run, labels.step, &labels.group)).or_default();
        if labels.group.is_some() && samples.len() < MAX_SAMPLES {
            samples.push(record);
        }
    }
    let mut best: Option<(String, [&Record; 2])> = None;
    for samples in groups.values() {
        for (place, one) in samples.iter().enumerate() {
            for other in samples.iter().skip(place + 1) {
                let keys = [one.key.min(other.key), one.key.max(other.key)];
                let order = sha256_hex(format!("pair {keys:?}"));
                let is_later = best.as_ref().is_some_and(|(known, _)| *known <= order);
                if !is_later && !done.contains(&keys) && pair_of(one, other).is_some() {
                    best = Some((order, [one, other]));
                }
            }
        }
    }
    let (_, [one, other]) = best?;
    let pair = pair_of(one, other)?;
    let side = sha256_hex(format!("side {rater} {:?}", pair.keys));
    Some(AskedPair { is_swapped: side.as_bytes().first().is_some_and(|one| one % 2 == 1), ..pair })
}

/// The next turn whose level of `criterion` the rater has not answered.
#[must_use]
pub fn next_turn(
    records: &[Record],
    answers: &[Answer],
    rater: &str,
    criterion: &str,
) -> Option<AskedTurn> {
    let done = done(answers, rater, criterion);
    let asked = records
        .iter()
        .filter_map(turn_of)
        .filter(|turn| !done.contains(&[turn.key, i64::try_from(turn.turn).unwrap_or(i64::MAX)]));
    asked.min_by_key(|turn| sha256_hex(format!("turn {} {}", turn.key, turn.turn)))
}

fn done(answers: &[Answer], rater: &str, about: &str) -> HashSet<[i64; 2]> {
    let own = answers.iter().filter(|answer| answer.rater() == rater);
    own.map(Answer::item).filter(|(of, _)| *of == about).map(|(_, keys)| keys).collect()
}
