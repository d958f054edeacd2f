//! Sharing of tokens between the sequences of a batch, which decides their order and the number of
//! computed tokens.
//!
//! The tokens that may be shared follow from what a token attends to:
//!
//! - In a **decoder**, a token's state depends on the tokens before it only, so sequences share
//!   their common prefixes: the prompt of several samples, the earlier messages of the turns of one
//!   dialogue, or a common system message. The nodes form a prefix tree. In a cache of blocks,
//!   whole blocks are shared.
//! - In an **encoder whose context does not attend to the reply**, such as the bundled one, a state
//!   depends on the whole context, so sequences share a whole context or nothing. Samples of one
//!   prompt share it.
//!
//! Nothing is approximated: each state is computed from the same numbers as for the sequence alone.

use std::cmp::Ordering;

use crate::encode::tokens::TokenSequence;

/// The tokens that the sequences of a packed graph share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// A decoder: common prefixes.
    Prefixes,
    /// A decoder over a cache in blocks of this many tokens: common prefixes, in whole blocks.
    Blocks(usize),
    /// An encoder whose context does not attend to the reply: equal contexts.
    Contexts,
}

impl Sharing {
    /// Compares two sequences for sorting. After sorting, the tokens that a sequence shares with
    /// any earlier sequence are shared with its predecessor.
    ///
    /// For decoders this is the order of the ids. For encoders, long contexts come first, as in a
    /// padded batch, since attention is padded; contexts are compared only if their lengths are
    /// equal.
    pub(crate) fn order(self, a: &TokenSequence, b: &TokenSequence) -> Ordering {
        match self {
            Self::Prefixes | Self::Blocks(_) => a.ids.cmp(&b.ids),
            Self::Contexts => (b.context().len().cmp(&a.context().len()))
                .then_with(|| a.context().cmp(b.context()))
                .then_with(|| b.len().cmp(&a.len())),
        }
    }

    /// The number of leading nodes that `tokens` shares with `before`, its predecessor in the
    /// sorted order.
    pub(crate) fn shared(self, before: &TokenSequence, tokens: &TokenSequence) -> usize {
        let common = || before.ids.iter().zip(&*tokens.ids).take_while(|(a, b)| a == b).count();
        match self {
            Self::Prefixes => common(),
            // The last token is never shared, since it is pooled.
            Self::Blocks(block) => common().min(tokens.len().saturating_sub(1)) / block * block,
            Self::Contexts if before.context() == tokens.context() => tokens.context().len(),
            Self::Contexts => 0,
        }
    }

    /// The number of cache entries that `tokens` tokens take, in whole blocks.
    pub(crate) const fn cache_entries(self, tokens: usize) -> usize {
        match self {
            Self::Blocks(block) => tokens.div_ceil(block) * block,
            _ => tokens,
        }
    }

    /// The number of nodes of a batch: the tokens that a packed graph computes.
    pub(crate) fn nodes(self, sequences: &[&TokenSequence]) -> usize {
        let mut sorted = sequences.to_vec();
        sorted.sort_unstable_by(|a, b| self.order(a, b));
        let all: usize = sorted.iter().map(|tokens| tokens.len()).sum();
        all - sorted.windows(2).map(|pair| self.shared(pair[0], pair[1])).sum::<usize>()
    }
}
