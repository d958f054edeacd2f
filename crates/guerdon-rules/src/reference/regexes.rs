//! The meaning of a pattern: what the `regex` crate finds in the folded text.
//!
//! Three things differ from the pattern as written. Its characters are folded as texts are, so that
//! `：` means a colon. It ignores case on folded text. `\b` is the boundary of a Latin word, because
//! Unicode has no boundary between `deal` and `吧`.

use std::ops::Range;

use regex::{Regex, RegexBuilder};
use regex_syntax::ast::{self, AssertionKind, Ast};

use crate::engine::pattern;

/// The greatest size of a regex, in bytes. The engine has smaller bounds.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The regex that `pattern` stands for, if it has a valid syntax. `fold` is set for a pattern that
/// runs on folded text.
pub(super) fn regex(pattern: &str, fold: bool) -> Option<Regex> {
    let folded = if fold { pattern::fold_pattern(pattern) } else { pattern.to_owned() };
    RegexBuilder::new(&with_latin_words(&folded)?)
        .case_insensitive(fold)
        .size_limit(MAX_BYTES)
        .dfa_size_limit(MAX_BYTES)
        .build()
        .ok()
}

/// The pattern with word boundaries of ASCII.
fn with_latin_words(pattern: &str) -> Option<String> {
    let tree = ast::parse::Parser::new().parse(pattern).ok()?;
    let places = ast::visit(&tree, WordBoundaries::default()).ok()?;
    let mut written = String::with_capacity(pattern.len());
    let mut from = 0;
    for place in places {
        written.push_str(pattern.get(from..place.start)?);
        written.push_str("(?-u:");
        written.push_str(pattern.get(place.clone())?);
        written.push(')');
        from = place.end;
    }
    written.push_str(pattern.get(from..)?);
    Some(written)
}

/// Collects the places of `\b`, `\B` and their kin.
#[derive(Default)]
struct WordBoundaries(Vec<Range<usize>>);

impl ast::Visitor for WordBoundaries {
    type Output = Vec<Range<usize>>;
    type Err = ();

    fn finish(mut self) -> Result<Self::Output, ()> {
        self.0.sort_by_key(|place| place.start);
        Ok(self.0)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), ()> {
        if let Ast::Assertion(assertion) = ast
            && !matches!(
                assertion.kind,
                AssertionKind::StartLine
                    | AssertionKind::EndLine
                    | AssertionKind::StartText
                    | AssertionKind::EndText
            )
        {
            self.0.push(assertion.span.start.offset..assertion.span.end.offset);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_those_of_latin_words_and_characters_are_folded() {
        let finds = |pattern: &str, fold: bool, text: &str| {
            regex(pattern, fold).unwrap().find_iter(text).map(|hit| hit.range()).collect::<Vec<_>>()
        };
        assert_eq!(finds(r"\bDeal\b", true, "我们deal吧 ideal"), vec![6..10]);
        assert_eq!(finds(r"\bDeal\b", false, "我们deal吧"), Vec::<Range<usize>>::new());
        assert_eq!(finds("思考：", true, "思考:"), vec![0..7]);
        assert_eq!(finds(r"a\B", true, "ab a"), vec![0..1]);
        assert_eq!(finds(r"\b{start}a", false, "b a"), vec![2..3]);
    }
}
