//! Words that two rules count, and words that another word of the same list makes useless.

use std::collections::HashMap;

use crate::syntax::codes::PackCode;
use crate::syntax::pack::{On, Pack, Rule, Test};
use crate::syntax::yaml::At;
use crate::text::normalise;
use guerdon_text::Finding;

/// Words longer than this, in characters, are not searched for other rules' words: their parts are too many.
const MAX_CHARS: usize = 32;

/// The first rule that looks for a word.
struct Owner<'p> {
    /// `pack/rule`.
    name: String,
    rule: &'p Rule,
    /// It finds Latin words only whole.
    word: bool,
}

/// A list of words that hit by themselves, as written and as looked for.
struct List<'p> {
    written: &'p [At<String>],
    folded: Vec<String>,
    word: bool,
}

/// For each pack, what overlaps: within a rule, and with a rule of any pack.
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

/// A word that a shorter one of its own list always finds first.
fn shadowed(at: &At<String>, text: &str, list: &List<'_>) -> Option<Finding> {
    let mut others = list.folded.iter();
    let shorter = others
        .find(|other| other.len() < text.len() && !list.word && text.contains(other.as_str()))?;
    let message = format!("`{}` is never needed", at.value);
    let finding = Finding::new(PackCode::Shadowed, at.span.clone(), message);
    Some(
        finding.label(format!("`{shorter}` of the same list is in it")).help("drop one of the two"),
    )
}

/// A word that another rule counts too: because it looks for the same, or for a part of it.
fn counted_twice(
    rule: &Rule,
    at: &At<String>,
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
            .help("leave it to one of them, or tell them apart by `when`")
    };
    if let Some(owner) = other(text) {
        return Some(finding(&owner.name, "one word, two rules".to_owned()));
    }
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    if ends.len() > MAX_CHARS {
        return None;
    }
    let from_each = ends
        .iter()
        .enumerate()
        .map(|(index, start)| (*start, ends.get(index + 1..).unwrap_or_default()));
    from_each
        .flat_map(|(start, ends)| ends.iter().filter_map(move |end| text.get(start..*end)))
        .find_map(|part| Some((part, other(part).filter(|owner| !owner.word)?)))
        .map(|(part, owner)| finding(&owner.name, format!("it looks for `{part}`, which is in it")))
}

/// Whether a hit on the same word is counted twice: both read the same text, and neither says when.
fn both_count(one: &Rule, two: &Rule) -> bool {
    let plain = |rule: &Rule| rule.when.is_empty() && !rule.shadow && rule.condition.is_none();
    let same = |a: On, b: On| a == b;
    plain(one) && plain(two) && same(one.on, two.on) && (one.points < 0.0) == (two.points < 0.0)
}

fn lists(rule: &Rule) -> Vec<List<'_>> {
    let mut lists = Vec::new();
    words(&rule.test, &mut lists);
    lists
}

/// The lists that hit by themselves: not those that must come together, or must not come.
fn words<'t>(test: &'t Test, lists: &mut Vec<List<'t>>) {
    match test {
        Test::Literals { words, fold, word, near, count: 1 } if near.is_nothing() => {
            let looked_for =
                |at: &At<String>| if *fold { normalise::fold(&at.value) } else { at.value.clone() };
            let folded = words.iter().map(looked_for).collect();
            lists.push(List { written: words, folded, word: *word });
        }
        Test::Any { tests, count: 1 } => tests.iter().for_each(|test| words(test, lists)),
        _ => {}
    }
}
