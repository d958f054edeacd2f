//! The criteria of a rollout's rubric as those of a prompt.

use guerdon_types::{CheckedCriterion, CheckedForm, Finite, RubricKind, RubricLevel};

use crate::rubric::text::escaped;
use crate::rubric::{Criterion, CriterionKind, CriterionLevel};

/// Names of the levels of a criterion with a weight.
pub(super) const NOT_MET: &str = "not_met";
pub(super) const MET: &str = "met";

/// Tokens of an answer without criteria, and those of each criterion: its id, its level, and a short
/// quotation. An answer that is cut off is asked again with more room.
const ANSWER_TOKENS: u32 = 128;
const TOKENS_A_CRITERION: u32 = 64;

/// The limit of the answer about `criteria`.
pub(super) fn max_tokens(criteria: &[Criterion]) -> u32 {
    let count = u32::try_from(criteria.len()).unwrap_or(u32::MAX);
    ANSWER_TOKENS.saturating_add(count.saturating_mul(TOKENS_A_CRITERION))
}

/// A criterion of a prompt.
pub(super) fn criterion(checked: &CheckedCriterion) -> Criterion {
    let kind = match checked.kind {
        RubricKind::Bonus => CriterionKind::Bonus,
        RubricKind::Gate => CriterionKind::Gate,
        RubricKind::Veto => CriterionKind::Veto,
        // `RubricKind` is non_exhaustive.
        _ => CriterionKind::Deduct,
    };
    let levels = match &checked.form {
        CheckedForm::Weight(weight) => statement(kind, *weight),
        CheckedForm::Levels(levels) => levels.iter().map(level).collect(),
    };
    let (id, about) = (checked.id.clone(), one_line(&checked.text));
    Criterion { id, kind, about, levels, fails_empty: false, quote: false }
}

/// The levels of a statement that is true or not.
fn statement(kind: CriterionKind, weight: Finite) -> Vec<CriterionLevel> {
    let level = |name: &str, points, anchor: &str, fires| CriterionLevel {
        name: name.to_owned(),
        points,
        anchor: anchor.to_owned(),
        fires,
    };
    // A fault without points is one all the same.
    let fires = matches!(kind, CriterionKind::Gate | CriterionKind::Veto);
    let not = "This is not true of the reply, or the reply does not show it.";
    vec![
        level(NOT_MET, Finite::ZERO, not, false),
        level(MET, weight, "This is true of the reply.", fires),
    ]
}

fn level(level: &RubricLevel) -> CriterionLevel {
    let anchor = if level.anchor.trim().is_empty() { &level.name } else { &level.anchor };
    CriterionLevel {
        name: level.name.clone(),
        points: level.points,
        anchor: one_line(anchor),
        fires: level.fires,
    }
}

/// `text` escaped and on one line, so that it ends where its line does.
fn one_line(text: &str) -> String {
    let text = escaped(text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
