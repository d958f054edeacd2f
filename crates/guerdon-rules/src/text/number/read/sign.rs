//! Signs before a number.

use crate::text::number::reading::{NumberText, ReadNumber};

/// The greatest distance between a number and `minus` for which the word subtracts, in bytes.
const SUBTRACTS_WITHIN: usize = 16;

/// Makes `number` negative if a sign stands before it. `last` is the end of the number before it.
pub(super) fn apply(text: NumberText<'_>, number: &mut ReadNumber, last: usize) {
    let Some(start) = hyphen(text, number.bytes.start)
        .or_else(|| word(text, number.bytes.start, last))
        .filter(|start| *start >= last)
    else {
        return;
    };
    let behind_currency = text.before(number.bytes.start).is_some_and(is_currency);
    (number.value, number.low) = match number.low {
        Some(low) => (-low, Some(-number.value)),
        None => (-number.value, None),
    };
    if !behind_currency {
        number.bytes.start = start;
    }
}

const fn is_currency(c: char) -> bool {
    matches!(c, '$' | '¥' | '€' | '£')
}

/// The place of a hyphen that is a minus sign: not a dash, not in a range, not between words.
fn hyphen(text: NumberText<'_>, start: usize) -> Option<usize> {
    let mut at = start;
    if text.before(at).is_some_and(is_currency) {
        at -= text.before(at).map_or(0, char::len_utf8);
    }
    let minus = at.checked_sub(1).filter(|minus| text.byte(*minus) == Some(b'-'))?;
    if text.is_break(minus) {
        return None;
    }
    let ahead = text.text.get(..minus)?;
    let opens = ahead
        .chars()
        .next_back()
        .is_none_or(|c| c.is_whitespace() || "([:=,<>是为到降亏".contains(c) || is_currency(c));
    let parted = ahead.trim_end_matches(' ').chars().next_back();
    // `400 -450元` is a range, and `-- 400` a dash.
    let joins = parted.is_some_and(|c| {
        c.is_ascii_digit()
            || matches!(c, '元' | '块' | '圆' | '折' | '%' | '万' | '千' | '百' | '-')
    });
    (opens && !joins).then_some(minus)
}

/// The place of 负, `minus` or `negative` before the number.
fn word(text: NumberText<'_>, start: usize, last: usize) -> Option<usize> {
    let ahead = text.text.get(..start)?;
    if let Some(before) = ahead.strip_suffix('负') {
        let part_of_word = before.ends_with(['自', '抱', '胜', '欺', '担', '肩', '辜', '正', '不']);
        return (!part_of_word).then_some(before.len());
    }
    let before = ahead.strip_suffix("minus ").or_else(|| ahead.strip_suffix("negative "))?;
    let opens = !before.ends_with(|c: char| c.is_ascii_alphanumeric());
    let apart = last == 0 || before.len().saturating_sub(last) > SUBTRACTS_WITHIN;
    (opens && apart).then_some(before.len())
}
