//! Splits a large batch into several HTTP requests without changing any number of the reply.
//!
//! Rewards do not depend on other rollouts, so a batch may be split anywhere. Advantages do:
//! group-relative estimators need the whole group in one request, and some need the whole batch
//! ([`Estimator::needs_whole_batch`]). A batch with an estimator that this client does not know is
//! not split.

use std::collections::{BTreeMap, HashMap};

use guerdon_optim::Estimator;
use guerdon_types::{AdvantagesRequest, Problem, Rollout, ScoreRequest};

/// The rollouts of one chunk: indices into the whole request, in sending order.
pub(crate) type RolloutIndices = Vec<usize>;

/// Splits `request` into at least one chunk of at most `size` rollouts. A group that must stay
/// whole may be larger. `home` is the place of a rollout's server: a chunk has rollouts of one
/// server, by the first rollout of each group that must stay whole.
pub(crate) fn chunks(
    request: &ScoreRequest,
    size: usize,
    home: impl Fn(&Rollout) -> usize,
) -> Vec<RolloutIndices> {
    let mut open: BTreeMap<usize, RolloutIndices> = BTreeMap::new();
    let mut chunks = Vec::new();
    for unit in units(request) {
        let first = unit.first().and_then(|place| request.rollouts.get(*place));
        let chunk = open.entry(first.map_or(0, &home)).or_default();
        if !chunk.is_empty() && chunk.len() + unit.len() > size {
            chunks.push(std::mem::take(chunk));
        }
        chunk.extend(unit);
    }
    chunks.extend(open.into_values());
    chunks.sort_by_key(|chunk| chunk.first().copied());
    if chunks.is_empty() {
        chunks.push(RolloutIndices::new());
    }
    chunks
}

/// The smallest parts of a request that can be scored alone.
pub(crate) fn units(request: &ScoreRequest) -> Vec<RolloutIndices> {
    let all = 0..request.rollouts.len();
    let estimator =
        request.advantages.as_ref().map(|advantages| advantages.estimator.parse::<Estimator>());
    match estimator {
        None => all.map(|place| vec![place]).collect(),
        Some(Ok(estimator)) if !estimator.needs_whole_batch() => groups(request),
        Some(_) => vec![all.collect()],
    }
}

/// The rollouts by group, in order of first appearance. Rollouts without a group stay together,
/// because the server decides their comparison.
fn groups(request: &ScoreRequest) -> Vec<RolloutIndices> {
    let mut seen = HashMap::new();
    let mut groups: Vec<RolloutIndices> = Vec::new();
    for (place, rollout) in request.rollouts.iter().enumerate() {
        let group = *seen.entry(rollout.group.as_ref()).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(members) => members.push(place),
            None => groups.push(vec![place]),
        }
    }
    groups
}

/// The request with the rollouts of `chunk`; everything else is as in `request`.
pub(crate) fn part(request: &ScoreRequest, chunk: &[usize]) -> ScoreRequest {
    ScoreRequest {
        rollouts: of_chunk(&request.rollouts, chunk),
        sources: request.sources.clone(),
        profile: request.profile.clone(),
        fusion: request.fusion.clone(),
        advantages: request.advantages.as_ref().map(|whole| AdvantagesRequest {
            lengths: of_chunk(&whole.lengths, chunk),
            baselines: of_chunk(&whole.baselines, chunk),
            ..whole.clone()
        }),
        deadline_ms: request.deadline_ms,
        expect: request.expect.clone(),
        extra_fields: request.extra_fields,
        run: request.run.clone(),
        step: request.step,
        split: request.split.clone(),
    }
}

/// The values of the chunk's rollouts, of one value for each rollout of the request.
fn of_chunk<T: Clone>(values: &[T], chunk: &[usize]) -> Vec<T> {
    chunk.iter().filter_map(|place| values.get(*place)).cloned().collect()
}

/// Changes a pointer into the chunk to one into the whole request: `/rollouts/0/score` of the
/// second chunk is not the caller's rollout 0.
pub(crate) fn repoint(problem: &mut Problem, chunk: &[usize]) {
    let Some(rest) =
        problem.pointer.as_deref().and_then(|pointer| pointer.strip_prefix("/rollouts/"))
    else {
        return;
    };
    let (place, tail) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if let Some(whole) = place.parse().ok().and_then(|place: usize| chunk.get(place)) {
        problem.pointer = Some(format!("/rollouts/{whole}{tail}"));
    }
}

#[cfg(test)]
mod tests {
    use guerdon_types::{Finite, GroupId, ProblemCode};
    use proptest::prelude::{prop, proptest};

    use super::*;

    fn chunks(request: &ScoreRequest, size: usize) -> Vec<RolloutIndices> {
        super::chunks(request, size, |_| 0)
    }

    fn request(groups: &[&str], estimator: Option<&str>) -> ScoreRequest {
        let rollout = |group: &&str| Rollout {
            group: (!group.is_empty()).then(|| GroupId::from(*group)),
            ..Rollout::default()
        };
        ScoreRequest {
            rollouts: groups.iter().map(rollout).collect(),
            advantages: estimator.map(AdvantagesRequest::new),
            ..ScoreRequest::default()
        }
    }

    #[test]
    fn batch_without_advantages_is_split_anywhere() {
        assert_eq!(
            chunks(&request(&["a", "a", "a", "b", "b"], None), 2),
            [vec![0, 1], vec![2, 3], vec![4]]
        );
    }

    #[test]
    fn group_is_never_split_even_if_interleaved_or_larger_than_a_chunk() {
        let cut = chunks(&request(&["a", "b", "a", "b", "c", "c", "c"], Some("grpo")), 2);
        assert_eq!(cut, [vec![0, 2], vec![1, 3], vec![4, 5, 6]]);
    }

    #[test]
    fn rollouts_without_a_group_stay_together() {
        assert_eq!(
            chunks(&request(&["", "a", "", "a"], Some("rloo")), 1),
            [vec![0, 2], vec![1, 3]]
        );
    }

    #[test]
    fn numbers_of_rollouts_go_with_their_rollouts() {
        let mut whole = request(&["a", "b", "a"], Some("opo"));
        let numbers = whole.advantages.as_mut().unwrap();
        numbers.lengths = vec![10, 20, 30];
        numbers.baselines = vec![Some(Finite::ONE), None, None];
        let numbers = part(&whole, &[0, 2]).advantages.unwrap();
        assert_eq!(numbers.lengths, [10, 30]);
        assert_eq!(numbers.baselines, [Some(Finite::ONE), None]);
    }

    #[test]
    fn whole_batch_estimator_and_unknown_estimator_are_not_split() {
        for estimator in ["batch_std", "gpg", "invented_next_year"] {
            assert_eq!(chunks(&request(&["a", "b", "c"], Some(estimator)), 1), [vec![0, 1, 2]]);
        }
    }

    #[test]
    fn all_other_estimators_are_cut_between_groups() {
        for estimator in Estimator::ALL.iter().filter(|estimator| !estimator.needs_whole_batch()) {
            let cut = chunks(&request(&["a", "b", "a"], Some(estimator.name())), 1);
            assert_eq!(cut, [vec![0, 2], vec![1]], "{estimator}");
        }
    }

    #[test]
    fn empty_batch_is_one_empty_chunk() {
        for estimator in [None, Some("grpo"), Some("batch_std")] {
            assert_eq!(chunks(&request(&[], estimator), 4), [Vec::<usize>::new()]);
        }
    }

    #[test]
    fn pointer_into_a_chunk_becomes_a_pointer_into_the_request() {
        let repointed = |pointer: &str| {
            let mut problem = Problem::new(ProblemCode::InvalidRequest, "").pointer(pointer);
            repoint(&mut problem, &[7, 9]);
            problem.pointer.unwrap()
        };
        assert_eq!(repointed("/rollouts/1/score/0"), "/rollouts/9/score/0");
        assert_eq!(repointed("/rollouts/0"), "/rollouts/7");
        assert_eq!(repointed("/rollouts/2/id"), "/rollouts/2/id");
        assert_eq!(repointed("/profile"), "/profile");
    }

    proptest! {
        #[test]
        fn chunk_has_rollouts_of_one_server_and_every_rollout_is_sent_once(
            names in prop::collection::vec("[a-f]", 0..40), size in 1_usize..9, grouped in prop::bool::ANY,
            servers in 1_usize..5,
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let home = |name: &str| name.bytes().map(usize::from).sum::<usize>() % servers;
            let request = request(&names, grouped.then_some("grpo"));
            let cut = super::chunks(&request, size, |one| home(one.group.as_ref().unwrap().as_str()));
            let mut sent: Vec<usize> = cut.iter().flatten().copied().collect();
            sent.sort_unstable();
            assert_eq!(sent, (0..names.len()).collect::<Vec<_>>());
            for chunk in cut.iter().filter(|chunk| !chunk.is_empty()) {
                let first = home(names[chunk[0]]);
                assert!(chunk.iter().all(|place| home(names[*place]) == first));
            }
        }

        #[test]
        fn every_rollout_is_sent_once_and_groups_stay_whole(
            names in prop::collection::vec("[a-d]?", 0..40), size in 1_usize..9, grouped in prop::bool::ANY,
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let cut = chunks(&request(&names, grouped.then_some("grpo")), size);
            let mut sent: Vec<usize> = cut.iter().flatten().copied().collect();
            sent.sort_unstable();
            assert_eq!(sent, (0..names.len()).collect::<Vec<_>>());
            for (at, chunk) in cut.iter().enumerate() {
                let here: std::collections::HashSet<&str> = chunk.iter().map(|place| names[*place]).collect();
                assert!(chunk.len() <= size || (grouped && here.len() == 1));
                for other in cut.iter().skip(at + 1).filter(|_| grouped) {
                    assert!(other.iter().all(|place| !here.contains(names[*place])));
                }
            }
        }
    }
}
