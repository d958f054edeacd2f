//! An index of ranges that finds out in logarithmic time if a window contains any of them.

use std::ops::Range;

use crate::text::steps;

/// Ranges, sorted by their ends.
#[derive(Debug, Default)]
pub(crate) struct SpanIndex {
    /// The end of each range, ascending, with the greatest start of the ranges up to this one.
    ends: Vec<(usize, usize)>,
}

impl SpanIndex {
    /// Indexes `ranges`, in any order.
    pub(crate) fn new(ranges: impl Iterator<Item = Range<usize>>) -> Self {
        let mut ends: Vec<(usize, usize)> =
            ranges.inspect(|_| steps::add(1)).map(|range| (range.end, range.start)).collect();
        ends.sort_unstable();
        let mut latest = 0;
        for (_, start) in &mut ends {
            latest = latest.max(*start);
            *start = latest;
        }
        Self { ends }
    }

    /// Returns true if one of the ranges begins and ends within `window`.
    pub(crate) fn has_within(&self, window: &Range<usize>) -> bool {
        let ended = self.ends.partition_point(|(end, _)| {
            steps::add(1);
            *end <= window.end
        });
        // Of the ranges that end before the window does, the one that starts last decides.
        let last = ended.checked_sub(1).and_then(|last| self.ends.get(last));
        last.is_some_and(|(_, latest_start)| *latest_start >= window.start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn has_within_agrees_with_a_linear_search(
            ranges in prop::collection::vec((0_usize..40, 1_usize..6), 0..20),
            start in 0_usize..40,
            length in 0_usize..20,
        ) {
            let ranges: Vec<_> = ranges.into_iter().map(|(at, long)| at..at + long).collect();
            let window = start..start + length;
            let expected =
                ranges.iter().any(|range| window.start <= range.start && range.end <= window.end);
            prop_assert_eq!(SpanIndex::new(ranges.into_iter()).has_within(&window), expected);
        }
    }
}
