//! Groups whose rollouts were not scored by the same sources.
//!
//! A group-relative advantage compares the rewards of a prompt's samples. If the judge answered
//! for one sample and not for another, their difference says more about the judge's availability
//! than about the samples.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    AbstainEffect, GroupId, IncomparableGroup, MissingSource, RolloutId, RolloutResult, SourceId,
    TurnResult, Word,
};

/// Compares the sources of the rollouts of each group.
///
/// Only rollouts with a reward are compared: one without a reward is not part of any mean. A group
/// is comparable if the same sources abstained on all of them in the same way, which includes that
/// none did. Whole abstentions are alike; abstentions in part are alike if they concern the same
/// rules, or else give the same reason. A source that abstained on some turns of a rollout must
/// have abstained on the same turns of the others. A group with one rewarded rollout is comparable.
///
/// ```
/// use guerdon_types::{GroupComparison, GroupId, RolloutResult};
///
/// let json = r#"{"id": "a", "reward": 1, "turns": [{"index": 1, "reward": 1, "enhancement": 1,
///     "abstained": [{"source": "judge", "why": "deadline", "detail": "too late"}]}]}"#;
/// let without_judge: RolloutResult = serde_json::from_str(json)?;
/// let complete: RolloutResult =
///     serde_json::from_str(r#"{"id": "b", "reward": 1, "turns": []}"#)?;
/// let mut comparison = GroupComparison::default();
/// comparison.add(0, &GroupId::from("prompt-3"), &without_judge);
/// comparison.add(1, &GroupId::from("prompt-3"), &complete);
/// let groups = comparison.finish();
/// assert_eq!(groups[0].missing[0].source.as_str(), "judge");
/// assert_eq!(groups[0].missing[0].rollout.as_str(), "a");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct GroupComparison {
    groups: HashMap<GroupId, ComparedGroup>,
}

/// The rollouts of one group that have a reward.
#[derive(Debug)]
struct ComparedGroup {
    /// The lowest index of a rollout.
    first: usize,
    rewarded: usize,
    /// The rollouts that lack a source, with their indices.
    lacking: Vec<(usize, RolloutId, Absences)>,
}

/// The sources that a rollout lacks, with the way in which each is absent.
type Absences = BTreeMap<SourceId, Absence>;

/// The absence of one source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Absence {
    /// The places of the turns among the scored ones. Empty if it is all of them, so that dialogues
    /// of different lengths are alike.
    turns: Vec<usize>,
    forms: BTreeSet<AbsenceForm>,
}

/// The missing share of a source's signal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum AbsenceForm {
    Whole,
    /// A rule that could not be decided: pack and rule.
    Rule(String, String),
    /// Another part, by the reason.
    Part(String),
}

impl GroupComparison {
    /// Adds the result of rollout `index`, which belongs to `group`. Results may come in any order.
    pub fn add(&mut self, index: usize, group: &GroupId, result: &RolloutResult) {
        if result.reward.is_none() {
            return;
        }
        let fresh = || ComparedGroup { first: index, rewarded: 0, lacking: Vec::new() };
        let group = match self.groups.get_mut(group) {
            Some(group) => group,
            None => self.groups.entry(group.clone()).or_insert_with(fresh),
        };
        group.first = group.first.min(index);
        group.rewarded += 1;
        let absences = absences(&result.turns);
        if !absences.is_empty() {
            group.lacking.push((index, result.id.clone(), absences));
        }
    }

    /// The groups that are not comparable, in the order of the request.
    #[must_use]
    pub fn finish(self) -> Vec<IncomparableGroup> {
        let mut found: Vec<_> = self
            .groups
            .into_iter()
            .filter_map(|(id, group)| Some((group.first, group.missing()?, id)))
            .collect();
        found.sort_unstable_by_key(|(first, ..)| *first);
        found
            .into_iter()
            .map(|(_, missing, id)| IncomparableGroup { id, comparable: false, missing })
            .collect()
    }
}

impl ComparedGroup {
    /// The sources in which the rollouts differ; `None` if the group is comparable.
    fn missing(mut self) -> Option<Vec<MissingSource>> {
        self.lacking.sort_unstable_by_key(|(index, ..)| *index);
        let shared: Absences = match self.lacking.split_first() {
            Some(((.., first), others)) if self.lacking.len() == self.rewarded => {
                let is_shared = |source: &SourceId, absence: &Absence| {
                    others.iter().all(|(.., other)| other.get(source) == Some(absence))
                };
                let shared = first.iter().filter(|(source, absence)| is_shared(source, absence));
                shared.map(|(source, absence)| (source.clone(), absence.clone())).collect()
            }
            _ => Absences::new(),
        };
        let missing: Vec<_> = self
            .lacking
            .into_iter()
            .flat_map(|(_, rollout, absences)| {
                let missing = absences.into_keys().filter(|source| !shared.contains_key(source));
                missing
                    .map(move |source| MissingSource { source, rollout: rollout.clone() })
                    .collect::<Vec<_>>()
            })
            .collect();
        (!missing.is_empty()).then_some(missing)
    }
}

fn absences(turns: &[TurnResult]) -> Absences {
    let mut absences = Absences::new();
    for (place, turn) in turns.iter().enumerate() {
        // The worst verdict stands for the missing one, and an audit changes no reward.
        let uncounted =
            [AbstainEffect::Worst, AbstainEffect::Audit].map(|effect| Some(Word::Known(effect)));
        for abstention in turn.abstained.iter().filter(|one| !uncounted.contains(&one.effect)) {
            let absence = absences.entry(abstention.source.clone()).or_default();
            if absence.turns.last() != Some(&place) {
                absence.turns.push(place);
            }
            // What the whole group lost is no difference, whatever else a rollout lacks.
            if abstention.effect == Some(Word::Known(AbstainEffect::Dropped)) {
                absence.forms.insert(AbsenceForm::Part(abstention.detail.clone()));
            } else {
                absence.forms.extend(forms(turn, &abstention.source, &abstention.detail));
            }
        }
    }
    for absence in absences.values_mut() {
        if absence.turns.len() == turns.len() {
            absence.turns.clear();
        }
    }
    absences
}

/// The missing share of `source` on `turn`.
fn forms(turn: &TurnResult, source: &SourceId, detail: &str) -> Vec<AbsenceForm> {
    let answered = turn.parts.contains_key(source)
        || match source.as_str() {
            "rm" => turn.rm.is_some(),
            "judge" => turn.judge.is_some(),
            "rules" => turn.rules.is_some(),
            _ => turn.other.contains_key(source),
        };
    let undecided = match &turn.rules {
        Some(rules) if *source == SourceId::rules() => &rules.abstained[..],
        _ => &[],
    };
    match (answered, undecided) {
        (false, _) => vec![AbsenceForm::Whole],
        (true, []) => vec![AbsenceForm::Part(detail.to_owned())],
        (true, rules) => rules
            .iter()
            .filter(|rule| !rule.shadow)
            .map(|rule| AbsenceForm::Rule(rule.pack.clone(), rule.rule.clone()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{AbstainWhy, Abstention, Finite, JudgePart, RuleAbstention, RulesPart};

    /// A way in which judge or rules are absent from a turn.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Gap {
        None,
        Judge,
        JudgeInPart,
        Rule(usize),
    }

    fn turn(index: usize, gap: Gap) -> TurnResult {
        let judge = JudgePart {
            points: Finite::ONE,
            criteria: Vec::new(),
            cached: false,
            model: "m".into(),
            group: None,
            asked: BTreeMap::new(),
        };
        let mut turn = TurnResult {
            index,
            reward: Some(Finite::ONE),
            enhancement: None,
            rm: None,
            judge: Some(judge),
            rules: Some(RulesPart::default()),
            other: BTreeMap::new(),
            abstained: Vec::new(),
            parts: BTreeMap::new(),
            verdict: None,
            beside: None,
        };
        let abstention =
            |source: &str| Abstention::new(source.into(), AbstainWhy::Deadline, format!("{index}"));
        match gap {
            Gap::None => {}
            Gap::Judge => {
                turn.judge = None;
                turn.abstained.push(abstention("judge"));
            }
            Gap::JudgeInPart => turn.abstained.push(Abstention::new(
                SourceId::judge(),
                AbstainWhy::Malformed,
                "prompt `p`",
            )),
            Gap::Rule(rule) => {
                let undecided = RuleAbstention {
                    pack: "p".into(),
                    rule: rule.to_string(),
                    detail: format!("at {index}"),
                    shadow: false,
                };
                turn.rules = Some(RulesPart { abstained: vec![undecided], ..RulesPart::default() });
                turn.abstained.push(abstention("rules"));
            }
        }
        turn
    }

    fn result(id: &str, gaps: &[Gap]) -> RolloutResult {
        let turns = gaps.iter().enumerate().map(|(index, gap)| turn(2 * index + 1, *gap));
        RolloutResult {
            id: id.into(),
            reward: Some(Finite::ONE),
            advantage: None,
            turns: turns.collect(),
            error: None,
        }
    }

    fn missing(rollouts: &[&[Gap]]) -> Vec<(String, String)> {
        let mut comparison = GroupComparison::default();
        for (index, gaps) in rollouts.iter().enumerate().rev() {
            comparison.add(index, &"g".into(), &result(&index.to_string(), gaps));
        }
        let groups = comparison.finish();
        assert!(groups.iter().all(|group| !group.comparable && !group.missing.is_empty()));
        let pair =
            |missing: MissingSource| (missing.rollout.to_string(), missing.source.to_string());
        groups.into_iter().flat_map(|group| group.missing).map(pair).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn rollouts_that_lack_the_same_are_comparable() {
        use Gap::{Judge, JudgeInPart, None, Rule};
        for same in [
            &[&[None][..], &[None, None]][..],
            &[&[Judge], &[Judge, Judge]],
            &[&[JudgeInPart], &[JudgeInPart]],
            &[&[Rule(1)], &[Rule(1), Rule(1)]],
            &[&[None, Judge], &[None, Judge]],
            &[&[Judge]],
        ] {
            assert_eq!(missing(same), [], "{same:?}");
        }
    }

    #[test]
    fn rollouts_that_lack_something_else_are_named_with_the_source() {
        use Gap::{Judge, JudgeInPart, None, Rule};
        for (rollouts, wanted) in [
            (&[&[None][..], &[Judge]][..], &[("1", "judge")][..]),
            (&[&[Judge], &[None], &[Judge]], &[("0", "judge"), ("2", "judge")]),
            (&[&[Judge], &[JudgeInPart]], &[("0", "judge"), ("1", "judge")]),
            (&[&[Rule(1)], &[Rule(2)]], &[("0", "rules"), ("1", "rules")]),
            (&[&[Rule(1)], &[Judge]], &[("0", "rules"), ("1", "judge")]),
            (&[&[Judge, None], &[None, Judge]], &[("0", "judge"), ("1", "judge")]),
            (&[&[Judge, None], &[Judge]], &[("0", "judge"), ("1", "judge")]),
        ] {
            assert_eq!(missing(rollouts), pairs(wanted), "{rollouts:?}");
        }
    }

    #[test]
    fn only_the_source_that_differs_is_named() {
        let mut both = result("0", &[Gap::Judge]);
        both.turns[0] = turn(1, Gap::Rule(1));
        both.turns[0].judge = None;
        both.turns[0].abstained.extend(turn(1, Gap::Judge).abstained);
        let mut comparison = GroupComparison::default();
        comparison.add(0, &"g".into(), &both);
        comparison.add(1, &"g".into(), &result("1", &[Gap::Judge]));
        let found = comparison.finish();
        let wanted = MissingSource { source: SourceId::rules(), rollout: "0".into() };
        assert_eq!(found[0].missing, [wanted]);
    }

    #[test]
    fn rollout_without_a_reward_is_not_compared() {
        let mut comparison = GroupComparison::default();
        let unscored = RolloutResult { reward: None, ..result("0", &[Gap::Judge]) };
        comparison.add(0, &"g".into(), &unscored);
        comparison.add(1, &"g".into(), &result("1", &[Gap::None]));
        comparison.add(2, &"g".into(), &result("2", &[Gap::None]));
        assert_eq!(comparison.finish(), []);
    }

    fn any_gap() -> impl Strategy<Value = Gap> {
        prop_oneof![
            3 => Just(Gap::None),
            1 => Just(Gap::Judge),
            1 => Just(Gap::JudgeInPart),
            1 => (0..2usize).prop_map(Gap::Rule),
        ]
    }

    proptest! {
        /// For rollouts of one turn: comparable means that all gaps are equal, and every rollout
        /// with a gap is named otherwise. The order of arrival does not matter, and neither does
        /// another group.
        #[test]
        fn single_turns_are_comparable_exactly_if_their_gaps_are_equal(
            gaps in prop::collection::vec(any_gap(), 1..6),
            others in prop::collection::vec(any_gap(), 0..4),
            order in Just((0..10usize).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut comparison = GroupComparison::default();
            for index in order {
                let (group, gap) = match (gaps.get(index), index.checked_sub(gaps.len())) {
                    (Some(gap), _) => ("g", gap),
                    (None, Some(place)) if place < others.len() => ("h", &others[place]),
                    _ => continue,
                };
                comparison.add(index, &group.into(), &result(&index.to_string(), &[*gap]));
            }
            let found = comparison.finish();
            let of_g = found.iter().find(|group| group.id.as_str() == "g");
            let named: Vec<String> = of_g
                .iter()
                .flat_map(|group| &group.missing)
                .map(|missing| missing.rollout.to_string())
                .collect();
            let equal = gaps.iter().all(|gap| *gap == gaps[0]);
            let wanted: Vec<String> = (0..gaps.len())
                .filter(|index| !equal && gaps[*index] != Gap::None)
                .map(|index| index.to_string())
                .collect();
            prop_assert_eq!(named, wanted);
        }
    }
}
