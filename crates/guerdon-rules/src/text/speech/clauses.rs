//! The clauses of a text with their cues, in one pass over its words and characters.

use super::parts::{Boundary, ClauseCues, CueBytes};
use super::reader::{ClauseReader, ClauseToken, TokenKind, clause, place};
use super::{chinese, english, quotes, spread};
use crate::text::sentences::ends_sentence;
use crate::text::steps;

/// Reads the clauses of a folded text.
pub(super) fn read(text: &str, is_over: &dyn Fn() -> bool) -> ClauseCues {
    let mut reader = ClauseReader::new(text, is_over);
    let mut at = 0;
    while let Some(token) = reader.tokens.get(at).copied() {
        steps::add(1);
        if is_over() {
            break;
        }
        at += match token.kind {
            TokenKind::Word => english::read(&mut reader, at),
            TokenKind::Ideograph => chinese::read(&mut reader, at),
            TokenKind::Mark(mark) => match english::parenthesis(&reader, at) {
                Some(length) => length,
                None => {
                    read_mark(&mut reader, at, token, mark);
                    1
                }
            },
        }
        .max(1);
    }
    let end = place(text.len());
    reader.close(reader.tokens.len(), [end, end], Boundary::Sentence, reader.tokens.len());
    end_sentence(&mut reader, None);
    quotes::add_quoted(&mut reader, is_over);
    reader.found
}

/// Reads a mark, which may end a sentence or a clause.
fn read_mark(reader: &mut ClauseReader<'_>, at: usize, token: ClauseToken, mark: char) {
    let ClauseToken { start, end, .. } = token;
    if ends_sentence(reader.text, start as usize, mark) {
        let asked = matches!(mark, '?' | '？').then_some([start, end]);
        // A second mark (`?!`) ends the sentence that has just ended.
        if reader.opens_at == at && reader.sentence == reader.found.clauses.len() {
            if let (Some(cue), Some(last)) = (asked, reader.found.clauses.last_mut()) {
                last.question.get_or_insert(cue);
            }
            reader.open = clause(end, Boundary::Sentence);
            reader.opens_at = at + 1;
            return;
        }
        reader.close(at, [start, end], Boundary::Sentence, at + 1);
        end_sentence(reader, asked);
    } else if is_comma(reader, start as usize, end as usize, mark) {
        reader.close(at, [start, end], Boundary::Comma, at + 1);
    }
}

/// Returns true if a mark parts two clauses: not the comma of `1,200` or the colon of `9:30`.
fn is_comma(reader: &ClauseReader<'_>, start: usize, end: usize, mark: char) -> bool {
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let before = reader.text.get(..start).and_then(|text| text.chars().next_back());
    let after = reader.text.get(end..).and_then(|text| text.chars().next());
    match mark {
        ',' | '，' | ':' | '：' => !(digit(before) && digit(after)),
        '(' | ')' | '（' | '）' | '—' | '–' | '…' | '[' | ']' | '【' | '】' => true,
        '-' | '~' => before == Some(' ') && after == Some(' '),
        '.' => after == Some('.'),
        _ => false,
    }
}

fn end_sentence(reader: &mut ClauseReader<'_>, asked: Option<CueBytes>) {
    let sentence = reader.sentence..reader.found.clauses.len();
    let (before, clauses) = reader.found.clauses.split_at_mut(reader.sentence);
    spread::spread(reader.text, clauses, asked);
    if let (Some(answer), Some(question)) = (clauses.first(), before.get_mut(reader.asked.clone()))
    {
        spread::answer(reader.text, question, answer);
    }
    let asks = clauses.iter().any(|clause| clause.question.is_some() || clause.consent.is_some());
    reader.asked = if asks { sentence } else { 0..0 };
    reader.sentence = reader.found.clauses.len();
    reader.saying = None;
}
