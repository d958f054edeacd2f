//! Group advantages. Results are buffered until their group is complete and then released with
//! advantages.

use std::collections::{BTreeMap, HashMap, HashSet};

use guerdon_fusion::Scorer;
use guerdon_optim::{RewardPart, RolloutBatch, RolloutEstimator, rollout_advantages};
use guerdon_text::{cut, did_you_mean};
use guerdon_types::{
    AdvantageUnit, AdvantagesRequest, Finite, GroupComparison, GroupId, Invalid, ProblemCode,
    RolloutEntry, RolloutRubric,
};

use crate::engine::group_sets::GroupSets;
use crate::engine::scored_rollout::ScoredRollout;
use crate::engine::source_rewards::{SourceWeights, check_weights};

/// Buffers results until their group is complete.
#[derive(Debug)]
pub(crate) struct GroupBuffer {
    estimator: RolloutEstimator,
    /// The group number of each rollout.
    groups: Vec<usize>,
    /// A name of the group of each rollout, different for each attempt at it.
    names: Vec<Option<GroupId>>,
    /// The length of each rollout in tokens, if the estimator needs it.
    lengths: Option<Vec<usize>>,
    /// The reward of the greedy answer for each rollout, if the estimator needs it.
    baselines: Option<Vec<Option<Finite>>>,
    /// The weights of the sources of each profile, if the estimator compares sources by
    /// themselves.
    sources: Option<BTreeMap<usize, SourceWeights>>,
    /// The rubrics of the rollouts, if criteria are compared by themselves.
    rubrics: Vec<RolloutRubric>,
    /// The number of each rollout's profile.
    profiles: Vec<usize>,
    /// The results that are released together: those of a group, or of the whole batch if the
    /// estimator [needs it](RolloutEstimator::needs_whole_batch).
    sets: GroupSets<ScoredRollout>,
}

impl GroupBuffer {
    /// A buffer for the rollouts in `entries`. `profile` has the number and the scorer of each
    /// rollout's profile: advantages compare rollouts of one profile.
    ///
    /// # Errors
    /// [`Invalid`] if the estimator is unknown, a number that it needs is missing, or a rollout that
    /// can be scored names no group although the estimator compares groups.
    pub(crate) fn new<'a>(
        request: &AdvantagesRequest,
        entries: &[RolloutEntry],
        profile: impl Fn(usize) -> (usize, &'a Scorer),
    ) -> Result<Self, Invalid> {
        let estimator = estimator(&request.estimator)?;
        let lengths = lengths(estimator, request, entries.len())?;
        let baselines = baselines(estimator, request, entries.len())?;
        let profiles: Vec<usize> = (0..entries.len()).map(|index| profile(index).0).collect();
        if request.per.is_some() && !estimator.needs_parts() {
            return Err(superfluous(estimator, "per"));
        }
        let by_criterion = request.per == Some(AdvantageUnit::Criterion);
        let rubric = |entry: &RolloutEntry| {
            entry.rollout.as_ref().map(|rollout| rollout.rubric.clone()).unwrap_or_default()
        };
        let rubrics = if by_criterion { entries.iter().map(rubric).collect() } else { Vec::new() };
        let sources = match (estimator.needs_parts(), request.weights.is_empty()) {
            (true, _) => {
                let mut sources = BTreeMap::new();
                for (index, number) in profiles.iter().enumerate() {
                    let weights = || {
                        let weights = SourceWeights::new(&request.weights, profile(index).1);
                        match by_criterion {
                            true => weights.by_criterion(profile(index).1),
                            false => weights,
                        }
                    };
                    sources.entry(*number).or_insert_with(weights);
                }
                check_weights(&request.weights, &sources)?;
                Some(sources)
            }
            (false, true) => None,
            (false, false) => return Err(superfluous(estimator, "weights")),
        };
        let groups = group_numbers(estimator, entries, &profiles)?;
        let whole = estimator.needs_whole_batch();
        let sets = GroupSets::new(if whole { profiles.clone() } else { groups.clone() });
        // A name for each attempt at a group.
        let name = |(entry, number): (&RolloutEntry, &usize)| {
            entry.group.as_ref().map(|_| GroupId::from(number.to_string()))
        };
        let names = entries.iter().zip(&groups).map(name).collect();
        Ok(Self { estimator, groups, names, lengths, baselines, sources, rubrics, profiles, sets })
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
        let of = |list: &Vec<usize>| -> Vec<usize> {
            complete.iter().map(|s| list.get(s.index).copied().unwrap_or_default()).collect()
        };
        let (groups, lens) = (of(&self.groups), self.lengths.as_ref().map(of));
        let baselines: Option<Vec<Option<f64>>> = self.baselines.as_ref().map(|list| {
            let of = |s: &ScoredRollout| list.get(s.index).copied().flatten().map(Finite::get);
            complete.iter().map(of).collect()
        });
        let profile = complete.first().and_then(|one| self.profiles.get(one.index)).copied();
        let sources = self.sources.as_ref().and_then(|all| all.get(&profile?));
        let sources = sources.map(|sources| sources.rewards(&complete, &self.rubrics));
        let parts: Vec<RewardPart<'_>> = sources
            .iter()
            .flatten()
            .map(|(weight, rewards)| RewardPart { weight: *weight, rewards })
            .collect();
        if self.sources.is_some() && parts.is_empty() {
            // No source scored a rollout, so there is nothing to compare.
            return complete;
        }
        let batch = RolloutBatch {
            parts: &parts,
            lens: lens.as_deref(),
            baselines: baselines.as_deref(),
            ..RolloutBatch::new(&rewards, &groups)
        };
        match rollout_advantages(self.estimator, &batch) {
            Ok(advantages) => {
                for (scored, advantage) in complete.iter_mut().zip(advantages) {
                    scored.result.advantage = advantage.and_then(|a| Finite::new(a).ok());
                }
            }
            // Rewards that are too far apart for a number. They are still valid.
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

/// The estimator of a name.
fn estimator(name: &str) -> Result<RolloutEstimator, Invalid> {
    name.parse::<RolloutEstimator>().map_err(|_| {
        let known = RolloutEstimator::NAMES;
        let detail =
            format!("unknown estimator {:?}; expected one of: {}", cut(name, 60), known.join(", "));
        let invalid = Invalid::new(ProblemCode::InvalidRequest, "/advantages/estimator", detail);
        if name == "gae" {
            return invalid.hint(
                "`gae` needs the values of a critic, which the trainer has: compute it there, with \
                 `gae` of guerdon's optimizer",
            );
        }
        match did_you_mean(name, known.iter().copied()) {
            Some(hint) => invalid.hint(hint),
            None => invalid,
        }
    })
}

/// The lengths of rollouts, if `estimator` needs them.
fn lengths(
    estimator: RolloutEstimator,
    request: &AdvantagesRequest,
    rollouts: usize,
) -> Result<Option<Vec<usize>>, Invalid> {
    let given = request.lengths.len();
    if !per_rollout((estimator, estimator.needs_lens()), ("lengths", given), rollouts)? {
        return Ok(None);
    }
    let lengths = request.lengths.iter();
    Ok(Some(lengths.map(|length| usize::try_from(*length).unwrap_or(usize::MAX)).collect()))
}

/// The rewards of greedy answers, if `estimator` needs them.
fn baselines(
    estimator: RolloutEstimator,
    request: &AdvantagesRequest,
    rollouts: usize,
) -> Result<Option<Vec<Option<Finite>>>, Invalid> {
    let given = request.baselines.len();
    let needs =
        per_rollout((estimator, estimator.needs_baselines()), ("baselines", given), rollouts)?;
    Ok(needs.then(|| request.baselines.clone()))
}

/// True if the estimator needs the list `key`, which has `given` numbers, one for each rollout.
fn per_rollout(
    (estimator, is_needed): (RolloutEstimator, bool),
    (key, given): (&str, usize),
    rollouts: usize,
) -> Result<bool, Invalid> {
    if !is_needed {
        return if given == 0 { Ok(false) } else { Err(superfluous(estimator, key)) };
    }
    if given != rollouts {
        let detail = format!(
            "`{estimator}` needs one number for each rollout, and the list has {given} for {rollouts} \
             rollouts"
        );
        let what = if key == "lengths" {
            "the number of tokens of each reply"
        } else {
            "the reward of the greedy answer to each prompt, or null"
        };
        return Err(Invalid::new(
            ProblemCode::InvalidRequest,
            format!("/advantages/{key}"),
            detail,
        )
        .hint(format!("give `{key}`: {what}, in the order of `rollouts`")));
    }
    Ok(true)
}

fn superfluous(estimator: RolloutEstimator, key: &str) -> Invalid {
    let detail = format!("`{estimator}` does not use `{key}`");
    Invalid::new(ProblemCode::InvalidRequest, format!("/advantages/{key}"), detail)
        .hint(format!("leave `{key}` out"))
}

/// The number of each rollout's group. Rollouts of two profiles are of two groups, and a rollout
/// without a group is a group of its own.
fn group_numbers(
    estimator: RolloutEstimator,
    entries: &[RolloutEntry],
    profiles: &[usize],
) -> Result<Vec<usize>, Invalid> {
    let mut numbers = HashMap::new();
    let mut groups = Vec::with_capacity(entries.len());
    let mut count = 0;
    for (index, entry) in entries.iter().enumerate() {
        let number = match (entry.cohort(), &entry.rollout) {
            (Some(group), _) => *numbers.entry((profiles.get(index), group)).or_insert(count),
            // Such a rollout has no reward, or is compared with no other.
            (None, rollout) if rollout.is_err() || !estimator.needs_groups() => count,
            (None, _) => {
                let detail =
                    "advantages compare the samples of one prompt, and this rollout names no group";
                let pointer = format!("/rollouts/{index}/group");
                return Err(Invalid::new(ProblemCode::InvalidRequest, pointer, detail).hint(
                    "give all samples of one prompt the same `group`, or leave `advantages` out",
                ));
            }
        };
        count = count.max(number + 1);
        groups.push(number);
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use guerdon_fusion::{Ask, BoxFuture, RewardSource, SourceVersion};
    use guerdon_types::{
        FusionConfig, Message, OtherPart, Role, Rollout, RolloutResult, Signal, SourceId,
        SourceKind, TurnResult, Usage,
    };
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
        AdvantagesRequest::new(estimator)
    }

    fn buffer(
        request: &AdvantagesRequest,
        entries: &[RolloutEntry],
    ) -> Result<GroupBuffer, Invalid> {
        let source = |id: &str| -> Arc<dyn RewardSource> { Arc::new(Silent(id.into())) };
        let sources = vec![source("tone"), source("facts")];
        let scorer = Scorer::new(sources, FusionConfig::default());
        GroupBuffer::new(request, entries, |_| (0, &scorer))
    }

    /// A source that is never asked.
    #[derive(Debug)]
    struct Silent(SourceId);

    impl RewardSource for Silent {
        fn id(&self) -> &SourceId {
            &self.0
        }
        fn kind(&self) -> SourceKind {
            SourceKind::External
        }
        fn about(&self) -> String {
            "is never asked".into()
        }
        fn version(&self) -> SourceVersion {
            SourceVersion::Texts([].into())
        }
        fn score<'a>(&'a self, _: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
            Box::pin(async { Vec::new() })
        }
    }

    /// A result with the points of two sources.
    fn with_parts(index: usize, reward: Option<i32>, parts: &[(&str, i32)]) -> ScoredRollout {
        let mut one = scored(index, reward);
        let part = |points: i32| OtherPart { points: Finite::from(points), ..OtherPart::default() };
        let json = serde_json::json!({ "index": 0, "reward": reward, "enhancement": null, "abstained": [] });
        let mut turn: TurnResult = serde_json::from_value(json).unwrap();
        turn.other =
            parts.iter().map(|(id, points)| (SourceId::from(*id), part(*points))).collect();
        one.result.turns = vec![turn];
        one
    }

    fn advantages(left: &[ScoredRollout]) -> Vec<Option<f64>> {
        left.iter().map(|scored| scored.result.advantage.map(Finite::get)).collect()
    }

    #[test]
    fn gdpo_compares_each_source_by_itself() {
        let entries = rollouts(&["p", "p", "p"]);
        let mut gdpo = buffer(&request("gdpo"), &entries).unwrap();
        // The fused rewards are equal, and the sources disagree: `tone` differs by 1, `facts` by 90.
        assert!(gdpo.push(with_parts(0, Some(5), &[("tone", 1), ("facts", -90)])).is_empty());
        assert!(gdpo.push(with_parts(1, Some(5), &[("tone", 0), ("facts", 0)])).is_empty());
        let left = gdpo.push(with_parts(2, None, &[("tone", 9), ("facts", 9)]));
        let found = advantages(&left);
        assert_eq!(found[2], None, "a rollout without a reward is no sibling");
        assert!(found[0].unwrap().abs() < 1e-3 && found[1].unwrap().abs() < 1e-3, "{found:?}");

        let weights = BTreeMap::from([("facts".into(), Finite::ZERO)]);
        let asked = AdvantagesRequest { weights, ..request("gdpo") };
        let mut gdpo = buffer(&asked, &entries[..2]).unwrap();
        gdpo.push(with_parts(0, Some(5), &[("tone", 1), ("facts", -90)]));
        let found = advantages(&gdpo.push(with_parts(1, Some(5), &[("tone", 0), ("facts", 0)])));
        assert!(found[0] > Some(0.5) && found[1] < Some(-0.5), "{found:?}");
    }

    #[test]
    fn gdpo_without_any_part_gives_no_advantage() {
        let mut gdpo = buffer(&request("gdpo"), &rollouts(&["p"])).unwrap();
        assert_eq!(advantages(&gdpo.push(scored(0, Some(1)))), [None]);
    }

    #[test]
    fn opo_and_remax_use_the_numbers_of_the_request() {
        let entries = rollouts(&["p", "p"]);
        let opo = AdvantagesRequest { lengths: vec![1, 3], ..request("opo") };
        let mut opo = buffer(&opo, &entries).unwrap();
        opo.push(scored(1, Some(4)));
        assert_eq!(advantages(&opo.push(scored(0, Some(0)))), [Some(-3.0), Some(1.0)]);
        let baselines = vec![Some(Finite::ONE), None];
        let remax = AdvantagesRequest { baselines, ..request("remax") };
        let mut remax = buffer(&remax, &[entry(None), entry(None)]).unwrap();
        assert_eq!(advantages(&remax.push(scored(0, Some(3)))), [Some(2.0)]);
        assert_eq!(advantages(&remax.push(scored(1, Some(3)))), [None]);
    }

    #[test]
    fn missing_and_superfluous_numbers_are_reported_with_their_pointers() {
        let entries = rollouts(&["p", "p"]);
        let lengths = vec![1];
        let weights = |name: &str, weight| BTreeMap::from([(name.into(), Finite::from(weight))]);
        for (asked, pointer) in [
            (request("opo"), "/advantages/lengths"),
            (
                AdvantagesRequest { lengths: lengths.clone(), ..request("opo") },
                "/advantages/lengths",
            ),
            (AdvantagesRequest { lengths, ..request("grpo") }, "/advantages/lengths"),
            (request("remax"), "/advantages/baselines"),
            (
                AdvantagesRequest { weights: weights("tone", 1), ..request("grpo") },
                "/advantages/weights",
            ),
            (
                AdvantagesRequest { weights: weights("tone", -1), ..request("gdpo") },
                "/advantages/weights/tone",
            ),
            (
                AdvantagesRequest { weights: weights("t/ne", 1), ..request("gdpo") },
                "/advantages/weights/t~1ne",
            ),
            (request("gae"), "/advantages/estimator"),
        ] {
            let error = buffer(&asked, &entries).unwrap_err();
            assert_eq!(error.pointer, pointer, "{asked:?}");
        }
        let error = buffer(&request("gae"), &entries).unwrap_err();
        assert!(error.hint.unwrap().contains("critic"));
    }

    #[test]
    fn advantages_do_not_depend_on_the_order_of_arrival() {
        let rollouts = rollouts(&["p"; 7]);
        let released = |order: [usize; 7]| {
            let mut siblings = buffer(&request("grpo"), &rollouts).unwrap();
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
        let mut siblings = buffer(&request("dr_grpo"), &rollouts(&["a", "b", "a", "a"])).unwrap();
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
        let mut siblings = buffer(&request("batch_std"), &rollouts(&["a", "b"])).unwrap();
        assert!(siblings.push(scored(0, Some(1))).is_empty());
        assert_eq!(siblings.push(scored(1, Some(2))).len(), 2);
    }

    #[test]
    fn unknown_estimator_is_reported_with_all_names_and_the_nearest() {
        let error = buffer(&request("grop"), &[]).unwrap_err();
        assert_eq!(error.pointer, "/advantages/estimator");
        assert_eq!(
            error.detail,
            "unknown estimator \"grop\"; expected one of: grpo, dr_grpo, rloo, batch_std, \
             pass_at_k, gpg, gdpo, opo, remax, reinforce_plus_plus, reinforce_plus_plus_baseline"
        );
        assert_eq!(error.hint.as_deref(), Some("did you mean `grpo`?"));
    }

    #[test]
    fn api_description_lists_every_estimator() {
        let schema = serde_json::to_string(&AdvantagesRequest::schema()).unwrap();
        for name in RolloutEstimator::NAMES {
            assert!(schema.contains(&format!("`{name}`")), "{name}: {schema}");
        }
    }

    #[test]
    fn missing_group_is_reported_with_its_rollout() {
        let ungrouped = [entry(None)];
        assert_eq!(buffer(&request("grpo"), &ungrouped).unwrap_err().pointer, "/rollouts/0/group");
    }
}
