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
    /// The segment id of each token; empty if all are 0.
    pub(crate) segments: Arc<[u8]>,
    /// The places in `ids` at which the scores of the steps are read, ascending; empty for models
    /// without steps.
    pub(crate) steps: Arc<[u32]>,
}

impl TokenSequence {
    /// A sequence of one segment, without a marked reply and without steps.
    pub(crate) fn unmarked(ids: impl Into<Arc<[u32]>>) -> Self {
        Self { ids: ids.into(), reply: 0..0, segments: Arc::default(), steps: Arc::default() }
    }

    /// The sequence with one more token, which has the segment of the last one.
    pub(crate) fn ended_by(&self, token: u32) -> Self {
        let ids = self.ids.iter().copied().chain([token]).collect();
        let segments = self.segments.iter().copied().chain(self.segments.last().copied()).collect();
        Self { ids, segments, reply: self.reply.clone(), steps: Arc::clone(&self.steps) }
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

    /// Keeps the first `most` ids.
    pub(crate) fn keep_start(self, most: usize) -> Self {
        if most >= self.len() {
            return self;
        }
        let Self { ids, reply, segments, steps } = self;
        let is_kept = |place: &u32| usize::try_from(*place).is_ok_and(|place| place < most);
        Self {
            ids: ids[..most].into(),
            reply: reply.start.min(most)..reply.end.min(most),
            segments: segments.iter().copied().take(most).collect(),
            steps: steps.iter().copied().filter(is_kept).collect(),
        }
    }

    /// Keeps the first `head` ids, which are special, and as much of the end as `most` allows: the
    /// special ids that end the text, and the last words of the turn before them.
    pub(crate) fn keep_end(&self, head: usize, most: usize) -> Self {
        let head = head.min(most).min(self.len());
        let kept = (most - head).min(self.len() - head);
        let dropped = self.len() - head - kept;
        let ids = self.ids[..head].iter().chain(&self.ids[head + dropped..]).copied().collect();
        let segments = match self.segments.is_empty() {
            true => Arc::default(),
            false => {
                let (first, last) = (&self.segments[..head], &self.segments[head + dropped..]);
                first.iter().chain(last).copied().collect()
            }
        };
        let step = |place: &u32| {
            let (at, moved) = (usize::try_from(*place).ok()?, u32::try_from(dropped).ok()?);
            match at {
                at if at < head => Some(*place),
                at if at < head + dropped => None,
                _ => place.checked_sub(moved),
            }
        };
        let steps = self.steps.iter().filter_map(step).collect();
        let moved = |place: usize| place.saturating_sub(dropped).clamp(head, head + kept);
        let reply = if self.reply.is_empty() {
            0..0
        } else {
            moved(self.reply.start)..moved(self.reply.end)
        };
        Self { ids, reply, segments, steps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_end_keeps_the_head_and_shifts_the_reply_range() {
        let tokens =
            TokenSequence { reply: 3..5, ..TokenSequence::unmarked([1, 10, 11, 12, 13, 2]) };
        let kept = tokens.keep_end(1, 5);
        assert_eq!((&kept.ids[..], kept.reply), (&[1, 11, 12, 13, 2][..], 2..4));
        // The reply itself is cut: the rest of it stays marked.
        let kept = TokenSequence { reply: 1..5, ..tokens.clone() }.keep_end(1, 3);
        assert_eq!((&kept.ids[..], kept.reply), (&[1, 13, 2][..], 1..2));
        assert_eq!(tokens.keep_end(1, 99), tokens);
        assert_eq!(&tokens.keep_end(3, 2).ids[..], &[1, 10]);
    }

    #[test]
    fn keep_end_moves_segments_and_steps_with_their_tokens() {
        let tokens = TokenSequence {
            segments: [0, 0, 0, 1, 1, 1].into(),
            steps: [0, 2, 3, 5].into(),
            ..TokenSequence::unmarked([1, 10, 11, 12, 13, 2])
        };
        let kept = tokens.keep_end(1, 4);
        assert_eq!(
            (&kept.ids[..], &kept.segments[..], &kept.steps[..]),
            (&[1, 12, 13, 2][..], &[0, 1, 1, 1][..], &[0, 1, 3][..])
        );
    }
}
