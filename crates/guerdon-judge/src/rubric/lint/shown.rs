//! Parts of a rubric that its body never shows. A part is shown if the messages change with it.

use guerdon_text::Finding;

use super::places::PartPlaces;
use crate::rubric::template::{CompiledBody, ShownParts, TrialSlots};
use crate::rubric::{Criterion, RubricExample, codes};

/// A text that no rubric holds.
const OTHER: &str = "\u{1}other\u{1}";

pub(super) fn findings(
    body: &CompiledBody,
    shown: ShownParts<'_>,
    places: &PartPlaces,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let own = TrialSlots { dialogue: "<dialogue></dialogue>", shown };
    if !changes(body, own, TrialSlots { dialogue: OTHER, ..own }) {
        let message = "the judge is never shown the dialogue";
        let place = places.user.start..places.user.start;
        let help = "write `{{ dialogue }}` under `# user`, before the turn";
        findings.push(Finding::new(codes::NO_DIALOGUE, place, message).help(help));
    }
    for (index, (criterion, place)) in shown.criteria.iter().zip(&places.criteria).enumerate() {
        let mut criteria = shown.criteria.to_vec();
        criteria.iter_mut().skip(index).take(1).for_each(reword);
        let other = TrialSlots { shown: ShownParts { criteria: &criteria, ..shown }, ..own };
        // A body may also spell its criteria out.
        if !changes(body, own, other) && !body.names(&criterion.id) {
            let message = format!("the judge is never shown criterion `{}`", criterion.id);
            let help = "add `{% for c in criteria %}- {{ c.id }}: {{ c.about }} …{% endfor %}` \
                        with the levels' anchors, under `# system`";
            findings.push(Finding::new(codes::NO_CRITERIA, place.clone(), message).help(help));
        }
    }
    for (index, place) in places.examples.iter().enumerate().take(shown.examples.len()) {
        let mut examples = shown.examples.to_vec();
        examples.iter_mut().skip(index).take(1).for_each(replace);
        let other = TrialSlots { shown: ShownParts { examples: &examples, ..shown }, ..own };
        if !changes(body, own, other) {
            let message = format!("the judge is never shown example {}", index + 1);
            let help = "add a loop over `examples` under `# system`, as in the shipped rubrics, or \
                        remove the example";
            findings.push(Finding::new(codes::NO_EXAMPLES, place.clone(), message).help(help));
        }
    }
    findings
}

/// True if the messages differ, or if none of the trials can be rendered.
fn changes(body: &CompiledBody, own: TrialSlots<'_>, other: TrialSlots<'_>) -> bool {
    let mut compared = false;
    for with_context in [true, false] {
        let (Some(a), Some(b)) = (body.trial(own, with_context), body.trial(other, with_context))
        else {
            continue;
        };
        if a != b {
            return true;
        }
        compared = true;
    }
    !compared
}

fn reword(criterion: &mut Criterion) {
    OTHER.clone_into(&mut criterion.about);
    criterion.levels.iter_mut().for_each(|level| OTHER.clone_into(&mut level.anchor));
}

fn replace(example: &mut RubricExample) {
    OTHER.clone_into(&mut example.turn);
    OTHER.clone_into(&mut example.before);
}
