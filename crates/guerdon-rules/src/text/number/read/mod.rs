//! Reading of one number at a place of a folded text.
//!
//! | File | Contents |
//! |---|---|
//! | `figures.rs` | Digits with grouping, decimals and fractions |
//! | `chinese.rs` | Chinese numerals, also mixed with digits: `4百80`, `一千二三百` |
//! | `english.rs` | English number words and magnitudes |
//! | `tails.rs` | Text after a number that belongs to it: `多`, `块5毛` |
//! | `sign.rs` | Signs before a number |
//!
//! A number that can be read in more than one way is no number: [`Reading::Unclear`].

mod chinese;
mod english;
mod figures;
mod sign;
mod tails;

pub(super) use english::starts as english_starts;

use figures::FigureReading;

use super::reading::{NumberText, Reading};

/// Reads the number that begins at byte `at`. `last` is the end of the number before it.
pub(super) fn number(text: NumberText<'_>, at: usize, last: usize) -> Reading {
    let Some(first) = text.rest(at).chars().next() else { return Reading::Nothing };
    let read = match first {
        '0'..='9' => match figures::read(text, at) {
            FigureReading::Done(read) => read,
            FigureReading::Figure(figure) => english::after_figure(text, &figure)
                .unwrap_or_else(|| chinese::after_figure(text, &figure)),
        },
        'a'..='z' => english::read(text, at),
        _ if figures::vulgar(first).is_some() => figures::read_vulgar(at, first),
        _ => chinese::read(text, at),
    };
    match read {
        Reading::Number(mut number) => {
            tails::extend(text, &mut number, last);
            sign::apply(text, &mut number, last);
            // 三分之一 is no price.
            if text.rest(number.bytes.end).starts_with("分之") {
                return Reading::Unclear(chinese::beyond_fraction(text, number.bytes.end));
            }
            if number.value.is_finite() { Reading::Number(number) } else { Reading::Nothing }
        }
        other => other,
    }
}
