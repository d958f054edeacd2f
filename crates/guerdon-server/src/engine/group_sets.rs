//! Values of a request's rollouts, collected until those of a group are complete.

/// Collects values by group. Each rollout belongs to one group and brings one value.
#[derive(Debug)]
pub(crate) struct GroupSets<T> {
    /// The group number of each rollout.
    groups: Vec<usize>,
    /// The number of missing values of each group, and the values so far.
    sets: Vec<(usize, Vec<T>)>,
}

impl<T> GroupSets<T> {
    /// Empty sets for rollouts with these group numbers.
    pub(crate) fn new(groups: Vec<usize>) -> Self {
        let count = groups.iter().max().map_or(0, |last| last + 1);
        let mut sets: Vec<_> = (0..count).map(|_| (0, Vec::new())).collect();
        for group in &groups {
            if let Some((to_come, _)) = sets.get_mut(*group) {
                *to_come += 1;
            }
        }
        Self { groups, sets }
    }

    /// Adds the value of rollout `index`. Returns the values of its group if they are complete, in
    /// the order in which they came.
    pub(crate) fn push(&mut self, index: usize, value: T) -> Option<Vec<T>> {
        let group = self.groups.get(index).copied();
        let Some((to_come, came)) = group.and_then(|group| self.sets.get_mut(group)) else {
            return Some(vec![value]);
        };
        *to_come = to_come.saturating_sub(1);
        came.push(value);
        (*to_come == 0).then(|| std::mem::take(came))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// In any order of arrival, each group is returned once, whole, with its last value.
        #[test]
        fn each_group_is_returned_once_and_whole(
            (groups, order) in prop::collection::vec(0usize..5, 1..40).prop_flat_map(|groups| {
                let order = Just((0..groups.len()).collect::<Vec<_>>()).prop_shuffle();
                (Just(groups), order)
            }),
        ) {
            let mut sets = GroupSets::new(groups.clone());
            let mut seen = Vec::new();
            for index in order {
                if let Some(complete) = sets.push(index, index) {
                    prop_assert!(complete.contains(&index));
                    let group = groups[index];
                    let all = (0..groups.len()).filter(|other| groups[*other] == group).count();
                    prop_assert_eq!(complete.len(), all);
                    prop_assert!(complete.iter().all(|other| groups[*other] == group));
                    seen.extend(complete);
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..groups.len()).collect::<Vec<_>>());
        }
    }
}
