//! Splits a group that is too large for one call. Two replies, the anchors, are in every call, so
//! that the judge sees the same references each time.

use crate::rubric::Listwise;

/// Number of anchors.
const ANCHORS: usize = 2;

/// The places of the replies in each call, of `count` replies. Calls differ in size by one at most.
pub(crate) fn split(count: usize, listwise: Listwise) -> Vec<Vec<usize>> {
    if count <= listwise.per_call {
        return vec![(0..count).collect()];
    }
    let anchors: Vec<usize> = (0..ANCHORS).collect();
    let others = count - ANCHORS;
    let room = listwise.per_call.saturating_sub(ANCHORS).max(1);
    let calls = others.div_ceil(room);
    let start = |call: usize| ANCHORS + call * others / calls;
    let places = |call: usize| anchors.iter().copied().chain(start(call)..start(call + 1));
    (0..calls).map(|call| places(call).collect()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every reply is in exactly one call, the anchors in all, and no call is too large.
        #[test]
        fn every_reply_is_asked_about(count in 0_usize..1_100, per_call in 4_usize..65) {
            let listwise = Listwise { shuffles: 1, per_call, min_size: None };
            let calls = split(count, listwise);
            prop_assert!(calls.iter().all(|call| call.len() <= per_call));
            let times = |reply| calls.iter().filter(|call| call.contains(&reply)).count();
            for reply in 0..count {
                let wanted = if reply < ANCHORS { calls.len() } else { 1 };
                prop_assert_eq!(times(reply), wanted);
            }
            let sizes: Vec<usize> = calls.iter().map(Vec::len).collect();
            let spread = sizes.iter().max().unwrap() - sizes.iter().min().unwrap();
            prop_assert!(spread <= 1, "{:?}", sizes);
        }
    }
}
