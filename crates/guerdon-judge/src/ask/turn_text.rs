//! The text of a judged turn, in which quotes are looked up.

use std::borrow::Cow;
use std::sync::OnceLock;

use crate::rubric::text::{folded, holds_evidence, without_marks};

/// The judged turn as the judge sees it, without the `> ` before each line. It is folded when the
/// first quote is checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct TurnText<'a> {
    shown: Cow<'a, str>,
    folded: OnceLock<String>,
}

impl<'a> TurnText<'a> {
    pub(crate) fn new(shown: impl Into<Cow<'a, str>>) -> Self {
        Self { shown: shown.into(), folded: OnceLock::new() }
    }

    /// The same text, for a question that outlives its case.
    pub(crate) fn to_owned_text(&self) -> TurnText<'static> {
        TurnText::new(self.shown.clone().into_owned())
    }

    /// True if `quote` is evidence from the turn. Both texts are folded first, so that differences
    /// that a reader does not see are ignored.
    pub(crate) fn contains_quote(&self, quote: &str) -> bool {
        // Folding makes a text at most eighteen times as long, and rarely much shorter.
        let plausible = quote.len() <= self.shown.len().saturating_mul(18).saturating_add(64);
        if !plausible {
            return false;
        }
        let turn = self.folded.get_or_init(|| folded(&self.shown));
        let quote = folded(quote);
        holds_evidence(turn, &quote)
            || (quote.contains("> ")
                && holds_evidence(&without_marks(turn), &without_marks(&quote)))
    }
}

impl std::ops::Deref for TurnText<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.shown
    }
}
