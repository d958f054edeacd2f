//! The order in which criteria are asked. Judges are biased by position, each model in its own way;
//! samples in different orders remove that bias from the mean. The order is seeded, because it is
//! part of the question: the same sample of the same rubric always has the same order.

/// The order of `count` criteria in sample `sample` of the rubric with this hash.
pub(crate) fn shuffled(count: usize, hash: &str, sample: u32) -> Vec<usize> {
    let seed = hash.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |seed, byte| {
        // FNV-1a.
        (seed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut state = seed ^ u64::from(sample).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut order: Vec<usize> = (0..count).collect();
    // Fisher and Yates.
    for last in (1..count).rev() {
        order.swap(last, below(last + 1, &mut state));
    }
    order
}

/// A number below `bound`, from SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom
/// number generators", OOPSLA 2014): written out here because a library's generator may change with
/// its version.
#[expect(clippy::cast_possible_truncation, reason = "below `bound`, which is a usize")]
pub(crate) const fn below(bound: usize, state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    ((mixed as u128 * bound as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_permutation_the_same_for_ever_and_another_for_each_sample() {
        let order = shuffled(6, "sha256:x", 3);
        assert_eq!(order, shuffled(6, "sha256:x", 3));
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..6).collect::<Vec<_>>());
        assert!((0..8).any(|sample| shuffled(6, "sha256:x", sample) != order));
        assert_eq!(shuffled(0, "", 0), Vec::<usize>::new());
    }

    #[test]
    fn over_many_samples_each_criterion_is_first_equally_often() {
        let mut first = [0u32; 5];
        for sample in 0..5000 {
            first[shuffled(5, "sha256:y", sample)[0]] += 1;
        }
        assert!(first.iter().all(|count| (900..1100).contains(count)), "{first:?}");
    }
}
