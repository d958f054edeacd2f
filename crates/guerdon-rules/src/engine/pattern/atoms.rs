//! Extracts the literals that every match of a pattern contains, and their distance from the start
//! of the match.

use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::text::literals::LiteralHits;

/// The greatest distance of a literal from the start of the match, in bytes. Beyond it the whole
/// text is searched.
pub(super) const MAX_BEFORE: usize = 24;
/// The greatest number of literals. More do not select well.
const MAX_ATOMS: usize = 48;

/// One of several literals. Every match contains at least one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequiredLiteral {
    /// The text; `None` is any ASCII digit.
    pub(super) literal: Option<String>,
    /// The least and the greatest number of bytes of the match before it.
    pub(super) before: [Option<usize>; 2],
}

/// Literals at one distance, as a leaf of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needle {
    pub(crate) leaf: u32,
    /// The least and the greatest number of bytes between the start of a match and the hit.
    pub(super) before: [usize; 2],
}

impl Needle {
    /// Adds each byte at which a match may begin.
    pub(super) fn starts(&self, text: &str, found: &LiteralHits, starts: &mut Vec<usize>) {
        let [least, most] = self.before;
        for hit in found.of(self.leaf) {
            if most == 0 {
                starts.push(hit.start);
                continue;
            }
            let Some(latest) = hit.start.checked_sub(least) else { continue };
            let earliest = hit.start.saturating_sub(most);
            starts.extend((earliest..=latest).filter(|at| text.is_char_boundary(*at)));
        }
    }
}

/// A set of literals, one of which is in every match of `hir`, or `None` if no set is selective.
pub(super) fn atoms(hir: &Hir) -> Option<Vec<RequiredLiteral>> {
    best([prefixes(hir), inner(hir)])
}

/// Chooses the best set: longer literals, fewer of them, and a bound on the start of the match.
fn best(
    sets: impl IntoIterator<Item = Option<Vec<RequiredLiteral>>>,
) -> Option<Vec<RequiredLiteral>> {
    sets.into_iter()
        .flatten()
        .filter(|atoms| !atoms.is_empty() && atoms.len() <= MAX_ATOMS)
        .max_by_key(|atoms| worth(atoms))
}

fn worth(atoms: &[RequiredLiteral]) -> (bool, usize, bool, std::cmp::Reverse<usize>) {
    let near = atoms.iter().all(|atom| atom.before[1].is_some_and(|most| most <= MAX_BEFORE));
    let length =
        atoms.iter().map(|atom| atom.literal.as_ref().map_or(1, String::len)).min().unwrap_or(0);
    let at_start = atoms.iter().all(|atom| atom.before[1] == Some(0));
    (near, length.min(6), at_start, std::cmp::Reverse(atoms.len()))
}

/// The literals, or any digit, with which every match begins.
fn prefixes(hir: &Hir) -> Option<Vec<RequiredLiteral>> {
    let at_start = |literal| RequiredLiteral { literal, before: [Some(0), Some(0)] };
    let digit = begins_with_digit(hir).then(|| vec![at_start(None)]);
    literal_prefixes(hir)
        .map(|literals| literals.into_iter().map(|text| at_start(Some(text))).collect())
        .or(digit)
}

fn literal_prefixes(hir: &Hir) -> Option<Vec<String>> {
    let mut extractor = Extractor::new();
    extractor
        .kind(ExtractKind::Prefix)
        .limit_class(8)
        .limit_repeat(4)
        .limit_literal_len(32)
        .limit_total(MAX_ATOMS);
    let literals = extractor.extract(hir);
    let mut texts = Vec::new();
    for literal in literals.literals()? {
        let text = whole_characters(literal.as_bytes())?;
        if !is_telling(text) {
            return None;
        }
        texts.push(text.to_owned());
    }
    texts.sort();
    texts.dedup();
    Some(texts)
}

/// The literals inside the parts of a pattern.
fn inner(hir: &Hir) -> Option<Vec<RequiredLiteral>> {
    match hir.kind() {
        HirKind::Concat(parts) => {
            let (mut least, mut most) = (Some(0_usize), Some(0_usize));
            let mut sets = Vec::new();
            for (index, part) in parts.iter().enumerate() {
                let rest = Hir::concat(parts.get(index..).unwrap_or_default().to_vec());
                // Take the rest from here on as one literal where the parts are adjacent, or a
                // literal inside this part.
                let found =
                    if index == 0 { inner(part) } else { best([prefixes(&rest), inner(part)]) };
                sets.push(found.map(|atoms| shifted(atoms, [least, most])));
                let properties = part.properties();
                least =
                    least.zip(properties.minimum_len()).map(|(sum, more)| sum.saturating_add(more));
                most =
                    most.zip(properties.maximum_len()).map(|(sum, more)| sum.saturating_add(more));
            }
            best(sets)
        }
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(atoms(part)?);
            }
            Some(all)
        }
        HirKind::Capture(capture) => atoms(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => atoms(&repetition.sub),
        _ => None,
    }
}

fn shifted(atoms: Vec<RequiredLiteral>, by: [Option<usize>; 2]) -> Vec<RequiredLiteral> {
    let sum = |one: Option<usize>, two: Option<usize>| {
        one.zip(two).map(|(one, two)| one.saturating_add(two))
    };
    atoms
        .into_iter()
        .map(|atom| RequiredLiteral {
            before: [sum(atom.before[0], by[0]), sum(atom.before[1], by[1])],
            ..atom
        })
        .collect()
}

/// The whole characters of a literal that may begin or end inside a character.
fn whole_characters(bytes: &[u8]) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok(),
    }
}

/// Returns true if a literal is rare enough: two ASCII characters, or one that is not a letter,
/// digit, space or common punctuation.
fn is_telling(text: &str) -> bool {
    match text.as_bytes() {
        [] => false,
        [one] => matches!(
            one,
            b'<' | b'>'
                | b'@'
                | b'#'
                | b'$'
                | b'%'
                | b'^'
                | b'&'
                | b'*'
                | b'{'
                | b'}'
                | b'|'
                | b'`'
                | b'~'
                | b'\\'
                | b'='
        ),
        [a, b] => !(a.is_ascii_whitespace() && b.is_ascii_whitespace()),
        _ => true,
    }
}

fn begins_with_digit(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => {
            !class.ranges().is_empty()
                && class.ranges().iter().all(|r| r.start() >= '0' && r.end() <= '9')
        }
        HirKind::Literal(literal) => {
            literal.0.len() == 1 && literal.0.iter().all(u8::is_ascii_digit)
        }
        HirKind::Capture(capture) => begins_with_digit(&capture.sub),
        HirKind::Repetition(repetition) => repetition.min > 0 && begins_with_digit(&repetition.sub),
        HirKind::Alternation(parts) => parts.iter().all(begins_with_digit),
        HirKind::Concat(parts) => {
            let first = parts.iter().find(|part| !matches!(part.kind(), HirKind::Look(_)));
            first.is_some_and(begins_with_digit)
        }
        _ => false,
    }
}
