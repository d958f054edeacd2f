//! An estimate of a pattern's size that is made before the pattern is compiled.

use regex_syntax::hir::{Hir, HirKind};

/// The least size of a state of a compiled pattern, in bytes.
const STATE_BYTES: usize = 16;

/// A lower bound of the size of `hir` when compiled, in bytes. Nested repetitions multiply, so that
/// a short pattern can stand for any number of states.
pub(super) fn least_bytes(hir: &Hir) -> usize {
    states(hir).saturating_mul(STATE_BYTES)
}

/// A lower bound of the number of states of a regex as it is written; `None` if it is none.
pub(crate) fn written_states(pattern: &str) -> Option<usize> {
    regex_syntax::parse(pattern).ok().map(|hir| states(&hir))
}

fn states(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty => 0,
        HirKind::Look(_) | HirKind::Class(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Capture(capture) => states(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().fold(0, |sum, part| sum.saturating_add(states(part)))
        }
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            states(&repetition.sub).saturating_mul(times as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_automata::nfa::thompson::NFA;

    use super::*;
    use crate::engine::pattern::parse;

    #[test]
    fn nested_repetitions_multiply() {
        let bytes = |pattern: &str| least_bytes(&parse(pattern, true).unwrap());
        assert_eq!(bytes("abc"), 3 * STATE_BYTES);
        assert_eq!(bytes("(?:a{10}b){10}"), 110 * STATE_BYTES);
        assert_eq!(bytes("(?:(?:(?:a{1000}){1000}){1000}){1000}"), 1_000_000_000_000 * STATE_BYTES);
    }

    proptest! {
        #[test]
        fn the_estimate_never_exceeds_the_size(
            pattern in "(?:[a-c工]|\\[a-z\\]|\\\\d|\\(\\?:ab\\|c\\)\\{2,9\\}|x\\{3\\}|\\.\\*){1,12}",
        ) {
            if let Ok(hir) = parse(&pattern, true)
                && let Ok(nfa) = NFA::compiler().build_from_hir(&hir)
            {
                prop_assert!(least_bytes(&hir) <= nfa.memory_usage(), "{}", pattern);
            }
        }
    }
}
