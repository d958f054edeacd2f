//! Parts of a rubric that its body never shows. A part is shown if the messages change when its
//! words do and its length stays: a body that only counts the words does not show them.

use guerdon_text::Finding;

use super::places::PartPlaces;
use crate::rubric::template::{CompiledBody, ShownParts, TrialSlots};
use crate::rubric::{Criterion, RubricExample, codes};

/// Words of a dialogue. Each of them is shown, or the body shows a part of the dialogue.
const WORDS: [&str; 6] = ["Could", "gladly", "offer", "480", "before", "Friday"];

fn dialogue(words: &[String]) -> String {
    format!("<dialogue>\n<user>{}</user>\n</dialogue>", words.join(" "))
}

/// `text` with other letters and digits, and otherwise the same.
fn reworded(text: &str) -> String {
    let other = |c: char| match c {
        'z' => 'a',
        'Z' => 'A',
        '9' => '0',
        'a'..='y' | 'A'..='Y' | '0'..='8' => char::from_u32(u32::from(c) + 1).unwrap_or(c),
        '\u{4e00}'..='\u{9ffe}' => char::from_u32(u32::from(c) + 1).unwrap_or(c),
        _ => c,
    };
    let other: String = text.chars().map(other).collect();
    // A text without letters has no other words of its length.
    if other == text { format!("{text}x") } else { other }
}

pub(super) fn findings(
    body: &CompiledBody,
    shown: ShownParts<'_>,
    places: &PartPlaces,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let words = WORDS.map(str::to_owned);
    let whole = dialogue(&words);
    let own = TrialSlots { dialogue: &whole, shown };
    let is_hidden = |index: usize| {
        let mut words = words.clone();
        words.iter_mut().skip(index).take(1).for_each(|word| *word = reworded(word));
        !changes(body, own, TrialSlots { dialogue: &dialogue(&words), ..own })
    };
    let hidden = (0..words.len()).filter(|index| is_hidden(*index)).count();
    if hidden > 0 {
        let message = if hidden == words.len() {
            "the judge is never shown the dialogue"
        } else {
            "the judge is shown only a part of a short dialogue"
        };
        let place = places.user.start..places.user.start;
        let help = "write `{{ dialogue }}` under `# user`, before the turn";
        findings.push(Finding::new(codes::NO_DIALOGUE, place, message).help(help));
    }
    if shown.criteria.is_empty() {
        let place = places.user.start..places.user.start;
        let message = "the rubric has no criteria, so there is nothing to judge";
        let help = "write one `[[criteria]]` table for each fault";
        findings.push(Finding::new(codes::NO_CRITERIA, place, message).help(help));
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
    criterion.about = reworded(&criterion.about);
    criterion.levels.iter_mut().for_each(|level| level.anchor = reworded(&level.anchor));
}

fn replace(example: &mut RubricExample) {
    example.turn = reworded(&example.turn);
    example.before = reworded(&example.before);
}
