//! Group advantages. Results are buffered until their group is complete and then released with
//! advantages.

use std::collections::{HashMap, HashSet};

use guerdon_optim::{Estimator, advantages};
use guerdon_text::did_you_mean;
use guerdon_types::{
    AdvantagesRequest, Finite, GroupComparison, GroupId, Invalid, ProblemCode, RolloutEntry,
};

use crate::engine::group_sets::GroupSets;
use crate::engine::scored_rollout::ScoredRollout;

/// Buffers results until their group is complete.
#[derive(Debug)]
pub(crate) struct GroupBuffer {
    estimator: Estimator,
    /// The group number of each rollout.
    groups: Vec<usize>,
    /// The group name of each rollout.
    names: Vec<Option<GroupId>>,
    /// The results that are released together: those of a group, or of the whole batch if the
    /// estimator [needs it](Estimator::needs_whole_batch).
    sets: GroupSets<ScoredRollout>,
}

impl GroupBuffer {
    /// A buffer for the rollouts in `entries`. `profile` is the number of each rollout's profile:
    /// advantages compare rollouts of one profile.
    ///
    /// # Errors
    /// [`Invalid`] if the estimator is unknown or a rollout that can be scored names no group.
    pub(crate) fn new(
        request: &AdvantagesRequest,
        entries: &[RolloutEntry],
        profile: impl Fn(usize) -> usize,
    ) -> Result<Self, Invalid> {
        let estimator = request.estimator.parse::<Estimator>().map_err(|error| {
            let invalid = Invalid::new(
                ProblemCode::InvalidRequest,
                "/advantages/estimator",
                error.to_string(),
            );
            match did_you_mean(&request.estimator, Estimator::NAMES.iter().copied()) {
                Some(hint) => invalid.hint(hint),
                None => invalid,
            }
        })?;
        let mut numbers: HashMap<(usize, &GroupId), usize> = HashMap::new();
        let mut groups = Vec::with_capacity(entries.len());
        let mut count = 0;
        for (index, entry) in entries.iter().enumerate() {
            if let (None, Err(_)) = (&entry.group, &entry.rollout) {
                // The rollout has no reward and no known group, so it forms a group of one.
                groups.push(count);
                count += 1;
                continue;
            }
            let group = entry.group.as_ref().ok_or_else(|| {
                let detail =
                    "advantages compare the samples of one prompt, and this rollout names no group";
                Invalid::new(
                    ProblemCode::InvalidRequest,
                    format!("/rollouts/{index}/group"),
                    detail,
                )
                .hint("give all samples of one prompt the same `group`, or leave `advantages` out")
            })?;
            let number = *numbers.entry((profile(index), group)).or_insert(count);
            count = count.max(number + 1);
            groups.push(number);
        }
        let whole = estimator.needs_whole_batch();
        let of_profiles = || (0..groups.len()).map(&profile).collect();
        let sets = GroupSets::new(if whole { of_profiles() } else { groups.clone() });
        let names = entries.iter().map(|entry| entry.group.clone()).collect();
        Ok(Self { estimator, groups, names, sets })
    }

    /// Adds one result. Returns the results that are complete now, with their advantages.
    pub(crate) fn push(&mut self, scored: ScoredRollout) -> Vec<ScoredRollout> {
        let Some(mut complete) = self.sets.push(scored.index, scored) else { return Vec::new() };
        // Sums depend on their order, and the order of arrival is random.
        complete.sort_unstable_by_key(|scored| scored.index);
        let incomparable = self.incomparable(&complete);
        let reward = |scored: &ScoredRollout| {
            let group = self.names.get(scored.index).and_then(Option::as_ref);
            let is_comparable = group.is_none_or(|group| !incomparable.contains(group));
            scored.result.reward.filter(|_| is_comparable).map(Finite::get)
        };
        let rewards: Vec<_> = complete.iter().map(reward).collect();
        let groups: Vec<_> = complete
            .iter()
            .map(|s| self.groups.get(s.index).copied().unwrap_or_default())
            .collect();
        match advantages(self.estimator, &rewards, &groups) {
            Ok(advantages) => {
                for (scored, advantage) in complete.iter_mut().zip(advantages) {
                    scored.result.advantage = advantage.and_then(|a| Finite::new(a).ok());
                }
            }
            // Cannot fail for finite rewards and equal lengths. If it does, the rewards are still
            // valid.
            Err(error) => tracing::error!(%error, "advantages could not be computed"),
        }
        complete
    }

    /// The groups among `complete` whose rollouts were not scored by the same sources. They get no
    /// advantages, and their rewards enter no statistic.
    fn incomparable(&self, complete: &[ScoredRollout]) -> HashSet<GroupId> {
        let mut comparison = GroupComparison::default();
        for scored in complete {
            if let Some(Some(group)) = self.names.get(scored.index) {
                comparison.add(scored.index, group, &scored.result);
            }
        }
        comparison.finish().into_iter().map(|group| group.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use guerdon_types::{Message, Role, Rollout, RolloutResult, Usage};
    use utoipa::PartialSchema as _;

    use super::*;

    fn entry(group: Option<&str>) -> RolloutEntry {
        let messages = vec![Message::new(Role::Assistant, "a")];
        Rollout { group: group.map(GroupId::from), messages, ..Rollout::default() }.into()
    }

    fn rollouts(groups: &[&str]) -> Vec<RolloutEntry> {
        groups.iter().map(|group| entry(Some(group))).collect()
    }

    fn scored(index: usize, reward: Option<i32>) -> ScoredRollout {
        let reward = reward.map(Finite::from);
        let result = RolloutResult {
            id: "x".into(),
            reward,
            advantage: None,
            turns: Vec::new(),
            error: None,
        };
        ScoredRollout { index, result, usage: Usage::default() }
    }

    fn request(estimator: &str) -> AdvantagesRequest {
        AdvantagesRequest { estimator: estimator.into() }
    }

    #[test]
    fn advantages_do_not_depend_on_the_order_of_arrival() {
        let rollouts = rollouts(&["p"; 7]);
        let released = |order: [usize; 7]| {
            let mut siblings = GroupBuffer::new(&request("grpo"), &rollouts, |_| 0).unwrap();
            let mut left = Vec::new();
            for index in order {
                let mut scored = scored(index, None);
                scored.result.reward = Finite::new((index as f64 + 0.7).sin()).ok();
                left.extend(siblings.push(scored));
            }
            left.iter().map(|scored| (scored.index, scored.result.advantage)).collect::<Vec<_>>()
        };
        let in_order = released([0, 1, 2, 3, 4, 5, 6]);
        assert!(in_order.iter().all(|(_, advantage)| advantage.is_some()));
        for order in [[6, 5, 4, 3, 2, 1, 0], [3, 0, 6, 1, 5, 2, 4], [2, 4, 6, 0, 1, 3, 5]] {
            assert_eq!(released(order), in_order);
        }
    }

    #[test]
    fn group_is_released_when_complete_and_null_rewards_do_not_count() {
        let mut siblings =
            GroupBuffer::new(&request("dr_grpo"), &rollouts(&["a", "b", "a", "a"]), |_| 0).unwrap();
        assert!(siblings.push(scored(0, Some(1))).is_empty());
        assert_eq!(siblings.push(scored(1, Some(9))).len(), 1);
        assert!(siblings.push(scored(3, None)).is_empty());
        let complete = siblings.push(scored(2, Some(3)));
        let advantages: Vec<_> =
            complete.iter().map(|s| (s.index, s.result.advantage.map(Finite::get))).collect();
        assert_eq!(advantages, vec![(0, Some(-1.0)), (2, Some(1.0)), (3, None)]);
    }

    #[test]
    fn batch_std_waits_for_the_whole_batch() {
        let mut siblings =
            GroupBuffer::new(&request("batch_std"), &rollouts(&["a", "b"]), |_| 0).unwrap();
        assert!(siblings.push(scored(0, Some(1))).is_empty());
        assert_eq!(siblings.push(scored(1, Some(2))).len(), 2);
    }

    #[test]
    fn unknown_estimator_is_reported_with_all_names_and_the_nearest() {
        let error = GroupBuffer::new(&request("grop"), &[], |_| 0).unwrap_err();
        assert_eq!(error.pointer, "/advantages/estimator");
        assert_eq!(
            error.detail,
            "unknown estimator \"grop\"; expected one of: grpo, dr_grpo, rloo, batch_std, \
             pass_at_k, gpg"
        );
        assert_eq!(error.hint.as_deref(), Some("did you mean `grpo`?"));
    }

    #[test]
    fn api_description_lists_every_estimator() {
        let schema = serde_json::to_string(&AdvantagesRequest::schema()).unwrap();
        for name in Estimator::NAMES {
            assert!(schema.contains(&format!("`{name}`")), "{name}: {schema}");
        }
    }

    #[test]
    fn missing_group_is_reported_with_its_rollout() {
        let ungrouped = [entry(None)];
        assert_eq!(
            GroupBuffer::new(&request("grpo"), &ungrouped, |_| 0).unwrap_err().pointer,
            "/rollouts/0/group"
        );
    }
}
