//! Chinese numerals, alone or mixed with digits: `四百二`, `4百80`, `1万2千`, `一千二三百`.

use super::figures::{self, Figure};
use crate::text::number::reading::{BuiltIn, NumberText, ReadNumber, Reading, magnitude, numeral};
use crate::text::steps;

/// The greatest number of numerals in a row: 二零二七.
const MAX_ROW: usize = 10;
/// The greatest number of characters of a number in words.
const MAX_CHARS: usize = 48;

/// Both ends of a value. They differ for 四五百.
type Ends = [f64; 2];

/// A coefficient that no magnitude has multiplied yet.
#[derive(Debug, Clone, Copy)]
enum Coefficient {
    /// Digits: their value, their number, and whether there are decimals.
    Digits(f64, usize, bool),
    /// One numeral, or a row of them: both readings of the row, and its length. The second is set
    /// for 四五 as four to five.
    Row(f64, Option<Ends>, usize),
    /// Numerals with decimals: 三点五.
    Decimal(f64),
}

/// The state of reading a number.
#[derive(Debug, Default)]
struct ChineseParser {
    /// The value of the sections from 万 on.
    total: Ends,
    /// The value of the section below 万.
    section: Ends,
    pending: Option<Coefficient>,
    /// The last magnitude; 0 before the first.
    last: f64,
    /// The last magnitude from 万 on.
    last_section: f64,
    /// Set if 零 followed the last magnitude.
    zero: bool,
    /// The number of magnitudes.
    magnitudes: usize,
    taken: usize,
}

/// A character that the parser took, or the reason that it ends.
enum ParserStep {
    Taken,
    End,
    Unclear,
}

/// Reads the numerals that begin at `at`.
pub(super) fn read(text: NumberText<'_>, at: usize) -> Reading {
    let rest = text.rest(at);
    if let Some(read) = share(rest, at) {
        return read;
    }
    let Some(first) = rest.chars().next() else { return Reading::Nothing };
    let opens = numeral(first).is_some() || magnitude(first).is_some_and(|times| times < 11.0);
    if !opens {
        return Reading::Nothing;
    }
    parse(text, at, at, ChineseParser::default())
}

/// Reads what follows digits, such as the `百80` of `4百80`.
pub(super) fn after_figure(text: NumberText<'_>, figure: &Figure) -> Reading {
    let parser = ChineseParser {
        pending: Some(Coefficient::Digits(figure.value, figure.digits, figure.has_decimals)),
        taken: 1,
        ..ChineseParser::default()
    };
    let next = text.rest(figure.bytes.end).chars().next();
    if !next.and_then(magnitude).is_some_and(|times| times >= 100.0 || figure.digits == 1) {
        let interrupted = next.is_some_and(|c| numeral(c).is_some() && c != '两')
            && text
                .rest(figure.bytes.end)
                .chars()
                .nth(1)
                .is_some_and(|c| numeral(c).is_some() || magnitude(c).is_some());
        let number = ReadNumber::plain(figure.value, figure.bytes.clone());
        return if interrupted {
            Reading::Unclear(figure.bytes.end)
        } else {
            Reading::Number(number)
        };
    }
    parse(text, figure.bytes.start, figure.bytes.end, parser)
}

/// Reads 百分百, 半价 and 对折.
fn share(rest: &str, at: usize) -> Option<Reading> {
    let half = [("半价", 1), ("对折", 2)].into_iter().find(|(word, _)| rest.starts_with(word));
    if let Some((word, _)) = half {
        let number = ReadNumber::plain(50.0, at..at + word.len());
        return Some(Reading::Number(ReadNumber {
            bare: true,
            built_in: Some(BuiltIn::HalfPrice),
            ..number
        }));
    }
    let whole = ["百分之百", "百分之一百", "百分百"];
    let word = whole.into_iter().find(|word| rest.starts_with(word))?;
    let number = ReadNumber::plain(100.0, at..at + word.len());
    Some(Reading::Number(ReadNumber { bare: true, built_in: Some(BuiltIn::Percent), ..number }))
}

fn parse(text: NumberText<'_>, start: usize, mut end: usize, mut parser: ChineseParser) -> Reading {
    for _ in 0..MAX_CHARS {
        steps::add(1);
        let rest = text.rest(end);
        let mut chars = rest.chars();
        let Some(c) = chars.next() else { break };
        let step = if c.is_ascii_digit() {
            parser.digits(text, &mut end)
        } else if c == '点' {
            parser.point(rest, &mut end)
        } else {
            let step = match (numeral(c), magnitude(c)) {
                (Some(digit), _) => parser.numeral(digit, chars.next()),
                (None, Some(times)) => parser.multiply(times),
                (None, None) => ParserStep::End,
            };
            if matches!(step, ParserStep::Taken) {
                end += c.len_utf8();
            }
            step
        };
        match step {
            ParserStep::Taken => parser.taken += 1,
            ParserStep::End => break,
            ParserStep::Unclear => return Reading::Unclear(skipped(text, end)),
        }
    }
    parser.finish(text, start..end)
}

/// The end of the fraction whose 分之 begins at `at`.
pub(super) fn beyond_fraction(text: NumberText<'_>, at: usize) -> usize {
    skipped(text, at + "分之".len())
}

/// The end of the numerals, magnitudes and digits from `at` on, which have no certain reading.
fn skipped(text: NumberText<'_>, at: usize) -> usize {
    let rest = text.rest(at);
    let part = |c: &char| c.is_ascii_digit() || numeral(*c).is_some() || magnitude(*c).is_some();
    let length: usize = rest.chars().take(MAX_CHARS).take_while(part).map(char::len_utf8).sum();
    at + length.max(rest.chars().next().map_or(0, char::len_utf8))
}

impl ChineseParser {
    /// Takes a numeral; `next` is the character after it.
    fn numeral(&mut self, digit: f64, next: Option<char>) -> ParserStep {
        match self.pending {
            None if digit < 1.0 && self.last > 0.0 => self.zero = true,
            None => self.pending = Some(Coefficient::Row(digit, None, 1)),
            Some(Coefficient::Row(row, _, count)) => {
                let adjacent = (digit - row - 1.0).abs() < 0.5 && row > 0.5
                    || (row - 3.0).abs() < 0.5 && (digit - 5.0).abs() < 0.5;
                let pair = (count == 1 && adjacent).then_some([row, digit]);
                if self.last > 0.0 && pair.is_none() || count == MAX_ROW {
                    return ParserStep::Unclear;
                }
                // 五六 in 十五六七 is no pair.
                let more = next.and_then(numeral).is_some();
                if self.last > 0.0 && more {
                    return ParserStep::Unclear;
                }
                self.pending = Some(Coefficient::Row(row * 10.0 + digit, pair, count + 1));
            }
            Some(Coefficient::Digits(..) | Coefficient::Decimal(_)) => return ParserStep::Unclear,
        }
        ParserStep::Taken
    }

    /// Takes digits after a magnitude: the 80 of 4百80.
    fn digits(&mut self, text: NumberText<'_>, end: &mut usize) -> ParserStep {
        if self.pending.is_some() {
            return ParserStep::Unclear;
        }
        let Some(figure) = figures::plain(text, *end) else { return ParserStep::Unclear };
        // A leading zero stands for 零.
        self.zero |= figure.leading_zero;
        self.pending = Some(Coefficient::Digits(figure.value, figure.digits, figure.has_decimals));
        *end = figure.bytes.end;
        ParserStep::Taken
    }

    /// Takes 点 and the decimals after it. 三点 and 三点五十 are times of day.
    fn point(&mut self, rest: &str, end: &mut usize) -> ParserStep {
        let Some(Coefficient::Row(row, _, _)) = self.pending else {
            return self.whole_point(rest, end);
        };
        self.decimals(rest, row, end)
    }

    /// Takes 点 after 十: 十点五.
    fn whole_point(&mut self, rest: &str, end: &mut usize) -> ParserStep {
        if self.pending.is_some() || self.last < 1.0 || self.zero {
            return ParserStep::End;
        }
        self.decimals(rest, 0.0, end)
    }

    fn decimals(&mut self, rest: &str, whole: f64, end: &mut usize) -> ParserStep {
        let (mut value, mut place, mut bytes) = (whole, 0.1, '点'.len_utf8());
        let mut count = 0;
        for c in rest.chars().skip(1).take(MAX_ROW) {
            let Some(digit) = numeral(c) else {
                if magnitude(c).is_some_and(|times| times < 11.0) {
                    return ParserStep::Unclear;
                }
                break;
            };
            value += digit * place;
            place /= 10.0;
            bytes += c.len_utf8();
            count += 1;
        }
        if count == 0 {
            return ParserStep::End;
        }
        self.pending = Some(Coefficient::Decimal(value));
        *end += bytes;
        ParserStep::Taken
    }

    /// Takes a magnitude.
    fn multiply(&mut self, times: f64) -> ParserStep {
        let ten = times < 11.0;
        let first = self.magnitudes == 0;
        let coefficient: Ends = match self.pending {
            Some(Coefficient::Digits(value, digits, decimals)) => {
                if !first && (digits > 1 && times < 1e4 || decimals) {
                    return ParserStep::Unclear;
                }
                [value; 2]
            }
            Some(Coefficient::Decimal(value)) if first || times >= 1e4 => [value; 2],
            Some(Coefficient::Decimal(_)) => return ParserStep::Unclear,
            Some(Coefficient::Row(digit, _, 1)) => [digit; 2],
            Some(Coefficient::Row(_, Some(pair), 2)) => pair,
            Some(Coefficient::Row(..)) => return ParserStep::Unclear,
            // 十 may stand without 一 before it; 百 and 千 may not.
            None if ten => [1.0; 2],
            None => [0.0; 2],
        };
        if times >= 1e4 {
            // 四百二万 is 四百二十万 to some and 四百零二万 to others.
            let after = self.last > 0.0 && self.last < 1e4;
            if after && self.pending.is_some() && self.last > 10.0 && !self.zero {
                return ParserStep::Unclear;
            }
            let section = [0, 1].map(|end| self.section[end] + coefficient[end]);
            let whole = [0, 1].map(|end| self.total[end] + section[end]);
            if whole[0] <= 0.0 {
                return if self.taken == 0 { ParserStep::End } else { ParserStep::Unclear };
            }
            if self.last_section > 0.0 && times >= self.last_section && times < 1e8 {
                return ParserStep::Unclear;
            }
            self.total = if times > 1e4 {
                whole.map(|value| value * times)
            } else {
                [0, 1].map(|end| self.total[end] + section[end] * times)
            };
            self.section = [0.0; 2];
            self.last_section = times;
        } else {
            if coefficient[0] <= 0.0 {
                return if self.taken == 0 { ParserStep::End } else { ParserStep::Unclear };
            }
            if self.last > 0.0 && self.last < 1e4 && times >= self.last {
                return ParserStep::Unclear;
            }
            self.section = [0, 1].map(|end| self.section[end] + coefficient[end] * times);
        }
        self.last = times;
        self.zero = false;
        self.pending = None;
        self.magnitudes += 1;
        ParserStep::Taken
    }

    /// The value of the coefficient at the end. `None` if it has no certain reading.
    fn rest(&self, next: Option<char>) -> Option<Ends> {
        let places = self.last > 10.0 && !self.zero;
        let scale = if places { self.last / 10.0 } else { 1.0 };
        Some(match self.pending {
            None => [0.0; 2],
            Some(Coefficient::Digits(value, ..)) if self.last <= 0.0 => [value; 2],
            // 4百8 is 480, and 4百80 too.
            Some(Coefficient::Digits(value, 1, false)) => [value * scale; 2],
            Some(Coefficient::Digits(_, 1, true)) if places => return None,
            Some(Coefficient::Digits(value, ..)) if value < self.last => [value; 2],
            Some(Coefficient::Digits(..)) => return None,
            Some(Coefficient::Decimal(_)) if places => return None,
            Some(Coefficient::Decimal(value)) => [value; 2],
            // 八五折 is 8.5 in ten, 四五块 is four to five.
            Some(Coefficient::Row(row, Some(_), 2)) if self.last <= 0.0 && next == Some('折') => {
                [row; 2]
            }
            Some(Coefficient::Row(_, Some(pair), 2)) => pair.map(|value| value * scale),
            Some(Coefficient::Row(row, _, 1)) => [row * scale; 2],
            Some(Coefficient::Row(row, ..)) => [row; 2],
        })
    }

    fn finish(self, text: NumberText<'_>, bytes: std::ops::Range<usize>) -> Reading {
        if self.taken == 0 || (self.pending.is_none() && self.last <= 0.0) {
            return Reading::Nothing;
        }
        let next = text.rest(bytes.end).chars().next();
        let Some(rest) = self.rest(next) else { return Reading::Unclear(bytes.end) };
        let [low, high] = [0, 1].map(|end| self.total[end] + self.section[end] + rest[end]);
        let one = self.magnitudes == 1 && self.pending.is_none() && !self.zero && low >= high;
        Reading::Number(ReadNumber {
            low: (low < high).then_some(low),
            bare: self.taken == 1
                && self.magnitudes == 0
                && !matches!(self.pending, Some(Coefficient::Digits(..)))
                || self.taken == 1 && self.magnitudes == 1,
            times: if one { self.last } else { 1.0 },
            ..ReadNumber::plain(high, bytes)
        })
    }
}
