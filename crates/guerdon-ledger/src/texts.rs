//! Removes the texts of a result that come from a dialogue or a judge.

use guerdon_types::{RolloutResult, TurnResult};
use serde_json::Value;

/// A copy of `result` without quotes, explanations and details, which may repeat the dialogue.
/// Numbers, names, levels and spans stay.
pub(crate) fn without_texts(result: &RolloutResult) -> RolloutResult {
    let mut result = result.clone();
    result.turns.iter_mut().for_each(strip_turn);
    if let Some(error) = &mut result.error {
        error.detail.clear();
        error.hint = None;
    }
    result
}

fn strip_turn(turn: &mut TurnResult) {
    for abstention in &mut turn.abstained {
        abstention.detail.clear();
    }
    if let Some(judge) = &mut turn.judge {
        for criterion in &mut judge.criteria {
            criterion.evidence = None;
        }
    }
    let beside = turn.beside.as_mut().and_then(|beside| beside.rules.as_mut());
    for rules in turn.rules.as_mut().into_iter().chain(beside) {
        for hit in rules.hits.iter_mut().chain(&mut rules.shadow) {
            hit.detail = None;
        }
        for abstention in &mut rules.abstained {
            abstention.detail.clear();
        }
        for matched in &mut rules.suppressed {
            matched.cue.clear();
        }
    }
    for part in turn.other.values_mut() {
        part.detail = Value::Null;
    }
    for part in turn.parts.values_mut() {
        part.detail = Value::Null;
        for evidence in &mut part.evidence {
            evidence.quote = None;
        }
    }
}
