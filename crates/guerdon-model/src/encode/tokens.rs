//! Token ids of one turn and the range of the scored message in them.

use std::ops::Range;
use std::sync::Arc;

/// The model input for one turn. Equal sequences have equal scores, for all clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenSequence {
    /// Token ids, special ones included; never empty.
    pub(crate) ids: Arc<[u32]>,
    /// The range of the scored message in `ids`; empty if the model does not use it, or if the
    /// message is empty.
    pub(crate) reply: Range<usize>,
}

impl TokenSequence {
    /// A sequence without a marked reply.
    pub(crate) fn unmarked(ids: impl Into<Arc<[u32]>>) -> Self {
        Self { ids: ids.into(), reply: 0..0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The ids before the scored message; without a marked reply, all ids but the last.
    pub(crate) fn context(&self) -> &[u32] {
        if self.reply.is_empty() {
            &self.ids[..self.len() - 1]
        } else {
            &self.ids[..self.reply.start]
        }
    }

    /// Keeps the first `head` ids, which are special, and as much of the end as `most` allows: the
    /// special ids that end the text, and the last words of the turn before them.
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
    fn keep_end_keeps_the_head_and_shifts_the_reply_range() {
        let tokens = TokenSequence { ids: [1, 10, 11, 12, 13, 2].into(), reply: 3..5 };
        let kept = tokens.keep_end(1, 5);
        assert_eq!((&kept.ids[..], kept.reply), (&[1, 11, 12, 13, 2][..], 2..4));
        // The reply itself is cut: the rest of it stays marked.
        let kept = TokenSequence { reply: 1..5, ..tokens.clone() }.keep_end(1, 3);
        assert_eq!((&kept.ids[..], kept.reply), (&[1, 13, 2][..], 1..2));
        assert_eq!(tokens.keep_end(1, 99), tokens);
        assert_eq!(&tokens.keep_end(3, 2).ids[..], &[1, 10]);
    }
}
