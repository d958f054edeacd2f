//! Search for the longest window of messages that fits: whole messages are dropped, oldest first.

/// The widest window of messages `start..=last` that fits, as encoded by `fits(start)`; `None` if
/// the last message alone does not fit.
///
/// Only encoding shows if a window fits, and a long dialogue must not be encoded once per message.
/// A window that contains another is assumed to be longer, so the start is found by doubling back
/// from the end and then halving. The total encoded text is a few times the window, however long
/// the dialogue is. `try_whole` allows a first attempt with the whole dialogue.
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
            let mut asked = Vec::new();
            let found = widest_window(first, last, try_whole, |start| {
                asked.push(start);
                Ok::<_, Infallible>((size(start) <= room).then_some(size(start)))
            });
            prop_assert_eq!(found.unwrap_or(None), expected.map(|start| (start, size(start))));
            let distinct: std::collections::BTreeSet<usize> = asked.iter().copied().collect();
            prop_assert_eq!(distinct.len(), asked.len(), "nothing is encoded twice: {:?}", asked);
            prop_assert!(asked.len() <= 14);
        }
    }
}
