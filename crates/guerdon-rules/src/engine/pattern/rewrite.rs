//! Rewrites a pattern for the engine: folds it as texts are folded, makes word boundaries separate
//! Latin words from Chinese text, and removes unused groups.

use regex_syntax::hir::{
    Capture, Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look, Repetition,
};
use regex_syntax::hir::{ClassBytes, ClassBytesRange};

use crate::text::normalise;

/// Folds the non-ASCII characters of a regex as texts are folded, so that `：` in a pattern finds a
/// colon.
///
/// Replaces a character only if it folds to one other character, and escapes the result if it is an
/// operator. Keeps the ends of ranges in brackets, because folding one would move the range.
pub(crate) fn fold_pattern(pattern: &str) -> String {
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::with_capacity(pattern.len());
    for (at, c) in chars.iter().copied().enumerate() {
        let ranged = |step: usize| chars.get(step) == Some(&'-');
        let in_range = ranged(at + 1) || at.checked_sub(1).is_some_and(ranged);
        match (!c.is_ascii() && !in_range).then(|| single(c)).flatten() {
            Some(f) if f != c => {
                if f.is_ascii_punctuation() {
                    out.push('\\');
                }
                out.push(f);
            }
            _ => out.push(c),
        }
    }
    out
}

fn single(c: char) -> Option<char> {
    let folded = normalise::fold(c.encode_utf8(&mut [0; 4]));
    let mut chars = folded.chars();
    chars.next().filter(|_| chars.next().is_none())
}

/// Returns the rewritten pattern.
pub(super) fn rewrite(hir: &Hir, fold: bool) -> Hir {
    match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0.clone()),
        HirKind::Class(class) => Hir::class(if fold { possible(class) } else { class.clone() }),
        HirKind::Look(look) => Hir::look(ascii_word(*look)),
        HirKind::Repetition(repetition) => Hir::repetition(Repetition {
            min: repetition.min,
            max: repetition.max,
            greedy: repetition.greedy,
            sub: Box::new(rewrite(&repetition.sub, fold)),
        }),
        HirKind::Capture(capture) if capture.name.as_deref() == Some("value") => {
            Hir::capture(Capture {
                index: 1,
                name: capture.name.clone(),
                sub: Box::new(rewrite(&capture.sub, fold)),
            })
        }
        HirKind::Capture(capture) => rewrite(&capture.sub, fold),
        HirKind::Concat(parts) => {
            Hir::concat(parts.iter().map(|part| rewrite(part, fold)).collect())
        }
        HirKind::Alternation(parts) => {
            Hir::alternation(parts.iter().map(|part| rewrite(part, fold)).collect())
        }
    }
}

/// Maps `\b` to the ASCII word boundary. Unicode has no boundary between `deal` and `吧`, and a DFA
/// does not support it.
const fn ascii_word(look: Look) -> Look {
    match look {
        Look::WordUnicode => Look::WordAscii,
        Look::WordUnicodeNegate => Look::WordAsciiNegate,
        Look::WordStartUnicode => Look::WordStartAscii,
        Look::WordEndUnicode => Look::WordEndAscii,
        Look::WordStartHalfUnicode => Look::WordStartHalfAscii,
        Look::WordEndHalfUnicode => Look::WordEndHalfAscii,
        other => other,
    }
}

/// Removes the characters of a class that no folded text contains: `(?i)d` becomes the literal `d`,
/// and `\d` has ten members.
fn possible(class: &Class) -> Class {
    match class {
        Class::Unicode(class) => {
            let mut kept = class.clone();
            kept.difference(&impossible());
            Class::Unicode(kept)
        }
        Class::Bytes(class) => {
            let mut kept = class.clone();
            kept.difference(&ClassBytes::new([ClassBytesRange::new(b'A', b'Z')]));
            Class::Bytes(kept)
        }
    }
}

fn impossible() -> ClassUnicode {
    let range = |start, end| ClassUnicodeRange::new(start, end);
    let zeros = [
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50,
        0xed0, 0xf20, 0x1040, 0x17e0, 0x1810, 0xa620, 0xa8d0,
    ];
    let digits = zeros
        .into_iter()
        .filter_map(|zero| Some(range(char::from_u32(zero)?, char::from_u32(zero + 9)?)));
    let others = [
        range('A', 'Z'),
        range('\t', '\t'),
        range('\u{b}', '\r'),
        range('\u{85}', '\u{85}'),
        range('\u{a0}', '\u{a0}'),
        range('\u{17f}', '\u{17f}'),
        range('\u{1680}', '\u{1680}'),
        range('\u{2000}', '\u{200f}'),
        range('\u{2028}', '\u{202f}'),
        range('\u{205f}', '\u{206f}'),
        range('\u{212a}', '\u{212b}'),
        range('\u{3000}', '\u{3000}'),
        range('\u{ff01}', '\u{ff5e}'),
    ];
    ClassUnicode::new(others.into_iter().chain(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_width_operator_in_a_pattern_stays_a_character() {
        assert_eq!(fold_pattern("思考[：（]."), r"思考[\:\(].");
        assert_eq!(fold_pattern("目標[一-龥]"), "目标[一-龥]");
    }

    #[test]
    fn removed_characters_do_not_occur_in_folded_text() {
        let class = impossible();
        for range in class.ranges() {
            for c in range.start()..=range.end() {
                let folded = normalise::fold(&c.to_string());
                assert!(!folded.contains(c), "{:x} folds to {folded:?}", u32::from(c));
            }
        }
        for c in '\0'..=char::MAX {
            for f in normalise::fold(c.encode_utf8(&mut [0; 4])).chars() {
                let within = class.ranges().iter().any(|r| r.start() <= f && f <= r.end());
                assert!(!within, "{:x} folds to {:x}", u32::from(c), u32::from(f));
            }
        }
    }
}
