//! Numbers in digits: grouping by comma, point, apostrophe or space, decimals and fractions.

use std::ops::Range;

use crate::text::number::reading::{NumberText, ReadNumber, Reading};
use crate::text::steps;

/// The greatest number of digits. A longer number is an identifier, and an f64 would not keep it.
const MAX_DIGITS: usize = 15;
/// The greatest number of groups of digits that are read together.
const MAX_GROUPS: usize = 8;

/// Digits as written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) value: f64,
    pub(super) bytes: Range<usize>,
    /// The number of digits before the decimal point.
    pub(super) digits: usize,
    pub(super) has_decimals: bool,
    pub(super) leading_zero: bool,
}

/// Digits that were read to their end, or that a word may continue.
pub(super) enum FigureReading {
    Done(Reading),
    Figure(Figure),
}

/// Groups of digits, each with the mark before it.
type Groups = Vec<(u8, Range<usize>)>;

/// The result of reading a chain of groups.
enum ChainReading {
    Figure(Figure),
    Unclear(usize),
}

/// Reads the number that begins with the digit at `at`.
pub(super) fn read(text: NumberText<'_>, at: usize) -> FigureReading {
    if let Some(read) = spaced(text, at) {
        return FigureReading::Done(Reading::Number(read));
    }
    if let Some(end) = tangle(text, at) {
        return FigureReading::Done(Reading::Unclear(end));
    }
    let figure = match chain(text, at) {
        ChainReading::Figure(figure) => figure,
        ChainReading::Unclear(end) => return FigureReading::Done(Reading::Unclear(end)),
    };
    let done = point_first(text, at, &figure)
        .or_else(|| fraction(text, &figure))
        .or_else(|| short_magnitude(text, &figure).map(Reading::Number));
    done.map_or(FigureReading::Figure(figure), FigureReading::Done)
}

/// The length of the run of digits at `at`, at most one more than [`MAX_DIGITS`].
fn run(text: NumberText<'_>, at: usize) -> usize {
    let bytes = text.text.as_bytes().iter().skip(at).take(MAX_DIGITS + 1);
    let digits = bytes.inspect(|_| steps::add(1)).take_while(|b| b.is_ascii_digit()).count();
    (1..digits).find(|length| text.is_break(at + length)).unwrap_or(digits)
}

/// The plain digits at `at`, with decimals behind a point.
pub(super) fn plain(text: NumberText<'_>, at: usize) -> Option<Figure> {
    let digits = run(text, at);
    let mut groups = vec![(b' ', at..at + digits)];
    let end = at + digits;
    if text.byte(end) == Some(b'.') && text.is_digit(end + 1) {
        groups.push((b'.', end + 1..end + 1 + run(text, end + 1)));
    }
    (digits > 0).then(|| figure(text, &groups, groups.len() > 1)).flatten()
}

/// The groups of digits from `at` on that `marks` join.
fn groups(text: NumberText<'_>, at: usize, marks: &[u8]) -> Groups {
    let mut groups = vec![(b' ', at..at + run(text, at))];
    while groups.len() < MAX_GROUPS
        && let Some((_, last)) = groups.last()
        && let Some(mark) = text.byte(last.end)
        && marks.contains(&mark)
        && text.is_digit(last.end + 1)
        && !text.is_break(last.end)
        && !text.is_break(last.end + 1)
    {
        let start = last.end + 1;
        groups.push((mark, start..start + run(text, start)));
    }
    groups
}

fn chain(text: NumberText<'_>, at: usize) -> ChainReading {
    if let Some(read) = by_spaces(text, at) {
        return read;
    }
    let mut all = groups(text, at, b",.'_");
    let end = all.last().map_or(at, |(_, last)| last.end);
    let lengths: Vec<usize> = all.iter().map(|(_, range)| range.len()).collect();
    let marks: Vec<u8> = all.iter().skip(1).map(|(mark, _)| *mark).collect();
    let grouped = |lengths: &[usize]| {
        lengths.first().is_some_and(|first| (1..=3).contains(first))
            && lengths.iter().skip(1).all(|length| *length == 3)
            && (text.byte(at) != Some(b'0') || lengths.len() == 1)
    };
    let (decimal, head) = match (marks.split_last(), lengths.split_last()) {
        (Some((last, marks)), Some((_, lengths))) => {
            (Some(*last).filter(|last| marks.iter().all(|mark| mark != last)), lengths)
        }
        _ => (None, &lengths[..]),
    };
    let alike = |marks: &[u8]| marks.windows(2).all(|pair| pair.first() == pair.last());
    let euro = || beside_euro(text, at, end);
    let last = lengths.last().copied().unwrap_or(0);
    let is_decimal = match (marks.as_slice(), decimal) {
        ([], _) => false,
        ([b'.'], _) => {
            let ambiguous = last == 3 && head.first().is_some_and(|first| *first <= 3);
            if ambiguous && text.byte(at) != Some(b'0') && euro() {
                return ChainReading::Unclear(end);
            }
            true
        }
        // European decimals. With any other unit, `4,80` may be two numbers.
        ([b','], _) if last < 3 => {
            if !euro() {
                return ChainReading::Unclear(end);
            }
            true
        }
        // Two numbers in a list: 1200,4800.
        ([b','], _) if !grouped(&lengths) => {
            all.truncate(1);
            false
        }
        // 5'11 is no number.
        ([b'\'' | b'_'], _) if !grouped(&lengths) => {
            all.truncate(1);
            false
        }
        (marks, _) if alike(marks) && grouped(&lengths) => false,
        (marks, _) if marks.iter().all(|mark| *mark == b',') && is_indian(&lengths) => false,
        ([groups @ .., b'.'], Some(b'.')) if alike(groups) && grouped(head) => true,
        ([groups @ .., b','], Some(b','))
            if alike(groups) && groups.first() == Some(&b'.') && grouped(head) && last < 3 =>
        {
            true
        }
        // A decimal and another number: 3.5,4.
        ([b'.', b',', ..], _) if lengths.get(1).is_some_and(|decimals| *decimals != 3) => {
            all.truncate(2);
            true
        }
        _ => return ChainReading::Unclear(end),
    };
    figure(text, &all, is_decimal).map_or(ChainReading::Unclear(end), ChainReading::Figure)
}

/// Reads groups of three digits that single spaces part: `1 200`, `1 234 567,89`.
fn by_spaces(text: NumberText<'_>, at: usize) -> Option<ChainReading> {
    let mut all = groups(text, at, b" ");
    let longer = all.iter().skip(1).position(|(_, range)| range.len() != 3);
    all.truncate(longer.map_or(all.len(), |longer| longer + 1));
    let first = all.first().map_or(0, |(_, range)| range.len());
    if all.len() < 2 || first > 3 || text.byte(at) == Some(b'0') {
        return None;
    }
    let end = all.last().map_or(at, |(_, last)| last.end);
    let follows = text.byte(end) == Some(b' ') && text.is_digit(end + 1);
    let precedes = at >= 2 && text.byte(at - 1) == Some(b' ') && text.is_digit(at - 2);
    let zeros = all.iter().skip(1).any(|(_, group)| text.text.get(group.clone()) == Some("000"));
    // `480 500` may be two prices.
    let clear = first < 3 || zeros || all.len() > 2;
    if follows || precedes || !clear {
        return Some(ChainReading::Unclear(end));
    }
    let mark = text.byte(end);
    let mut is_decimal = false;
    if matches!(mark, Some(b',' | b'.')) && text.is_digit(end + 1) && !text.is_break(end) {
        let decimals = run(text, end + 1);
        if decimals > 2 {
            return Some(ChainReading::Unclear(end + 1 + decimals));
        }
        all.push((b'.', end + 1..end + 1 + decimals));
        is_decimal = true;
    }
    Some(figure(text, &all, is_decimal).map_or(ChainReading::Unclear(end), ChainReading::Figure))
}

/// Groups as in 1,20,000.
fn is_indian(lengths: &[usize]) -> bool {
    let [first, middle @ .., last] = lengths else { return false };
    (1..=2).contains(first)
        && *last == 3
        && !middle.is_empty()
        && middle.iter().all(|length| *length == 2)
}

fn beside_euro(text: NumberText<'_>, at: usize, end: usize) -> bool {
    let after = text.rest(end).trim_start_matches(' ');
    let before = text.text.get(..at).unwrap_or_default().trim_end_matches(' ');
    ["€", "eur"].iter().any(|unit| after.starts_with(unit) || before.ends_with(unit))
        || before.ends_with("euro")
        || after.starts_with("欧元")
}

/// The value of `groups`. The last one holds decimals if `is_decimal` is set.
fn figure(text: NumberText<'_>, groups: &[(u8, Range<usize>)], is_decimal: bool) -> Option<Figure> {
    let (first, last) = (groups.first()?, groups.last()?);
    let (mut value, mut written) = (0.0, 0);
    for (_, range) in groups {
        for byte in text.text.as_bytes().get(range.clone())? {
            value = value * 10.0 + f64::from(byte - b'0');
            written += 1;
        }
    }
    let decimals = if is_decimal { last.1.len() } else { 0 };
    if written > MAX_DIGITS {
        return None;
    }
    Some(Figure {
        value: value / 10_f64.powi(i32::try_from(decimals).ok()?),
        bytes: first.1.start..last.1.end,
        digits: written - decimals,
        has_decimals: is_decimal,
        leading_zero: written - decimals > 1 && text.byte(first.1.start) == Some(b'0'),
    })
}

/// Reads `.5` as 0.5, where the point is not the end of a word or of a sentence.
fn point_first(text: NumberText<'_>, at: usize, figure: &Figure) -> Option<Reading> {
    let point = at.checked_sub(1).filter(|point| text.byte(*point) == Some(b'.'))?;
    if text.is_break(at) {
        return None;
    }
    let ahead = text.before(point);
    let opens = ahead.is_none_or(|c| c.is_whitespace() || "$¥€£(:=<>".contains(c));
    let plain = !figure.has_decimals && figure.bytes.len() == figure.digits;
    if !opens || !plain {
        let clear = ahead.is_some_and(|c| c.is_ascii_alphabetic() || c == '.');
        return (!clear).then_some(Reading::Unclear(figure.bytes.end));
    }
    let places = i32::try_from(figure.bytes.len()).ok()?;
    let value = figure.value / 10_f64.powi(places);
    Some(Reading::Number(ReadNumber::plain(value, point..figure.bytes.end)))
}

/// Returns the end of digits that letters or hyphens interrupt: `4o0`, `1e3`, `4-8-0`.
fn tangle(text: NumberText<'_>, at: usize) -> Option<usize> {
    let length = run(text, at);
    let letter = |at: usize| matches!(text.byte(at), Some(b'o' | b'l' | b'i' | b'e'));
    let inside = at >= 2 && letter(at - 1) && text.is_digit(at - 2);
    if inside || (letter(at + length) && text.is_digit(at + length + 1)) {
        let rest = text.text.as_bytes().iter().skip(at).take(2 * MAX_DIGITS);
        return Some(at + rest.take_while(|b| b.is_ascii_alphanumeric()).count());
    }
    let mut end = at + 1;
    let mut count = 1;
    while length == 1
        && count <= MAX_DIGITS
        && text.byte(end) == Some(b'-')
        && text.is_digit(end + 1)
        && !text.is_digit(end + 2)
    {
        end += 2;
        count += 1;
    }
    (count >= 3).then_some(end)
}

/// Reads at least three single digits, each separated by a space: `4 8 0`.
fn spaced(text: NumberText<'_>, at: usize) -> Option<ReadNumber> {
    if run(text, at) != 1
        || at
            .checked_sub(2)
            .is_some_and(|before| text.is_digit(before) && text.byte(at - 1) == Some(b' '))
    {
        return None;
    }
    let digit = |at: usize| text.byte(at).map(|byte| f64::from(byte.saturating_sub(b'0')));
    let mut value = digit(at)?;
    let (mut last, mut count) = (at, 1);
    while count <= MAX_DIGITS
        && text.byte(last + 1) == Some(b' ')
        && text.is_digit(last + 2)
        && !text.is_digit(last + 3)
    {
        last += 2;
        count += 1;
        value = value * 10.0 + digit(last)?;
    }
    let fits = (3..=MAX_DIGITS).contains(&count);
    fits.then(|| ReadNumber { spaced: true, ..ReadNumber::plain(value, at..last + 1) })
}

/// Reads `1 1/2` and `1½`. A fraction alone, such as `1/2`, may be a date.
fn fraction(text: NumberText<'_>, figure: &Figure) -> Option<Reading> {
    if figure.has_decimals {
        return None;
    }
    let end = figure.bytes.end;
    let gap = usize::from(text.byte(end) == Some(b' '));
    let next = text.rest(end + gap).chars().next();
    if let Some((c, part)) = next.and_then(|c| Some((c, vulgar(c)?))) {
        let bytes = figure.bytes.start..end + gap + c.len_utf8();
        return Some(Reading::Number(ReadNumber::plain(figure.value + part, bytes)));
    }
    let parts = |at: usize| {
        let above = run(text, at);
        let slash = text.rest(at + above).chars().next().filter(|c| matches!(c, '/' | '⁄'))?;
        let start = at + above + slash.len_utf8();
        let below = run(text, start);
        let number = |at: usize, length: usize| text.text.get(at..at + length)?.parse::<f64>().ok();
        (above > 0 && below > 0).then_some(())?;
        Some((number(at, above)?, number(start, below)?, start + below))
    };
    let small = |above: f64, below: f64| above > 0.0 && above < below && below <= 10.0;
    let more = |end: usize| text.byte(end) == Some(b'/');
    if gap == 1
        && let Some((above, below, end)) = parts(end + 1)
        && small(above, below)
        && !more(end)
    {
        let bytes = figure.bytes.start..end;
        return Some(Reading::Number(ReadNumber::plain(figure.value + above / below, bytes)));
    }
    let (above, below, end) = parts(figure.bytes.start)?;
    (small(above, below) || more(end)).then_some(Reading::Unclear(end))
}

/// The value of a fraction that is one character.
pub(super) fn vulgar(c: char) -> Option<f64> {
    Some(match c {
        '½' => 1.0 / 2.0,
        '⅓' => 1.0 / 3.0,
        '⅔' => 2.0 / 3.0,
        '¼' => 1.0 / 4.0,
        '¾' => 3.0 / 4.0,
        '⅕' => 1.0 / 5.0,
        '⅖' => 2.0 / 5.0,
        '⅗' => 3.0 / 5.0,
        '⅘' => 4.0 / 5.0,
        '⅙' => 1.0 / 6.0,
        '⅚' => 5.0 / 6.0,
        '⅐' => 1.0 / 7.0,
        '⅛' => 1.0 / 8.0,
        '⅜' => 3.0 / 8.0,
        '⅝' => 5.0 / 8.0,
        '⅞' => 7.0 / 8.0,
        '⅑' => 1.0 / 9.0,
        '⅒' => 1.0 / 10.0,
        _ => return None,
    })
}

/// Reads a fraction that is the one character `c`.
pub(super) fn read_vulgar(at: usize, c: char) -> Reading {
    let value = vulgar(c).unwrap_or_default();
    Reading::Number(ReadNumber::plain(value, at..at + c.len_utf8()))
}

/// Reads the magnitudes k, w and, behind a sign of a currency, m and b: `3k`, `3k5`, `$2m`.
fn short_magnitude(text: NumberText<'_>, figure: &Figure) -> Option<ReadNumber> {
    let end = figure.bytes.end;
    let priced = text.before(figure.bytes.start).is_some_and(|c| "$€£¥".contains(c));
    let rest = text.rest(end);
    let (times, length) = [
        ("k", 1e3, true),
        ("w", 1e4, true),
        ("mn", 1e6, priced),
        ("mm", 1e6, priced),
        ("m", 1e6, priced),
        ("bn", 1e9, priced),
        ("b", 1e9, priced),
    ]
    .into_iter()
    .find_map(|(word, times, fits)| {
        (fits && rest.starts_with(word)).then_some((times, word.len()))
    })?;
    let mut number = ReadNumber {
        times,
        ..ReadNumber::plain(figure.value * times, figure.bytes.start..end + length)
    };
    let end = end + length;
    if text.byte(end).is_some_and(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    if text.is_digit(end) {
        // 3k5 is 3,500.
        if run(text, end) != 1 || figure.has_decimals || times > 1e4 {
            return None;
        }
        number.value += f64::from(text.byte(end)? - b'0') * times / 10.0;
        number.times = 1.0;
        number.bytes.end = end + 1;
        number.unit_at = end + 1;
    }
    Some(number)
}
