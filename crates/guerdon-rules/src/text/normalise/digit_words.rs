//! Long numbers spelt digit by digit: `one three eight double zero …`, `幺三八零零…`. The reading
//! without disguise has their digits, so that patterns of phones and cards find them.
//!
//! A price, a year or a room is never that long, and larger numbers have words such as `hundred` or
//! 百 in them.

use std::ops::Range;

use super::spelling::{SpelledChar, is_punctuation};
use crate::text::steps;

/// The least number of digits of a number that is read.
const MIN_DIGITS: usize = 7;

/// The greatest number of marks and spaces between two digits.
const MAX_GAP: usize = 2;

/// English words of a digit, and words that repeat the digit behind them, with its count.
const WORDS: [(&str, char); 11] = [
    ("zero", '0'),
    ("oh", '0'),
    ("one", '1'),
    ("two", '2'),
    ("three", '3'),
    ("four", '4'),
    ("five", '5'),
    ("six", '6'),
    ("seven", '7'),
    ("eight", '8'),
    ("nine", '9'),
];

/// The longest word of a digit, in letters.
const MAX_WORD: usize = 6;

/// A word of a number that is spelt digit by digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DigitWord {
    /// Its characters, by their index, with the gap before it.
    pub(super) pieces: Range<usize>,
    pub(super) digit: char,
    /// The number of times that the digit stands: 2 after `double`.
    pub(super) count: usize,
}

/// A word of a digit, or one that repeats the next digit.
enum Word {
    Digit(char),
    Repeat(usize),
}

/// Returns true if a folded text may have a number that is spelt digit by digit.
pub(super) fn may_occur(text: &str) -> bool {
    let bytes = text.as_bytes();
    // The digits in a row so far, and the bytes of marks behind them.
    let (mut digits, mut gap, mut at) = (0, 0, 0);
    while let Some(byte) = bytes.get(at) {
        let (found, length) = if byte.is_ascii_alphanumeric() {
            let length = bytes.iter().skip(at).take_while(|b| b.is_ascii_alphanumeric()).count();
            let word = text.get(at..at + length).filter(|word| word.len() <= MAX_WORD);
            (word.and_then(latin), length)
        } else if byte.is_ascii() {
            gap += 1;
            at += 1;
            continue;
        } else {
            let c = text.get(at..).and_then(|rest| rest.chars().next()).unwrap_or_default();
            if is_gap(c) {
                gap += 1;
                at += c.len_utf8();
                continue;
            }
            (ideograph(c).map(Word::Digit), c.len_utf8())
        };
        if gap > MAX_GAP {
            digits = 0;
        }
        match found {
            Some(Word::Digit(_)) => digits += 1,
            Some(Word::Repeat(count)) => digits += count - 1,
            None => digits = 0,
        }
        if digits >= MIN_DIGITS {
            return true;
        }
        gap = 0;
        at += length;
    }
    false
}

/// Finds the words of all numbers that are spelt digit by digit, ascending.
pub(super) fn find(pieces: &[SpelledChar], words: &mut Vec<DigitWord>) {
    words.clear();
    let mut run: Vec<DigitWord> = Vec::new();
    let (mut at, mut repeat) = (0, None);
    // The end of the last word of the run.
    let mut end = 0;
    while at < pieces.len() {
        steps::add(1);
        let Some((word, length)) = word_at(pieces, at) else {
            let is_gap = pieces.get(at).is_some_and(|piece| is_gap(piece.c));
            if !is_gap || at - end >= MAX_GAP {
                flush(&mut run, words);
                repeat = None;
            }
            at += if is_gap { 1 } else { token(pieces, at) };
            continue;
        };
        let start = if run.is_empty() && repeat.is_none() { at } else { end };
        match word {
            Word::Digit(digit) => {
                let (from, count) = repeat.take().unwrap_or((start, 1));
                run.push(DigitWord { pieces: from..at + length, digit, count });
            }
            Word::Repeat(count) => repeat = Some((start, count)),
        }
        at += length;
        end = at;
    }
    flush(&mut run, words);
}

/// Keeps the words of a number that is long enough.
fn flush(run: &mut Vec<DigitWord>, words: &mut Vec<DigitWord>) {
    if run.iter().map(|word| word.count).sum::<usize>() >= MIN_DIGITS {
        words.append(run);
    }
    run.clear();
}

/// The word of a digit at `at`, and its length.
fn word_at(pieces: &[SpelledChar], at: usize) -> Option<(Word, usize)> {
    let c = pieces.get(at)?.c;
    if !c.is_ascii_alphabetic() {
        return Some((Word::Digit(ideograph(c)?), 1));
    }
    let length = token(pieces, at);
    let before = at.checked_sub(1).and_then(|at| pieces.get(at));
    if length > MAX_WORD || before.is_some_and(|piece| piece.c.is_ascii_alphanumeric()) {
        return None;
    }
    let word: String = pieces.get(at..at + length)?.iter().map(|piece| piece.c).collect();
    Some((latin(&word)?, length))
}

/// The number of letters and digits of the word at `at`; 1 for other characters.
fn token(pieces: &[SpelledChar], at: usize) -> usize {
    let rest = pieces.iter().skip(at);
    rest.take_while(|piece| piece.c.is_ascii_alphanumeric()).count().max(1)
}

fn latin(word: &str) -> Option<Word> {
    match word {
        "double" => Some(Word::Repeat(2)),
        "triple" => Some(Word::Repeat(3)),
        _ => WORDS.iter().find(|(name, _)| *name == word).map(|(_, digit)| Word::Digit(*digit)),
    }
}

const fn ideograph(c: char) -> Option<char> {
    Some(match c {
        '零' | '〇' | '洞' => '0',
        '一' | '幺' | '壹' => '1',
        '二' | '两' | '贰' => '2',
        '三' | '叁' => '3',
        '四' | '肆' => '4',
        '五' | '伍' => '5',
        '六' | '陆' => '6',
        '七' | '柒' | '拐' => '7',
        '八' | '捌' => '8',
        '九' | '玖' | '勾' => '9',
        _ => return None,
    })
}

/// Returns true for marks and spaces between the digits of a number.
fn is_gap(c: char) -> bool {
    matches!(c, ' ' | '\n' | '-' | '.' | '·' | '/' | '_' | '~' | '*') || is_punctuation(c)
}

#[cfg(test)]
mod tests {
    use crate::text::normalise::{DisguiseReadings, FoldedText};

    fn unmasked(text: &str) -> Option<String> {
        let mut view = FoldedText::default();
        view.read_folded(text);
        let mut readings = DisguiseReadings::default();
        readings.read(view.text());
        view.suspicious.then(|| readings.unmasked.text().to_owned())
    }

    #[test]
    fn long_numbers_in_words_are_read_digit_by_digit() {
        for text in [
            "call one three eight zero zero one three eight zero zero zero now",
            "call one three eight double zero one three eight triple zero now",
            "call One-Three-Eight, oh oh one three, eight zero zero zero now",
            "call 幺三八零零幺三八零零零 now",
            "call 一三八 零零一三 八零零零 now",
            "call 一三八，零零一三，八零零零 now",
            "call 壹叁捌零零壹叁捌零零零 now",
        ] {
            assert_eq!(unmasked(text).as_deref(), Some("call 13800138000 now"), "{text}");
        }
    }

    #[test]
    fn prices_years_and_lists_are_not_numbers_in_words() {
        for text in [
            "二零二五年一月一日",
            "四百八十元，三百五十元，一千二百元",
            "one room for two guests, three nights",
            "one, two and three; four or five, six by seven, eight",
            "第一，第二，第三，第四，第五，第六，第七，第八",
        ] {
            let found = unmasked(text).unwrap_or_default();
            assert!(!found.contains(|c: char| c.is_ascii_digit()), "{text}: {found}");
        }
    }
}
