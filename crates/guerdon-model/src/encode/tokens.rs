//! The token ids of one turn, and which of them are the scored message's own.

use std::ops::Range;
use std::sync::Arc;

/// What a model reads of one turn. Equal tokens are one question, whoever asks it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Tokens {
    /// Token ids, special ones included; never empty.
    pub(crate) ids: Arc<[u32]>,
    /// Where the scored message's words lie in `ids`; empty if the model does not ask for it, or if the message is.
    pub(crate) reply: Range<usize>,
}

impl Tokens {
    /// Without a marked reply, for models that ask for none.
    pub(crate) fn unmarked(ids: impl Into<Arc<[u32]>>) -> Self {
        Self { ids: ids.into(), reply: 0..0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// What comes before the scored message's own words: all but the last id where none are marked.
    pub(crate) fn context(&self) -> &[u32] {
        if self.reply.is_empty() {
            &self.ids[..self.len() - 1]
        } else {
            &self.ids[..self.reply.start]
        }
    }

    /// The first `head` ids, which are special, and as much of the end as `most` leaves room for: the special ids that
    /// end the text, and the last words of the turn before them.
    pub(crate) fn keep_end(&self, head: usize, most: usize) -> Self {
        let head = head.min(most).min(self.len());
        let kept = (most - head).min(self.len() - head);
        let dropped = self.len() - head - kept;
        let ids = self.ids[..head].iter().chain(&self.ids[head + dropped..]).copied().collect();
        let moved = |place: usize| place.saturating_sub(dropped).clamp(head, head + kept);
        let reply = if self.reply.is_empty() {
            0..0
        } else {
            moved(self.reply.start)..moved(self.reply.end)
        };
        Self { ids, reply }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeping_the_end_keeps_the_head_and_moves_the_reply_with_its_words() {
        let tokens = Tokens { ids: [1, 10, 11, 12, 13, 2].into(), reply: 3..5 };
        let kept = tokens.keep_end(1, 5);
        assert_eq!((&kept.ids[..], kept.reply), (&[1, 11, 12, 13, 2][..], 2..4));
        // The reply itself is cut: what is left of it stays marked.
        let kept = Tokens { reply: 1..5, ..tokens.clone() }.keep_end(1, 3);
        assert_eq!((&kept.ids[..], kept.reply), (&[1, 13, 2][..], 1..2));
        assert_eq!(tokens.keep_end(1, 99), tokens);
        assert_eq!(&tokens.keep_end(3, 2).ids[..], &[1, 10]);
    }
}
