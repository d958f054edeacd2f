//! Finds words that two rules count, and words that another word of the same list makes redundant.

use std::collections::HashMap;

use guerdon_text::Finding;

use crate::syntax::codes::PackCode;
use crate::syntax::pack::{MessageSelector, Pack, Predicate, Rule};
use crate::syntax::yaml::WithSpan;
use crate::text::normalise;

/// The length, in characters, of the longest part of a word that is compared with other words.
const MAX_CHARS: usize = 32;

/// The first rule that looks for a word.
struct Owner<'p> {
    /// `pack/rule`.
    name: String,
    rule: &'p Rule,
    /// Set if it finds only whole Latin words.
    word: bool,
}

/// A list of words that hit on their own, as written and as folded.
struct List<'p> {
    written: &'p [WithSpan<String>],
    folded: Vec<String>,
    /// The first place of each word in `folded`.
    places: HashMap<String, usize>,
    word: bool,
}

/// The overlaps of each pack, within a rule and between rules of all packs.
pub(crate) fn overlaps(packs: &[&Pack]) -> Vec<Vec<Finding>> {
    let mut owners: HashMap<String, Owner<'_>> = HashMap::new();
    for pack in packs {
        for rule in &pack.rules {
            for List { folded, word, .. } in lists(rule) {
                for text in folded {
                    let name = || format!("{}/{}", pack.id.value, rule.id.value);
                    owners.entry(text).or_insert_with(|| Owner { name: name(), rule, word });
                }
            }
        }
    }
    packs
        .iter()
        .map(|pack| pack.rules.iter().flat_map(|rule| of_rule(rule, &owners)).collect())
        .collect()
}

fn of_rule(rule: &Rule, owners: &HashMap<String, Owner<'_>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for list in lists(rule) {
        for (at, text) in list.written.iter().zip(&list.folded) {
            let found = shadowed(at, text, &list).or_else(|| counted_twice(rule, at, text, owners));
            findings.extend(found);
        }
    }
    findings
}

/// Reports a word that contains a shorter word of its own list.
fn shadowed(at: &WithSpan<String>, text: &str, list: &List<'_>) -> Option<Finding> {
    if list.word {
        return None;
    }
    let shorter = parts(text)
        .filter(|part| part.len() < text.len())
        .filter_map(|part| Some((list.places.get(part)?, part)))
        .min_by_key(|(place, _)| **place)?
        .1;
    let message = format!("`{}` is redundant", at.value);
    let finding = Finding::new(PackCode::Shadowed, at.span.clone(), message);
    Some(
        finding.label(format!("`{shorter}` of the same list is in it")).help("drop one of the two"),
    )
}

/// All parts of a text that have at most [`MAX_CHARS`] characters, in the order of their starts.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.char_indices().flat_map(move |(start, _)| {
        let rest = text.get(start..).unwrap_or_default();
        let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8());
        ends.take(MAX_CHARS).filter_map(move |end| rest.get(..end))
    })
}

/// Reports a word that another rule counts too, because it looks for the same word or a part of it.
fn counted_twice(
    rule: &Rule,
    at: &WithSpan<String>,
    text: &str,
    owners: &HashMap<String, Owner<'_>>,
) -> Option<Finding> {
    let other = |part: &str| {
        owners.get(part).filter(|o| !std::ptr::eq(o.rule, rule) && both_count(rule, o.rule))
    };
    let finding = |name: &str, label: String| {
        let message = format!("`{}` is counted by rule `{name}` too", at.value);
        Finding::new(PackCode::Overlap, at.span.clone(), message)
            .label(label)
            .help("keep it in one of them, or separate them by `when`")
    };
    if let Some(owner) = other(text) {
        return Some(finding(&owner.name, "one word, two rules".to_owned()));
    }
    if text.chars().nth(MAX_CHARS - 1).is_some() {
        return None;
    }
    parts(text)
        .find_map(|part| Some((part, other(part).filter(|owner| !owner.word)?)))
        .map(|(part, owner)| finding(&owner.name, format!("it looks for `{part}`, which is in it")))
}

/// Returns true if a hit on the same word is counted twice: both rules read the same text without
/// conditions.
fn both_count(one: &Rule, two: &Rule) -> bool {
    let plain = |rule: &Rule| rule.when.is_empty() && !rule.shadow && rule.condition.is_none();
    let same = |a: MessageSelector, b: MessageSelector| a == b;
    plain(one) && plain(two) && same(one.on, two.on) && (one.points < 0.0) == (two.points < 0.0)
}

fn lists(rule: &Rule) -> Vec<List<'_>> {
    let mut lists = Vec::new();
    words(&rule.test, &mut lists);
    lists
}

/// Collects the lists of which one word alone makes the rule hit.
fn words<'t>(test: &'t Predicate, lists: &mut Vec<List<'t>>) {
    match test {
        Predicate::Literals { words, fold, word, near, count: 1, .. } if near.is_nothing() => {
            let looked_for = |at: &WithSpan<String>| {
                if *fold { normalise::fold(&at.value) } else { at.value.clone() }
            };
            let folded: Vec<String> = words.iter().map(looked_for).collect();
            let mut places = HashMap::new();
            for (place, word) in folded.iter().enumerate() {
                places.entry(word.clone()).or_insert(place);
            }
            lists.push(List { written: words, folded, places, word: *word });
        }
        Predicate::Any { tests, count: 1 } => tests.iter().for_each(|test| words(test, lists)),
        _ => {}
    }
}
