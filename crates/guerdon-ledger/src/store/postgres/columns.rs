//! The rows of a batch as columns, which one statement for each table inserts.

use std::collections::{BTreeMap, BTreeSet};

use crate::flat::{PartRow, TurnRow};
use crate::prepare::PreparedRollout;
use crate::sums::{SumKey, Sums};

/// The ids of names.
pub(super) type Names = BTreeMap<String, i64>;

/// The names of a batch.
pub(super) fn names(batch: &[PreparedRollout]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut add = |name: &str| {
        names.insert(text(name));
    };
    for rollout in batch {
        let labels = &rollout.record.labels;
        let versions = &rollout.versions;
        let own = [&labels.run, &labels.split, &rollout.error, &versions.digest];
        own.into_iter().flatten().for_each(|name| add(name));
        add(&versions.profile);
        for (source, part) in rollout.turns.iter().flat_map(|turn| &turn.parts) {
            add(source);
            [&part.kind, &part.why, &part.reason].into_iter().flatten().for_each(|name| add(name));
            part.components.keys().for_each(|(component, _)| add(component));
        }
    }
    names
}

/// A text without the character that the database refuses.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

pub(super) fn id(names: &Names, name: &str) -> Option<i64> {
    names.get(&text(name)).copied()
}

fn optional(names: &Names, name: Option<&String>) -> Option<i64> {
    id(names, name?)
}

fn integer(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The columns of `rollouts`.
#[derive(Debug, Default)]
pub(super) struct RolloutColumns {
    pub(super) recorded_ms: Vec<i64>,
    pub(super) request_id: Vec<String>,
    pub(super) rollout: Vec<String>,
    pub(super) group_name: Vec<Option<String>>,
    pub(super) attempt: Vec<Option<i64>>,
    pub(super) sample: Vec<Option<i64>>,
    pub(super) run: Vec<Option<i64>>,
    pub(super) step: Vec<Option<i64>>,
    pub(super) split: Vec<Option<i64>>,
    pub(super) profile: Vec<Option<i64>>,
    pub(super) versions: Vec<Option<i64>>,
    pub(super) digest: Vec<Option<i64>>,
    pub(super) reward: Vec<Option<f64>>,
    pub(super) advantage: Vec<Option<f64>>,
    pub(super) error: Vec<Option<i64>>,
    pub(super) cost: Vec<f64>,
    pub(super) judge_calls: Vec<i64>,
    pub(super) scoring_ms: Vec<Option<f64>>,
    pub(super) dialogue_hash: Vec<Option<Vec<u8>>>,
    pub(super) dialogue: Vec<Option<Vec<u8>>>,
    pub(super) result: Vec<Vec<u8>>,
}

/// The columns of `turns`, `parts` and `components`.
#[derive(Debug, Default)]
pub(super) struct TurnColumns {
    pub(super) turns: TurnTable,
    pub(super) parts: PartTable,
    pub(super) components: ComponentTable,
}

#[derive(Debug, Default)]
pub(super) struct TurnTable {
    pub(super) rollout: Vec<i64>,
    pub(super) turn: Vec<i64>,
    pub(super) reward: Vec<Option<f64>>,
    pub(super) enhancement: Vec<Option<f64>>,
    pub(super) length: Vec<Option<i64>>,
}

#[derive(Debug, Default)]
pub(super) struct PartTable {
    pub(super) rollout: Vec<i64>,
    pub(super) turn: Vec<i64>,
    pub(super) source: Vec<Option<i64>>,
    pub(super) kind: Vec<Option<i64>>,
    pub(super) value: Vec<Option<f64>>,
    pub(super) term: Vec<Option<f64>>,
    pub(super) uncertainty: Vec<Option<f64>>,
    pub(super) veto: Vec<i64>,
    pub(super) why: Vec<Option<i64>>,
    pub(super) reason: Vec<Option<i64>>,
}

#[derive(Debug, Default)]
pub(super) struct ComponentTable {
    pub(super) rollout: Vec<i64>,
    pub(super) turn: Vec<i64>,
    pub(super) source: Vec<Option<i64>>,
    pub(super) name: Vec<Option<i64>>,
    pub(super) shadow: Vec<i64>,
    pub(super) value: Vec<f64>,
}

impl RolloutColumns {
    /// The columns of a batch. `versions` has the ids of versions by their hash.
    pub(super) fn of(
        batch: Vec<PreparedRollout>,
        names: &Names,
        versions: &BTreeMap<String, i64>,
    ) -> (Self, Vec<Vec<TurnRow>>) {
        let (mut columns, mut turns) = (Self::default(), Vec::with_capacity(batch.len()));
        for rollout in batch {
            let PreparedRollout { record, group, error, turns: own, versions: version, .. } =
                rollout;
            let labels = &record.labels;
            columns.recorded_ms.push(record.recorded_ms);
            columns.request_id.push(text(&record.request_id));
            columns.rollout.push(text(&record.rollout));
            columns.group_name.push(group.as_deref().map(text));
            columns.attempt.push(record.attempt.map(i64::from));
            columns.sample.push(record.sample.map(i64::from));
            columns.run.push(optional(names, labels.run.as_ref()));
            columns.step.push(labels.step.and_then(|step| i64::try_from(step).ok()));
            columns.split.push(optional(names, labels.split.as_ref()));
            columns.profile.push(id(names, &version.profile));
            columns.versions.push(versions.get(&version.hash).copied());
            columns.digest.push(optional(names, version.digest.as_ref()));
            columns.reward.push(record.reward);
            columns.advantage.push(record.advantage);
            columns.error.push(optional(names, error.as_ref()));
            columns.cost.push(record.cost);
            columns.judge_calls.push(i64::try_from(record.judge_calls).unwrap_or(i64::MAX));
            columns.scoring_ms.push(record.scoring_ms);
            columns.dialogue_hash.push(rollout.dialogue_hash);
            columns.dialogue.push(rollout.dialogue);
            columns.result.push(rollout.result);
            turns.push(own);
        }
        (columns, turns)
    }

    /// The sums of the batch.
    pub(super) fn sums(&self, turns: &[Vec<TurnRow>], names: &Names) -> Sums {
        let mut sums = Sums::default();
        for (place, turns) in turns.iter().enumerate() {
            let key = self.key(place);
            let ms = self.recorded_ms.get(place).copied().unwrap_or_default();
            let reward = self.reward.get(place).copied().flatten();
            let cost = self.cost.get(place).copied().unwrap_or_default();
            sums.rewards.entry(key).or_default().add(reward, cost, ms);
            for (source, part) in turns.iter().flat_map(|turn| &turn.parts) {
                let source = id(names, source).unwrap_or_default();
                sums.sources.entry((key, source)).or_default().add(part, ms);
            }
        }
        sums
    }

    fn key(&self, place: usize) -> SumKey {
        let of =
            |column: &[Option<i64>], none| column.get(place).copied().flatten().unwrap_or(none);
        SumKey {
            run: of(&self.run, 0),
            step: of(&self.step, -1),
            split: of(&self.split, 0),
            profile: of(&self.profile, 0),
            digest: of(&self.digest, 0),
        }
    }
}

impl TurnColumns {
    /// The columns of the turns of rollouts with these ids.
    pub(super) fn of(ids: &[i64], turns: &[Vec<TurnRow>], names: &Names) -> Self {
        let mut columns = Self::default();
        for (rollout, turns) in ids.iter().zip(turns) {
            for row in turns {
                let turn = integer(row.turn);
                columns.turns.rollout.push(*rollout);
                columns.turns.turn.push(turn);
                columns.turns.reward.push(row.reward);
                columns.turns.enhancement.push(row.enhancement);
                columns.turns.length.push(row.length.map(integer));
                for (source, part) in &row.parts {
                    columns.part((*rollout, turn, id(names, source)), part, names);
                }
            }
        }
        columns
    }

    fn part(
        &mut self,
        (rollout, turn, source): (i64, i64, Option<i64>),
        part: &PartRow,
        names: &Names,
    ) {
        self.parts.rollout.push(rollout);
        self.parts.turn.push(turn);
        self.parts.source.push(source);
        self.parts.kind.push(optional(names, part.kind.as_ref()));
        self.parts.value.push(part.value);
        self.parts.term.push(part.term);
        self.parts.uncertainty.push(part.uncertainty);
        self.parts.veto.push(i64::from(part.veto));
        self.parts.why.push(optional(names, part.why.as_ref()));
        self.parts.reason.push(optional(names, part.reason.as_ref()));
        for ((component, shadow), value) in &part.components {
            self.components.rollout.push(rollout);
            self.components.turn.push(turn);
            self.components.source.push(source);
            self.components.name.push(id(names, component));
            self.components.shadow.push(i64::from(*shadow));
            self.components.value.push(*value);
        }
    }
}
