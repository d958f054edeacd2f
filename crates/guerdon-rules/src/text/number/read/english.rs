//! English number words and magnitudes: `four hundred eighty`, `2 million`, `half a million`.

use super::figures::{self, Figure};
use crate::text::number::reading::{BuiltIn, NumberText, ReadNumber, Reading};
use crate::text::steps;

/// The greatest number of words of one number.
const MAX_WORDS: usize = 24;
/// The longest number word, in bytes.
const LONGEST: usize = 9;

/// A word of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
enum NumberWord {
    /// 0 to 19.
    Small(f64),
    /// 20 to 90.
    Tens(f64),
    Hundred,
    /// A thousand and more.
    Scale(f64),
    And,
    /// `a` and `an`, which are one before a magnitude.
    Article,
    Half,
    Point,
    /// Digits, as in `2 thousand 500`.
    Digits(f64),
}

fn word(text: &str) -> Option<NumberWord> {
    use NumberWord::{And, Article, Half, Hundred, Point, Scale, Small, Tens};
    Some(match text {
        "zero" => Small(0.0),
        "one" => Small(1.0),
        "two" => Small(2.0),
        "three" => Small(3.0),
        "four" => Small(4.0),
        "five" => Small(5.0),
        "six" => Small(6.0),
        "seven" => Small(7.0),
        "eight" => Small(8.0),
        "nine" => Small(9.0),
        "ten" => Small(10.0),
        "eleven" => Small(11.0),
        "twelve" => Small(12.0),
        "thirteen" => Small(13.0),
        "fourteen" => Small(14.0),
        "fifteen" => Small(15.0),
        "sixteen" => Small(16.0),
        "seventeen" => Small(17.0),
        "eighteen" => Small(18.0),
        "nineteen" => Small(19.0),
        "twenty" => Tens(20.0),
        "thirty" => Tens(30.0),
        "forty" | "fourty" => Tens(40.0),
        "fifty" => Tens(50.0),
        "sixty" => Tens(60.0),
        "seventy" => Tens(70.0),
        "eighty" => Tens(80.0),
        "ninety" => Tens(90.0),
        "hundred" => Hundred,
        "thousand" => Scale(1e3),
        "million" => Scale(1e6),
        "billion" => Scale(1e9),
        "and" => And,
        "a" | "an" => Article,
        "half" => Half,
        "point" => Point,
        _ => return None,
    })
}

/// The Latin word at `at`, if it is short.
fn latin(text: NumberText<'_>, at: usize) -> &str {
    let bytes = text.text.as_bytes().iter().skip(at).take(LONGEST + 1);
    let length = bytes.inspect(|_| steps::add(1)).take_while(|b| b.is_ascii_lowercase()).count();
    text.text.get(at..at + length).unwrap_or_default()
}

fn opens_word(text: NumberText<'_>, at: usize) -> bool {
    !at.checked_sub(1)
        .and_then(|before| text.byte(before))
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'\'' | b'_'))
}

/// Calls `each` with every byte of `text` at which an English number may begin.
pub(crate) fn starts(text: &str, mut each: impl FnMut(usize)) {
    let bytes = text.as_bytes();
    let mut inside = false;
    for (at, byte) in bytes.iter().enumerate() {
        let is_word = byte.is_ascii_alphanumeric();
        let opens = matches!(byte, b'a' | b'e' | b'f' | b'h' | b'n' | b'o' | b's' | b't' | b'z');
        if is_word && !inside && opens {
            each(at);
        }
        inside = is_word;
    }
}

/// The words of a number, read one by one.
#[derive(Debug, Default)]
struct EnglishParser {
    total: f64,
    current: f64,
    last: Option<NumberWord>,
    /// The last magnitude above a hundred; later ones must be smaller.
    scale: Option<f64>,
    words: usize,
    end: usize,
    /// The magnitude of a number that is one coefficient and one magnitude; else 1.
    times: f64,
}

/// Reads the number that begins with the word at `at`.
pub(super) fn read(text: NumberText<'_>, at: usize) -> Reading {
    if !opens_word(text, at) {
        return Reading::Nothing;
    }
    let first = latin(text, at);
    let rest = text.rest(at);
    match word(first) {
        Some(NumberWord::Half) => return half(rest, at),
        Some(NumberWord::Small(_) | NumberWord::Tens(_)) => {}
        Some(NumberWord::Article)
            if ["a hundred", "a thousand", "a million", "a billion"]
                .iter()
                .any(|start| rest.starts_with(start)) => {}
        _ => return Reading::Nothing,
    }
    parse(text, at, at, EnglishParser { times: 1.0, ..EnglishParser::default() })
}

/// Reads `2 million` and `4 hundred 80`. Returns `None` if no magnitude follows the digits.
pub(super) fn after_figure(text: NumberText<'_>, figure: &Figure) -> Option<Reading> {
    let end = figure.bytes.end;
    let gap = match text.byte(end)? {
        b' ' | b'-' => 1,
        byte if byte.is_ascii_lowercase() => 0,
        _ => return None,
    };
    let next = word(latin(text, end + gap))?;
    if !matches!(next, NumberWord::Hundred | NumberWord::Scale(_)) {
        return None;
    }
    let parser = EnglishParser {
        current: figure.value,
        last: Some(NumberWord::Digits(figure.value)),
        words: 1,
        end,
        times: 1.0,
        ..EnglishParser::default()
    };
    Some(parse(text, figure.bytes.start, end, parser))
}

/// Reads `half a million`, `half price` and `half off`.
fn half(rest: &str, at: usize) -> Reading {
    let scales = [("half a million", 5e5), ("half a thousand", 500.0), ("half a billion", 5e8)];
    if let Some((words, value)) = scales.into_iter().find(|(words, _)| rest.starts_with(words)) {
        return Reading::Number(ReadNumber::plain(value, at..at + words.len()));
    }
    let shares = ["half price", "half-price", "half the price", "half off"];
    match shares.iter().find(|words| rest.starts_with(**words)) {
        Some(words) => Reading::Number(ReadNumber {
            bare: true,
            built_in: Some(BuiltIn::HalfPrice),
            ..ReadNumber::plain(50.0, at..at + words.len())
        }),
        None => Reading::Nothing,
    }
}

/// The next word of a number and the byte at which it begins.
fn next_word(text: NumberText<'_>, at: usize, first: bool) -> Option<(NumberWord, usize, usize)> {
    let gap = match text.byte(at) {
        Some(b' ' | b'-') if !first => 1,
        Some(byte) if byte.is_ascii_lowercase() => 0,
        _ => return None,
    };
    let start = at + gap;
    if text.is_digit(start) && text.byte(at) == Some(b' ') {
        let figure = figures::plain(text, start)?;
        return Some((NumberWord::Digits(figure.value), start, figure.bytes.end));
    }
    let found = latin(text, start);
    let end = start + found.len();
    let cut = text.byte(end).is_some_and(|byte| byte.is_ascii_alphanumeric());
    word(found).filter(|_| !cut).map(|word| (word, start, end))
}

fn parse(text: NumberText<'_>, start: usize, mut at: usize, mut parser: EnglishParser) -> Reading {
    let leading = parser.words;
    while parser.words < leading + MAX_WORDS {
        let Some((word, _, end)) = next_word(text, at, at == start) else { break };
        match word {
            NumberWord::And => match parser.and(text, end) {
                Some(end) => at = end,
                None => break,
            },
            NumberWord::Point => match parser.point(text, end) {
                Some(end) => at = end,
                None => break,
            },
            NumberWord::Half => break,
            word => {
                if !parser.continues(word) {
                    return if parser.ends_before(word) {
                        break;
                    } else {
                        Reading::Unclear(skipped(text, end))
                    };
                }
                parser.take(word);
                at = end;
            }
        }
        parser.words += 1;
        parser.end = at;
    }
    parser.finish(start)
}

/// The end of the number words from `at` on, which have no certain reading.
fn skipped(text: NumberText<'_>, mut at: usize) -> usize {
    for _ in 0..MAX_WORDS {
        match next_word(text, at, false) {
            Some((NumberWord::Article | NumberWord::And | NumberWord::Half, ..)) | None => break,
            Some((_, _, end)) => at = end,
        }
    }
    at
}

impl EnglishParser {
    /// Returns true if `word` continues the number.
    fn continues(&self, word: NumberWord) -> bool {
        use NumberWord::{And, Article, Digits, Half, Hundred, Point, Scale, Small, Tens};
        let placed = matches!(self.last, None | Some(Hundred | Scale(_) | And));
        match word {
            Small(value) => {
                placed || (matches!(self.last, Some(Tens(_))) && (1.0..10.0).contains(&value))
            }
            Tens(_) => placed,
            Hundred => {
                let counted = matches!(self.last, Some(Small(_) | Tens(_) | Article | Digits(_)));
                counted && self.current > 0.0 && self.current < 100.0
            }
            Scale(scale) => {
                self.last.is_some_and(|last| !matches!(last, Scale(_) | And))
                    && self.current > 0.0
                    && self.scale.is_none_or(|before| scale < before)
            }
            Article => self.last.is_none(),
            Digits(value) => {
                let below = match self.last {
                    Some(Hundred) => 100.0,
                    Some(Scale(scale)) => scale,
                    _ => return false,
                };
                value < below && value.fract().abs() < f64::EPSILON
            }
            And | Half | Point => false,
        }
    }

    /// Returns true if `word` begins something else, so that the number ends before it.
    const fn ends_before(&self, word: NumberWord) -> bool {
        matches!(word, NumberWord::Article | NumberWord::Digits(_))
    }

    fn take(&mut self, word: NumberWord) {
        let coefficient = self.total + self.current;
        self.times = 1.0;
        match word {
            NumberWord::Small(value) | NumberWord::Tens(value) | NumberWord::Digits(value) => {
                self.current += value;
            }
            NumberWord::Article => self.current = 1.0,
            NumberWord::Hundred => {
                if self.scale.is_none() {
                    self.times = 100.0;
                }
                self.current *= 100.0;
            }
            NumberWord::Scale(scale) => {
                if self.scale.is_none() {
                    self.times = scale;
                }
                self.total += self.current * scale;
                self.current = 0.0;
                self.scale = Some(scale);
            }
            NumberWord::And | NumberWord::Half | NumberWord::Point => {}
        }
        let one = (coefficient * self.times - self.total - self.current).abs() < 1e-6;
        self.times = if one { self.times } else { 1.0 };
        self.last = Some(word);
    }

    /// Takes `and` if more of the number follows: `four hundred and eighty`, `one and a half`.
    fn and(&mut self, text: NumberText<'_>, end: usize) -> Option<usize> {
        const HALF: &str = " a half";
        let last = self.last?;
        if text.rest(end).starts_with(HALF) {
            let unit = match last {
                NumberWord::Scale(scale) => scale,
                NumberWord::Hundred => return None,
                _ => 1.0,
            };
            self.current += unit / 2.0;
            self.last = Some(NumberWord::Small(0.5));
            self.times = 1.0;
            return Some(end + HALF.len());
        }
        let follows = matches!(
            next_word(text, end, false),
            Some((NumberWord::Small(_) | NumberWord::Tens(_), ..))
        );
        let placed = matches!(last, NumberWord::Hundred | NumberWord::Scale(_));
        (follows && placed).then(|| {
            self.last = Some(NumberWord::And);
            end
        })
    }

    /// Takes `point` and the digits after it.
    fn point(&mut self, text: NumberText<'_>, end: usize) -> Option<usize> {
        self.last?;
        let (mut at, mut place) = (end, 0.1);
        while let Some((NumberWord::Small(value), _, end)) = next_word(text, at, false)
            && value < 10.0
            && place > 1e-9
        {
            self.current += value * place;
            place /= 10.0;
            at = end;
        }
        (at > end).then(|| {
            self.last = Some(NumberWord::Small(0.5));
            self.times = 1.0;
            at
        })
    }

    fn finish(self, start: usize) -> Reading {
        let bare = matches!(self.last, Some(NumberWord::Small(_) | NumberWord::Tens(_)))
            && self.words == 1;
        if self.last.is_none() || self.last == Some(NumberWord::Article) {
            return Reading::Nothing;
        }
        let number = ReadNumber::plain(self.total + self.current, start..self.end);
        Reading::Number(ReadNumber { bare, times: self.times, ..number })
    }
}
