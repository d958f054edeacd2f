//! Search for the longest window of messages that fits: whole messages are dropped, oldest first.

/// The widest window of messages `start..=last` that fits, as encoded by `fits(start)`; `None` if
/// the last message alone does not fit.
///
/// A window must be encoded to find out if it fits, and a long dialogue must not be encoded once
/// per message. A window that contains another is assumed to be longer. The search therefore
/// doubles the number of messages, from the last one backwards, until a window does not fit, and
/// then bisects. The total length of the encoded texts is a few times that of the result, for a
/// dialogue of any length. If `try_whole` is set, the whole dialogue is tried first.
pub(crate) fn widest_window<T, E>(
    first: usize,
    last: usize,
    try_whole: bool,
    mut fits: impl FnMut(usize) -> Result<Option<T>, E>,
) -> Result<Option<(usize, T)>, E> {
    let mut too_wide = None;
    if try_whole || first == last {
        match fits(first)? {
            Some(whole) => return Ok(Some((first, whole))),
            None => too_wide = Some(first),
        }
    }
    if first == last {
        return Ok(None);
    }
    let Some(alone) = fits(last)? else { return Ok(None) };
    let mut best = (last, alone);
    let mut step = 1;
    while best.0 > first && too_wide != Some(best.0.saturating_sub(step).max(first)) {
        let start = best.0.saturating_sub(step).max(first);
        match fits(start)? {
            Some(window) => best = (start, window),
            None => {
                too_wide = Some(start);
                break;
            }
        }
        step *= 2;
    }
    if let Some(mut too_wide) = too_wide {
        while best.0 - too_wide > 1 {
            let start = too_wide + (best.0 - too_wide) / 2;
            match fits(start)? {
                Some(window) => best = (start, window),
                None => too_wide = start,
            }
        }
    }
    Ok(Some(best))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn widest_window_matches_a_linear_search(
            lengths in vec(1usize..9, 1..40), room in 0usize..80, first in 0usize..40, try_whole: bool,
        ) {
            let last = lengths.len() - 1;
            let first = first.min(last);
            let size = |start: usize| lengths[start..].iter().sum::<usize>();
            let expected = (first..=last).find(|&start| size(start) <= room);
            let mut encoded_starts = Vec::new();
            let found = widest_window(first, last, try_whole, |start| {
                encoded_starts.push(start);
                Ok::<_, Infallible>((size(start) <= room).then_some(size(start)))
            });
            prop_assert_eq!(found.unwrap_or(None), expected.map(|start| (start, size(start))));
            let distinct: std::collections::BTreeSet<usize> = encoded_starts.iter().copied().collect();
            prop_assert_eq!(distinct.len(), encoded_starts.len(), "nothing is encoded twice: {:?}", encoded_starts);
            prop_assert!(encoded_starts.len() <= 14);
        }
    }
}
