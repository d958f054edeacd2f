//! The replies of a group in one question: each in a block of its own with a neutral name, in a
//! shuffled order.
//!
//! Judges favour places of a list, each model in its own way (Wang et al., "Large Language Models
//! are not Fair Evaluators", 2023). The order is drawn from the set of replies and the number of
//! the call, so that the same question always has the same order. Each second call has the order of
//! the call before it reversed: a pair of calls then has every reply at places with the same mean.
//!
//! The names of the blocks are keyed, as that of a [single block](crate::ask::nonce). They are the
//! keys of the answer, so an answer that only repeats words of a reply is none.

mod answer;
mod schema;

use std::collections::BTreeSet;

use guerdon_text::hex;

use crate::ask::digest::{Digest, PartsHasher};
use crate::ask::nonce::Nonce;
use crate::ask::turn_text::TurnText;
use crate::rubric::order;
use crate::rubric::text::quoted;

pub(crate) use answer::ListingContract;
pub(crate) use schema::ListingSchema;

/// Digits of a block's name, if all names of a question are distinct with them.
const SHORT_NAME: usize = 8;

/// A reply of a group as the judge sees it.
#[derive(Debug, Clone)]
pub(crate) struct ListedReply {
    /// The text of the block, escaped.
    pub(crate) shown: String,
    /// The policy's words in it, from which evidence is quoted.
    pub(crate) spoken: TurnText<'static>,
    pub(crate) digest: Digest,
}

impl ListedReply {
    /// A reply with the text `shown`, of which `spoken` are the policy's words. Both are escaped.
    pub(crate) fn new(shown: String, spoken: String) -> Self {
        let mut hash = PartsHasher::default();
        hash.add(shown.as_bytes());
        Self { spoken: TurnText::new(spoken), digest: hash.finish(), shown }
    }
}

/// A block of a question.
#[derive(Debug, Clone)]
pub(crate) struct ListedBlock {
    /// The place of the reply in [`Case::listed`](crate::ask::case::Case::listed).
    pub(crate) reply: usize,
    /// The name.
    pub(crate) tag: String,
    shown: String,
    /// The policy's words, to check quotes.
    pub(crate) spoken: TurnText<'static>,
}

/// The blocks of a question in the order in which they are shown.
#[derive(Debug, Clone)]
pub(crate) struct Listing(Vec<ListedBlock>);

impl Listing {
    /// The blocks of call `sample` about `replies`; `set` is the digest of their set.
    pub(crate) fn new(replies: &[&ListedReply], set: &Digest, sample: u32, nonce: &Nonce) -> Self {
        let names = names(replies, set, sample, nonce);
        let order = shown_order(replies.len(), set, sample);
        let block = |place: usize| {
            let (reply, name) = (replies.get(place)?, names.get(place)?);
            Some(ListedBlock {
                reply: place,
                tag: format!("reply-{name}"),
                shown: reply.shown.clone(),
                spoken: reply.spoken.clone(),
            })
        };
        Self(order.into_iter().filter_map(block).collect())
    }

    pub(crate) fn blocks(&self) -> &[ListedBlock] {
        &self.0
    }

    /// The block of the reply at `place` of the case.
    pub(crate) fn block_of(&self, place: u32) -> Option<&ListedBlock> {
        self.0.iter().find(|block| u32::try_from(block.reply) == Ok(place))
    }

    /// The text of the block at each place, escaped.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|block| block.shown.as_str())
    }

    /// The text of all blocks, each behind its name.
    pub(crate) fn shown_with(&self, name: impl Fn(usize) -> String) -> String {
        let block = |(place, ListedBlock { tag, shown, .. }): (usize, &ListedBlock)| {
            format!("{}:\n<{tag}>\n{}\n</{tag}>", name(place), quoted(shown))
        };
        self.0.iter().enumerate().map(block).collect::<Vec<_>>().join("\n")
    }

    /// The text of all blocks.
    pub(crate) fn shown(&self) -> String {
        let block = |ListedBlock { tag, shown, .. }: &ListedBlock| {
            format!("<{tag}>\n{}\n</{tag}>", quoted(shown))
        };
        self.0.iter().map(block).collect::<Vec<_>>().join("\n")
    }
}

/// The places of `count` replies in the order in which call `sample` shows them.
pub(crate) fn shown_order(count: usize, set: &Digest, sample: u32) -> Vec<usize> {
    let mut order = order::shuffled(count, &hex(set), sample / 2);
    if sample % 2 == 1 {
        order.reverse();
    }
    order
}

/// Distinct names of the replies.
fn names(replies: &[&ListedReply], set: &Digest, sample: u32, nonce: &Nonce) -> Vec<String> {
    let full = |reply: &&ListedReply| {
        let text = format!("{}{}{sample}", hex(&reply.digest), hex(set));
        nonce.tag(&text).rsplit('-').next().unwrap_or_default().to_owned()
    };
    let full: Vec<String> = replies.iter().map(full).collect();
    let short = |name: &String| name.get(..SHORT_NAME).unwrap_or(name).to_owned();
    let names: Vec<String> = full.iter().map(short).collect();
    if names.iter().collect::<BTreeSet<_>>().len() == names.len() { names } else { full }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn reply(text: &str) -> ListedReply {
        ListedReply::new(text.to_owned(), text.to_owned())
    }

    #[test]
    fn names_depend_on_the_key_and_differ_between_calls() {
        let replies = [reply("a"), reply("b")];
        let listed: Vec<&ListedReply> = replies.iter().collect();
        let (set, nonce) = ([7; 32], Nonce::random());
        let tags = |sample, nonce: &Nonce| {
            let listing = Listing::new(&listed, &set, sample, nonce);
            [0, 1].map(|place| listing.block_of(place).unwrap().tag.clone())
        };
        assert_eq!(tags(0, &nonce), tags(0, &nonce));
        assert_ne!(tags(0, &nonce), tags(1, &nonce));
        assert_ne!(tags(0, &nonce), tags(0, &Nonce::random()));
        let shown = Listing::new(&listed, &set, 0, &nonce).shown();
        assert_eq!(shown.matches("</reply-").count(), 2, "{shown}");
    }

    proptest! {
        /// A pair of calls shows every reply at places with the same mean.
        #[test]
        fn a_pair_of_orders_is_balanced(count in 1_usize..40, seed in any::<[u8; 32]>(), pair in 0..4_u32) {
            let first = shown_order(count, &seed, 2 * pair);
            let second = shown_order(count, &seed, 2 * pair + 1);
            for reply in 0..count {
                let place = |order: &[usize]| order.iter().position(|one| *one == reply).unwrap();
                prop_assert_eq!(place(&first) + place(&second), count - 1);
            }
        }
    }
}
