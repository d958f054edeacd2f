//! Words that two rules count, and words that another word of the same list makes useless.

use std::collections::BTreeMap;

use crate::normalise;
use crate::pack::{Condition, On, Pack, Rule, Test};
use crate::report::{Code, Finding};
use crate::yaml::At;

/// For each pack, what overlaps: within a rule, and with an earlier rule of any pack.
pub(crate) fn overlaps(packs: &[&Pack]) -> Vec<Vec<Finding>> {
    let mut seen: BTreeMap<String, (String, &Rule)> = BTreeMap::new();
    packs.iter().map(|pack| of_pack(pack, &mut seen)).collect()
}

fn of_pack<'p>(pack: &'p Pack, seen: &mut BTreeMap<String, (String, &'p Rule)>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in &pack.rules {
        let mut lists = Vec::new();
        words(&rule.test, &mut lists);
        for (list, fold, word) in lists {
            let folded: Vec<String> = list
                .iter()
                .map(|at| if fold { normalise::fold(&at.value) } else { at.value.clone() })
                .collect();
            for (at, text) in list.iter().zip(&folded) {
                if let Some(finding) = shadowed(at, text, &folded, word) {
                    findings.push(finding);
                    continue;
                }
                match seen.get(text) {
                    Some((name, other)) if !std::ptr::eq(*other, rule) && both_count(rule, other) => {
                        let message = format!("`{}` is counted by rule `{name}` too", at.value);
                        findings.push(
                            Finding::new(Code::Overlap, at.span.clone(), message)
                                .label("one word, two rules")
                                .help("leave it to one of them, or tell them apart by `when`"),
                        );
                    }
                    Some(_) => {}
                    None => {
                        seen.insert(text.clone(), (format!("{}/{}", pack.id.value, rule.id.value), rule));
                    }
                }
            }
        }
    }
    findings
}

/// A word that a shorter one of its own list always finds first.
fn shadowed(at: &At<String>, text: &str, list: &[String], word: bool) -> Option<Finding> {
    let shorter =
        list.iter().find(|other| other.len() < text.len() && !word && text.contains(other.as_str()))?;
    let message = format!("`{}` is never needed", at.value);
    let finding = Finding::new(Code::Shadowed, at.span.clone(), message);
    Some(finding.label(format!("`{shorter}` of the same list is in it")).help("drop one of the two"))
}

/// Whether a hit on the same word is counted twice: both read the same text, and neither says when.
fn both_count(one: &Rule, two: &Rule) -> bool {
    let whens = |conditions: &[Condition]| conditions.is_empty();
    let plain = |rule: &Rule| whens(&rule.when) && !rule.shadow && rule.condition.is_none();
    let same = |a: On, b: On| a == b;
    plain(one) && plain(two) && same(one.on, two.on) && (one.points < 0.0) == (two.points < 0.0)
}

/// The lists that hit by themselves: not those that must come together, or must not come.
fn words<'t>(test: &'t Test, lists: &mut Vec<(&'t [At<String>], bool, bool)>) {
    match test {
        Test::Literals { words, fold, word, count: 1 } => lists.push((words, *fold, *word)),
        Test::Any { tests, count: 1 } => tests.iter().for_each(|test| words(test, lists)),
        _ => {}
    }
}
