//! Criteria whose wording misleads a judge: two faults in one, sentences whose literal answer
//! chooses the opposite level, sentences that contradict the criterion's kind, and texts that say
//! nothing. Senses are read from lists of English and Chinese words; other words are not reported.

use std::collections::BTreeMap;

use guerdon_text::Finding;

use super::places::PartPlaces;
use super::predicate::{Assertions, Sense};
use super::{chinese, english};
use crate::rubric::{Criterion, CriterionKind, CriterionLevel, codes};

/// Names of a level that answers "yes" to the criterion's sentence.
const AFFIRMATIVE: [&str; 7] = ["yes", "y", "true", "present", "found", "occurs", "applies"];
/// Names of a level that answers "no".
const NEGATIVE: [&str; 9] =
    ["no", "n", "false", "absent", "none", "not", "not_present", "not_found", "does_not_apply"];

pub(super) fn findings(criteria: &[Criterion], places: &PartPlaces) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (criterion, place) in criteria.iter().zip(&places.criteria) {
        let asserted = assertions(criterion);
        let id = &criterion.id;
        if asserted.is_compound() || id.contains("_and_") {
            let message =
                format!("criterion `{id}` joins two things, which one level cannot tell apart");
            let help = "write one criterion for each";
            findings.push(Finding::new(codes::COMPOUND, place.clone(), message).help(help));
        }
        findings.extend(unsaid(criterion, place));
        findings.extend(swapped_levels(criterion, place));
        let Some(literal) = asserted.sense() else { continue };
        if misleads(criterion, literal) {
            let what = match literal {
                Sense::Fault => "a fault",
                Sense::Virtue => "what a good reply does",
            };
            let message =
                format!("criterion `{id}` states {what}, but its level for yes means the opposite");
            let help = "state what the level `yes` stands for, or name the levels by what is seen";
            findings.push(Finding::new(codes::POLARITY, place.clone(), message).help(help));
        } else if contradicts_kind(criterion, literal) {
            let message = match literal {
                Sense::Virtue => format!(
                    "criterion `{id}` takes points, but its sentence states what a good reply does"
                ),
                Sense::Fault => {
                    format!("criterion `{id}` gives points, but its sentence states a fault")
                }
            };
            let help = "state in `about` the fault that costs points, or what a bonus is for";
            findings.push(Finding::new(codes::WRONG_KIND, place.clone(), message).help(help));
        }
    }
    findings
}

/// True if the sentence states the opposite of what its kind is about. With levels for yes and no
/// the sentence is a question, which may be put either way.
fn contradicts_kind(criterion: &Criterion, literal: Sense) -> bool {
    let is_named =
        |names: &[&str]| criterion.levels.iter().any(|level| names.contains(&level.name.as_str()));
    literal != remarked(criterion) && !(is_named(&AFFIRMATIVE) && is_named(&NEGATIVE))
}

/// The quality that a level with points stands for.
const fn remarked(criterion: &Criterion) -> Sense {
    match criterion.kind {
        CriterionKind::Bonus => Sense::Virtue,
        CriterionKind::Deduct | CriterionKind::Gate | CriterionKind::Veto => Sense::Fault,
    }
}

/// Texts that tell the judge nothing: a blank sentence, a blank anchor, the same anchor twice.
fn unsaid(criterion: &Criterion, place: &std::ops::Range<usize>) -> Vec<Finding> {
    let id = &criterion.id;
    let mut messages = Vec::new();
    if criterion.about.trim().is_empty() {
        messages.push(format!("`about` of criterion `{id}` is blank"));
    }
    let mut anchors = BTreeMap::new();
    for level in &criterion.levels {
        let anchor = level.anchor.trim();
        if anchor.is_empty() {
            messages
                .push(format!("the anchor of level `{}` of criterion `{id}` is blank", level.name));
        } else if let Some(first) = anchors.insert(anchor, &level.name) {
            messages.push(format!(
                "levels `{first}` and `{}` of criterion `{id}` have the same anchor",
                level.name
            ));
        }
    }
    let help = "describe what is seen in a reply for which the judge chooses this level";
    let finding = |message| Finding::new(codes::UNSAID, place.clone(), message).help(help);
    messages.into_iter().map(finding).collect()
}

/// Levels whose names contradict their points: one that is named after a virtue costs points, and
/// one that is named after a fault does not.
fn swapped_levels(criterion: &Criterion, place: &std::ops::Range<usize>) -> Option<Finding> {
    let sense = |level: &&CriterionLevel| {
        let words = level.name.replace('_', " ");
        let of = |frame: &str| english::assertions(&format!("{frame} {words}."), &criterion.id);
        of("The reply is").sense().or_else(|| of("The reply").sense())
    };
    let find = |wanted: Sense, costs: bool| {
        let named =
            |level: &&CriterionLevel| level.is_fault() == costs && sense(level) == Some(wanted);
        criterion.levels.iter().find(named)
    };
    let (virtue, fault) = (find(Sense::Virtue, true)?, find(Sense::Fault, false)?);
    let message = format!(
        "level `{}` of criterion `{}` costs points, and level `{}` costs none",
        virtue.name, criterion.id, fault.name
    );
    let help = "swap their points, or name the levels by what is seen";
    Some(Finding::new(codes::POLARITY, place.clone(), message).help(help))
}

fn assertions(criterion: &Criterion) -> Assertions {
    let is_chinese = criterion.about.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    if is_chinese {
        chinese::assertions(&criterion.about)
    } else {
        english::assertions(&criterion.about, &criterion.id)
    }
}

/// True if a judge that answers the sentence with yes or no chooses the opposite of what the
/// levels mean.
fn misleads(criterion: &Criterion, literal: Sense) -> bool {
    let named =
        |names: &[&str]| criterion.levels.iter().find(|level| names.contains(&level.name.as_str()));
    let (Some(yes), Some(no)) = (named(&AFFIRMATIVE), named(&NEGATIVE)) else { return false };
    let remarks = |level: &CriterionLevel| !level.is_neutral();
    let yes_is_remarked = match (remarks(yes), remarks(no)) {
        (true, false) => true,
        (false, true) => false,
        // If both levels count, or neither does, a literal answer cannot be wrong.
        _ => return false,
    };
    // A yes to the sentence asserts `literal`. A level `yes` that counts stands for `remarked`.
    literal.negated_if(!yes_is_remarked) != remarked(criterion)
}
