//! Questions, conditions and refusals apply beyond the clause of their cue: `480元，可以吗？` asks for
//! 480, `if you book ten rooms, we can do 480` offers it under a condition, and `480 sounds fair, but
//! it is over our budget` refuses it.

use super::parts::{Boundary, Clause, CueBytes, Denial, QuestionTag};
use super::{chinese, english};

/// The greatest length of a tag, in bytes.
const TAG_BYTES: usize = 60;

/// Spreads questions and conditions within the clauses of a sentence. `asked` is its question mark.
pub(super) fn spread(text: &str, clauses: &mut [Clause], asked: Option<CueBytes>) {
    questions(text, clauses, asked);
    conditions(clauses);
    refusals(text, clauses);
    refusing_clauses(text, clauses);
}

/// Takes a question back to which the next sentence answers no: `a kickback? No, never.`
pub(super) fn answer(text: &str, question: &mut [Clause], answer: &Clause) {
    let words = words_of(text, answer);
    let words = words.trim_matches(|c: char| !c.is_alphanumeric());
    let answers_no = english::answers_no(words) || chinese::answers_no(words);
    if answers_no || english::refuses(words).or_else(|| chinese::refuses(words)).is_some() {
        for clause in question {
            clause.refused.get_or_insert(Denial { at: answer.bytes, numbers: false });
        }
    }
}

fn words_of<'t>(text: &'t str, clause: &Clause) -> &'t str {
    text.get(clause.bytes[0] as usize..clause.bytes[1] as usize).unwrap_or_default()
}

/// Takes back the number of a clause if the next one, after a contrast, finds it too high.
fn refusals(text: &str, clauses: &mut [Clause]) {
    for at in 1..clauses.len() {
        let Some([clause, next]) = clauses.get_mut(at - 1..=at) else { continue };
        let words = words_of(text, next);
        let ahead = text.get(..next.bytes[0] as usize).unwrap_or_default().trim_end();
        let contrasts = next.after == Boundary::Contrast
            && !["though", "because", "cuz", "cause", "虽然", "尽管", "因为", "毕竟"]
                .iter()
                .any(|word| ahead.ends_with(word));
        if !contrasts || next.question.is_some() || words.contains(|c: char| c.is_ascii_digit()) {
            continue;
        }
        if let Some(found) = english::excess(words).or_else(|| chinese::excess(words)) {
            let start = next.bytes[0] + super::reader::place(found.start);
            let at = [start, start + super::reader::place(found.len())];
            clause.refused.get_or_insert(Denial { at, numbers: true });
        }
    }
}

/// A clause that only refuses takes back the clause before it, and those that this one belongs to:
/// `有些平台不降价就下架酒店，我们不会`.
fn refusing_clauses(text: &str, clauses: &mut [Clause]) {
    for at in 1..clauses.len() {
        let Some(next) = clauses.get(at).copied() else { continue };
        let words = words_of(text, &next);
        let found = chinese::refuses(words).or_else(|| english::refuses(words));
        // `不同意就下架` states a condition and refuses nothing.
        let goes_on = clauses.get(at + 1).is_some_and(|after| after.after <= Boundary::Joint);
        let alone = next.after == Boundary::Comma && !goes_on;
        let Some(found) = found.filter(|_| alone) else { continue };
        let start = next.bytes[0] + super::reader::place(found.start);
        let denial =
            Denial { at: [start, start + super::reader::place(found.len())], numbers: false };
        for clause in clauses.iter_mut().take(at).rev() {
            clause.refused.get_or_insert(denial);
            if clause.after >= Boundary::Comma {
                break;
            }
        }
    }
}

fn questions(text: &str, clauses: &mut [Clause], asked: Option<CueBytes>) {
    let Some((last, before)) = clauses.split_last_mut() else { return };
    let Some(cue) = last.question.or(asked) else { return };
    let words = text.get(last.bytes[0] as usize..last.bytes[1] as usize).unwrap_or_default().trim();
    let tag = (words.len() <= TAG_BYTES && !before.is_empty())
        .then(|| english::tag(words).or_else(|| chinese::tag(words)))
        .flatten();
    if tag == Some(QuestionTag::Confirm) {
        last.question = None;
        return;
    }
    // A mark without a question word asks for the whole sentence: `480, with breakfast?`
    let is_bare = last.question.is_none();
    last.question = Some(cue);
    if tag.is_none() && !is_bare {
        return;
    }
    let mut boundary = last.after;
    for clause in before.iter_mut().rev() {
        if boundary == Boundary::Contrast || clause.question.is_some() {
            break;
        }
        boundary = clause.after;
        match tag {
            Some(_) => clause.consent = Some(cue),
            None => clause.question = Some(cue),
        }
    }
}

fn conditions(clauses: &mut [Clause]) {
    for at in 0..clauses.len() {
        let Some(Clause { states_condition: Some(cue), after, .. }) = clauses.get(at).copied()
        else {
            continue;
        };
        if let Some(clause) = clauses.get_mut(at) {
            clause.condition = Some(cue);
        }
        if after <= Boundary::Joint {
            // `we take 480 if …`: the statement right before the condition.
            if let Some(clause) = at.checked_sub(1).and_then(|before| clauses.get_mut(before)) {
                clause.condition.get_or_insert(cue);
            }
            continue;
        }
        let mut commas = 0;
        for clause in clauses.iter_mut().skip(at + 1) {
            commas += usize::from(clause.after == Boundary::Comma);
            if clause.after >= Boundary::Contrast || commas > 1 {
                break;
            }
            clause.condition.get_or_insert(cue);
        }
    }
}
