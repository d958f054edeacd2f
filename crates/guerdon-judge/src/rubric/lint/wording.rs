//! Criteria whose wording misleads a judge: two faults in one, and sentences whose literal answer
//! chooses the opposite level. Both checks work from lists of English and Chinese words, and report
//! nothing about other words.

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
        if let Some(literal) = asserted.sense().filter(|sense| misleads(criterion, *sense)) {
            let what = match literal {
                Sense::Fault => "a fault",
                Sense::Virtue => "what a good reply does",
            };
            let message =
                format!("criterion `{id}` states {what}, but its level for yes means the opposite");
            let help = "state what the level `yes` stands for, or name the levels by what is seen";
            findings.push(Finding::new(codes::POLARITY, place.clone(), message).help(help));
        }
    }
    findings
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
    let remarked = match criterion.kind {
        CriterionKind::Bonus => Sense::Virtue,
        CriterionKind::Deduct | CriterionKind::Gate | CriterionKind::Veto => Sense::Fault,
    };
    // A yes to the sentence asserts `literal`. A level `yes` that counts stands for `remarked`.
    literal.negated_if(!yes_is_remarked) != remarked
}
