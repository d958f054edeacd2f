//! Rewards from stored parts, without asking any source: what a reward would have been with an edit
//! of a rubric, of a rule or of the fusion, and how the order within groups would have changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use guerdon_types::{
    AbstainEffect, Finite, FusionConfig, FusionMethod, GroupId, OnAbstain, Part, RolloutResult,
    SourceId, SourceRole, TurnResult, Word,
};

use crate::row::reward;
use crate::{Channel, Standing, TurnSignals, aggregate};

/// The greatest difference to a stored reward that counts as equal. Replies print a reward exactly.
const EQUAL: f64 = 1e-9;

/// The reason why a stored result cannot be recomputed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("turn {turn}: {detail}")]
pub struct NotRecomputable {
    /// The index of the turn.
    pub turn: usize,
    /// The reason.
    pub detail: String,
}

/// The reward of a stored result after `edit` has changed the parts of its turns.
///
/// A turn that has no reward because of an abstention keeps none. Where the stored parts and
/// `fusion` do not make the stored reward, nothing can be said about an edit either: the result was
/// made with another fusion, or with more than its parts show.
///
/// # Errors
/// [`NotRecomputable`], also if `edit` returns a reason why it cannot be applied.
pub fn recompute(
    result: &RolloutResult,
    fusion: &FusionConfig,
    edit: impl FnMut(&mut TurnResult) -> Result<(), String>,
) -> Result<Option<Finite>, NotRecomputable> {
    recompute_with(result, FusionChange { before: fusion, after: fusion }, edit)
}

/// The fusion that made a stored result, and another one.
#[derive(Debug, Clone, Copy)]
pub struct FusionChange<'a> {
    /// The fusion that made the result.
    pub before: &'a FusionConfig,
    /// The fusion to recompute it with.
    pub after: &'a FusionConfig,
}

/// As [`recompute`], with another fusion than the one that made the result.
///
/// # Errors
/// As [`recompute`].
pub fn recompute_with(
    result: &RolloutResult,
    fusions: FusionChange<'_>,
    mut edit: impl FnMut(&mut TurnResult) -> Result<(), String>,
) -> Result<Option<Finite>, NotRecomputable> {
    let FusionChange { before: made, after: fusion } = fusions;
    if [made, fusion].iter().any(|fusion| fusion.method == FusionMethod::Hero) {
        let turn = result.turns.first().map_or(0, |turn| turn.index);
        let detail = "`hero` rewards a rollout among its group, which is not stored".to_owned();
        return Err(NotRecomputable { turn, detail });
    }
    let mut rewards = Vec::with_capacity(result.turns.len());
    let mut screened = false;
    for stored in &result.turns {
        let failed = |detail: String| NotRecomputable { turn: stored.index, detail };
        if stored.reward.is_none() && !stored.abstained.is_empty() {
            rewards.push(None);
            continue;
        }
        let before = reward_of_parts(stored, made);
        if !is_equal(before, stored.reward.map(Finite::get)) {
            let detail = "its parts do not make its reward with this fusion";
            return Err(failed(detail.to_owned()));
        }
        let mut turn = stored.clone();
        edit(&mut turn).map_err(failed)?;
        screened |= fusion.method == FusionMethod::Screen && vetoes(&turn);
        rewards.push(reward_of_parts(&turn, fusion));
    }
    if screened {
        return Ok(None);
    }
    Ok(aggregate(&rewards, fusion.aggregate).and_then(|reward| Finite::new(reward).ok()))
}

/// The reward that `fusion` makes of the parts and the abstentions of a turn. The turn's own reward
/// is not read. `None` if there is none, or if a worst verdict counted whose points are not stored.
#[must_use]
pub fn reward_of_parts(turn: &TurnResult, fusion: &FusionConfig) -> Option<f64> {
    if !turn.parts.is_empty() {
        return reward_of_named_parts(turn, fusion);
    }
    let mut signals = TurnSignals::default();
    let mut parts: BTreeMap<SourceId, (Channel, Option<Part>)> = BTreeMap::new();
    let shipped = [
        (SourceId::rm(), Channel::Base, turn.rm.clone().map(Part::Rm)),
        (SourceId::judge(), Channel::Judge, turn.judge.clone().map(Part::Judge)),
        (SourceId::rules(), Channel::Rules, turn.rules.clone().map(Part::Rules)),
    ];
    let abstained: BTreeSet<&SourceId> = turn.abstained.iter().map(|one| &one.source).collect();
    for (source, channel, part) in shipped {
        if part.is_some() || abstained.contains(&source) {
            parts.insert(source, (channel, part));
        }
    }
    let other = turn.other.iter().map(|(source, part)| (source, Some(part)));
    let silent = abstained.iter().map(|source| (*source, None));
    for (source, part) in other.chain(silent) {
        let part = part.map(|part| Part::Other(part.clone()));
        parts.entry(source.clone()).or_insert((Channel::Other, part));
    }
    for (source, (channel, part)) in parts {
        let value = part.as_ref().map(Part::value);
        let standing = match value {
            Some(value) if !abstained.contains(&source) => Standing::Scored(value),
            Some(value) => Standing::PartlyScored(value),
            None => Standing::Silent,
        };
        signals.enter(channel, standing);
        signals.vetoed |= part.is_some_and(|part| part.vetoes());
    }
    if counts_worst(turn) {
        // The points of the worst verdict are not stored.
        return None;
    }
    let strict = fusion.on_abstain == OnAbstain::Null;
    let on_abstain = if strict { OnAbstain::Null } else { OnAbstain::Skip };
    reward(&signals, &FusionConfig { on_abstain, ..fusion.clone() })
}

fn counts_worst(turn: &TurnResult) -> bool {
    let worst = Some(Word::Known(AbstainEffect::Worst));
    turn.abstained.iter().any(|one| one.effect == worst)
}

/// As [`reward_of_parts`], for a turn that has the parts of all sources by name. The points of
/// `rm`, `judge` and `rules` are those of their own fields, which edits change. `None` also if such
/// a field was edited and the source's number was normalised, which is not stored.
fn reward_of_named_parts(turn: &TurnResult, fusion: &FusionConfig) -> Option<f64> {
    let mut signals = TurnSignals::default();
    for (source, part) in &turn.parts {
        let (Some(kind), Some(role)) = (part.kind.known(), part.role()) else { return None };
        if !role.is_fused() {
            continue;
        }
        let own = match source.as_str() {
            "rm" => turn.rm.clone().map(Part::Rm),
            "judge" => turn.judge.clone().map(Part::Judge),
            "rules" => turn.rules.clone().map(Part::Rules),
            _ => None,
        };
        let (mut term, mut veto) = (part.term(), part.veto);
        if let Some(own) = own {
            veto = own.vetoes();
            if own.number() != part.value {
                if part.normalised.is_some() {
                    return None;
                }
                term = part.weight.map_or(1.0, Finite::get) * own.value();
            }
        }
        let is_whole = turn.abstained.iter().all(|one| one.source != *source);
        let standing = if is_whole { Standing::Scored(term) } else { Standing::PartlyScored(term) };
        if let Some(channel) = Channel::of(kind, role) {
            signals.enter(channel, standing);
        }
        signals.vetoed |= veto;
        signals.gated |= veto && role == SourceRole::Gate;
    }
    let audit = Some(Word::Known(AbstainEffect::Audit));
    let counted = turn.abstained.iter().filter(|one| one.effect != audit);
    let has_silent = counted.clone().any(|one| !turn.parts.contains_key(&one.source));
    let strict = fusion.on_abstain == OnAbstain::Null;
    // A base that abstained leaves no reward, and neither does any other source if the fusion is
    // strict. Their kinds are not stored, so a turn with a reward had no such source.
    let is_unknown = has_silent && turn.reward.is_none();
    if counts_worst(turn) || is_unknown || (strict && counted.count() > 0) {
        return None;
    }
    reward(&signals, &FusionConfig { on_abstain: OnAbstain::Skip, ..fusion.clone() })
}

/// True if a part of the turn has a veto.
fn vetoes(turn: &TurnResult) -> bool {
    let shipped = [
        turn.rm.clone().map(Part::Rm),
        turn.judge.clone().map(Part::Judge),
        turn.rules.clone().map(Part::Rules),
    ];
    shipped.into_iter().flatten().any(|part| part.vetoes())
        || turn.other.values().any(|part| part.veto)
        || turn
            .parts
            .values()
            .any(|part| part.veto && part.role().is_some_and(SourceRole::is_fused))
}

fn is_equal(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= EQUAL * other.abs().max(1.0),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// The order of a group's rollouts before and after.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct GroupRanks {
    /// The group.
    pub group: GroupId,
    /// The indices of its rollouts, ascending.
    pub rollouts: Vec<usize>,
    /// The ranks of its rollouts before, from 1 for the highest reward; equal rewards share the
    /// better rank. `None` for a rollout without a reward.
    pub before: Vec<Option<usize>>,
    /// The ranks after.
    pub after: Vec<Option<usize>>,
}

impl GroupRanks {
    /// True if a rank differs.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.before != self.after
    }
}

/// The ranks within groups, by the order of the groups' first rollouts. A rollout without a group
/// is left out, and so is one that is beyond the end of a list.
#[must_use]
pub fn group_ranks(
    groups: &[Option<GroupId>],
    before: &[Option<f64>],
    after: &[Option<f64>],
) -> Vec<GroupRanks> {
    let mut places: HashMap<&GroupId, usize> = HashMap::new();
    let mut members: Vec<(&GroupId, Vec<usize>)> = Vec::new();
    for (index, group) in groups.iter().enumerate().take(before.len().min(after.len())) {
        let Some(group) = group else { continue };
        let place = *places.entry(group).or_insert_with(|| {
            members.push((group, Vec::new()));
            members.len() - 1
        });
        if let Some((_, members)) = members.get_mut(place) {
            members.push(index);
        }
    }
    let of = |rewards: &[Option<f64>], members: &[usize]| {
        let own: Vec<_> =
            members.iter().map(|index| rewards.get(*index).copied().flatten()).collect();
        ranks(&own)
    };
    members
        .into_iter()
        .map(|(group, rollouts)| GroupRanks {
            group: group.clone(),
            before: of(before, &rollouts),
            after: of(after, &rollouts),
            rollouts,
        })
        .collect()
}

/// The rank of each reward, from 1 for the highest. Equal rewards share the better rank.
fn ranks(rewards: &[Option<f64>]) -> Vec<Option<usize>> {
    let mut sorted: Vec<f64> = rewards.iter().copied().flatten().collect();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let rank = |reward: f64| sorted.partition_point(|other| other.total_cmp(&reward).is_gt()) + 1;
    rewards.iter().map(|reward| reward.map(rank)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(json: &str) -> RolloutResult {
        serde_json::from_str(json).unwrap()
    }

    fn judged(points: i32, reward: f64) -> RolloutResult {
        stored(&format!(
            r#"{{"id": "a", "reward": {reward}, "turns": [{{"index": 1, "reward": {reward},
            "enhancement": {points}, "rm": {{"score": 2, "raw": 2, "tokens": 3, "truncated": false}},
            "judge": {{"points": {points}, "criteria": [], "cached": true, "model": "m"}},
            "abstained": []}}]}}"#
        ))
    }

    fn set(points: i32) -> impl FnMut(&mut TurnResult) -> Result<(), String> {
        move |turn| {
            turn.judge.as_mut().ok_or("no judge")?.points = Finite::from(points);
            Ok(())
        }
    }

    #[test]
    fn an_edit_of_a_part_changes_the_reward_as_the_fusion_says() {
        let fusion = FusionConfig::default();
        let before = judged(-20, 1.6);
        assert_eq!(recompute(&before, &fusion, set(-50)), Ok(Finite::new(1.0).ok()));
        assert_eq!(recompute(&before, &fusion, |_| Ok(())), Ok(before.reward));
        let failed = recompute(&before, &fusion, |_| Err("no level".to_owned())).unwrap_err();
        assert_eq!(failed.to_string(), "turn 1: no level");
    }

    #[test]
    fn a_reward_that_its_parts_do_not_make_is_not_recomputed() {
        let before = judged(-20, 1.7);
        let error = recompute(&before, &FusionConfig::default(), set(0)).unwrap_err();
        assert!(error.detail.contains("do not make its reward"), "{error}");
    }

    #[test]
    fn a_turn_that_abstained_without_a_reward_keeps_none() {
        let mut before = judged(-20, 1.6);
        before.turns[0].reward = None;
        let why = r#"{"source": "judge", "why": "malformed", "detail": "d"}"#;
        before.turns[0].abstained = vec![serde_json::from_str(why).unwrap()];
        assert_eq!(recompute(&before, &FusionConfig::default(), set(0)), Ok(None));
    }

    #[test]
    fn ranks_are_within_groups_and_equal_rewards_share_one() {
        let group = |name: &str| Some(GroupId::from(name));
        let groups = [group("a"), group("b"), group("a"), None, group("a"), group("b")];
        let before = [Some(1.0), Some(5.0), Some(2.0), Some(9.0), None, Some(5.0)];
        let after = [Some(3.0), Some(5.0), Some(2.0), Some(0.0), None, Some(4.0)];
        let found = group_ranks(&groups, &before, &after);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].rollouts, [0, 2, 4]);
        assert_eq!(found[0].before, [Some(2), Some(1), None]);
        assert_eq!(found[0].after, [Some(1), Some(2), None]);
        assert_eq!(
            (&found[1].before[..], &found[1].after[..]),
            (&[Some(1), Some(1)][..], &[Some(1), Some(2)][..])
        );
        assert!(found.iter().all(GroupRanks::is_changed));
    }

    proptest! {
        #[test]
        fn a_rank_counts_the_better_rewards(rewards in prop::collection::vec(prop::option::of(-3..3i32), 0..20)) {
            let rewards: Vec<Option<f64>> = rewards.into_iter().map(|r| r.map(f64::from)).collect();
            for (rank, reward) in ranks(&rewards).into_iter().zip(&rewards) {
                let better = |own: f64| rewards.iter().flatten().filter(|one| **one > own).count();
                prop_assert_eq!(rank, reward.map(|own| better(own) + 1));
            }
        }
    }
}
