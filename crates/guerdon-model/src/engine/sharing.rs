//! What the sequences of a batch share, which decides their order and what is computed twice.
//!
//! What may be shared follows from what a token sees:
//!
//! - In a **decoder** a token's state depends on what stands before it and on nothing after it, so sequences share
//!   whatever they begin with alike: the samples of one prompt the prompt, the turns of one dialogue all that was said
//!   before, dialogues with one system message that. The nodes are a prefix tree. Where they lie in blocks of a cache, whole
//!   blocks are shared.
//! - In an **encoder whose context does not see the reply**, such as the bundled one, a state depends on all of the context,
//!   before and after, so sequences share their contexts whole or not at all: the samples of one prompt again.
//!
//! Nothing is approximated: each state is computed from the same numbers as it would be alone.

use std::cmp::Ordering;

use crate::encode::tokens::Tokens;

/// What the sequences of a packed graph share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// A decoder: whatever they begin with alike.
    Beginnings,
    /// A decoder over a cache in blocks of so many tokens: whatever they begin with alike, by whole blocks.
    Blocks(usize),
    /// An encoder whose context does not see the reply: a context that is the same from end to end.
    Contexts,
}

impl Sharing {
    /// An order in which each sequence shares with the one before it all that it shares with any before it.
    ///
    /// Beginnings: that of the ids. Contexts: long ones first, as in a padded batch, since attention is padded; and whole
    /// contexts are compared only where lengths are equal.
    pub(crate) fn order(self, a: &Tokens, b: &Tokens) -> Ordering {
        match self {
            Self::Beginnings | Self::Blocks(_) => a.ids.cmp(&b.ids),
            Self::Contexts => (b.context().len().cmp(&a.context().len()))
                .then_with(|| a.context().cmp(b.context()))
                .then_with(|| b.len().cmp(&a.len())),
        }
    }

    /// How many nodes `tokens` shares with the sequence `before` it in that order, from the start.
    pub(crate) fn shared(self, before: &Tokens, tokens: &Tokens) -> usize {
        let alike = || before.ids.iter().zip(&*tokens.ids).take_while(|(a, b)| a == b).count();
        match self {
            Self::Beginnings => alike(),
            // Its last token is its own: it is what is pooled.
            Self::Blocks(block) => alike().min(tokens.len().saturating_sub(1)) / block * block,
            Self::Contexts if before.context() == tokens.context() => tokens.context().len(),
            Self::Contexts => 0,
        }
    }

    /// The places of a cache that so many tokens take: whole blocks of it.
    pub(crate) const fn places(self, tokens: usize) -> usize {
        match self {
            Self::Blocks(block) => tokens.div_ceil(block) * block,
            _ => tokens,
        }
    }

    /// How many nodes a batch has: the tokens that a packed graph computes.
    pub(crate) fn nodes(self, sequences: &[&Tokens]) -> usize {
        let mut sorted = sequences.to_vec();
        sorted.sort_unstable_by(|a, b| self.order(a, b));
        let all: usize = sorted.iter().map(|tokens| tokens.len()).sum();
        all - sorted.windows(2).map(|pair| self.shared(pair[0], pair[1])).sum::<usize>()
    }
}
