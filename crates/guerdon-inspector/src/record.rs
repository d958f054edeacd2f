//! One scored rollout with everything that a page shows about it.

use std::sync::Arc;

use guerdon_types::{Context, Message, Rollout, RolloutResult, ScoreTurns, SourceRole, Versions};
use serde_json::Value;

/// A scored rollout: the result as it was sent, and what was stored beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The place in the store, unique and ascending in the order of recording.
    pub key: i64,
    /// The labels.
    pub labels: Labels,
    /// The dialogue. `None` if the store keeps no texts, or if the file has none.
    pub messages: Option<Vec<Message>>,
    /// The facts for rules and judge. Empty if the store keeps no texts.
    pub context: Context,
    /// The tools that the policy could call. Empty if the store keeps no texts.
    pub tools: Vec<Value>,
    /// The result, with the parts of every scored turn.
    pub result: RolloutResult,
    /// The versions that made the result, if they are stored.
    pub versions: Option<Arc<Versions>>,
    /// The cost of the judge's calls, if it is stored.
    pub cost: Option<f64>,
    /// The number of the judge's calls, if it is stored.
    pub judge_calls: Option<u64>,
}

/// The labels of a rollout: its group, run, step and configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    /// The group: samples of one prompt.
    pub group: Option<String>,
    /// The run.
    pub run: Option<String>,
    /// The step of the run.
    pub step: Option<i64>,
    /// The split, such as `train`.
    pub split: Option<String>,
    /// The profile.
    pub profile: Option<String>,
    /// The digest of everything that shaped the reward.
    pub digest: Option<String>,
    /// The generation of the server's configuration.
    pub generation: Option<u64>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// The time of recording, in milliseconds since 1970.
    pub recorded_ms: Option<i64>,
}

impl Record {
    /// The rollout as a source reads it. `None` if the dialogue is not there.
    #[must_use]
    pub fn rollout(&self) -> Option<Rollout> {
        let turns: Vec<usize> = self.result.turns.iter().map(|turn| turn.index).collect();
        Some(Rollout {
            id: Some(self.result.id.clone()),
            messages: self.messages.clone()?,
            context: self.context.clone(),
            tools: self.tools.clone(),
            score: if turns.is_empty() { ScoreTurns::Unsaid } else { ScoreTurns::Indices(turns) },
            ..Rollout::default()
        })
    }

    /// The length of the scored replies, if the dialogue is there.
    fn length(&self) -> Option<u64> {
        let messages = self.messages.as_ref()?;
        let replies = self.result.turns.iter().filter_map(|turn| messages.get(turn.index));
        Some(replies.map(|message| message.content.chars().count() as u64).sum())
    }

    /// The short form of this record, for lists and summaries.
    #[must_use]
    pub fn row(&self) -> Row {
        let turns = &self.result.turns;
        let mut parts: Vec<RowPart> = Vec::new();
        let mut components = Vec::new();
        let (mut clipped, mut dead, mut vetoed) = (false, false, false);
        for turn in turns {
            let sources = crate::turn_sources::turn_sources(turn);
            let base = crate::turn_sources::base(&sources);
            let points = crate::turn_sources::points(&sources);
            if let Some(enhancement) = turn.enhancement {
                clipped |= (points - enhancement.get()).abs() > 1e-9;
            }
            if let (Some(base), Some(reward)) = (base, turn.reward) {
                dead |= points.abs() > 1e-12 && (reward.get() - base).abs() <= 1e-12;
            }
            for source in &sources {
                for (name, value) in &source.components {
                    add_component(&mut components, format!("{}: {name}", source.name), *value);
                }
                vetoed |= source.veto;
                let part = RowPart {
                    source: source.name.clone(),
                    value: Some(source.value),
                    reason: None,
                };
                add(&mut parts, part);
            }
            for abstention in &turn.abstained {
                let part = RowPart {
                    source: abstention.source.to_string(),
                    value: None,
                    reason: Some(abstention.why.as_str().to_owned()),
                };
                parts.push(part);
            }
        }
        Row {
            key: self.key,
            rollout: self.result.id.to_string(),
            labels: self.labels.clone(),
            reward: self.result.reward.map(guerdon_types::Finite::get),
            advantage: self.result.advantage.map(guerdon_types::Finite::get),
            error: self.result.error.as_ref().map(|error| error.code.as_str().to_owned()),
            turns: turns.len(),
            parts,
            audits: audits(turns),
            clipped,
            dead,
            vetoed,
            components,
            length: self.length(),
        }
    }
}

/// The names of the sources that audit.
fn audits(turns: &[guerdon_types::TurnResult]) -> Vec<String> {
    let parts = turns.iter().flat_map(|turn| &turn.parts);
    let audits = parts.filter(|(_, part)| part.role() == Some(SourceRole::Audit));
    let mut names: Vec<String> = audits.map(|(source, _)| source.to_string()).collect();
    names.dedup();
    names
}

/// Adds a number to the component of this name.
pub(crate) fn add_component(components: &mut Vec<(String, f64)>, name: String, value: f64) {
    match components.iter_mut().find(|(known, _)| *known == name) {
        Some((_, sum)) => *sum += value,
        None => components.push((name, value)),
    }
}

/// Adds the numbers of one source over the turns of a rollout.
fn add(parts: &mut Vec<RowPart>, part: RowPart) {
    let same = parts.iter_mut().find(|one| one.source == part.source && one.reason.is_none());
    match (same, part.value) {
        (Some(RowPart { value: Some(sum), .. }), Some(value)) => *sum += value,
        _ => parts.push(part),
    }
}

/// The short form of a scored rollout.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// As in [`Record`].
    pub key: i64,
    /// The id of the rollout.
    pub rollout: String,
    /// The labels.
    pub labels: Labels,
    /// The reward; `None` if it could not be made.
    pub reward: Option<f64>,
    /// The advantage, if one was asked for.
    pub advantage: Option<f64>,
    /// The code of the problem of a rollout without a reward.
    pub error: Option<String>,
    /// The number of scored turns.
    pub turns: usize,
    /// The sums of each source over the turns, and the abstentions.
    pub parts: Vec<RowPart>,
    /// True if the points of a turn exceeded the bound of the fusion.
    pub clipped: bool,
    /// True if the points of a turn changed nothing, because its base was 0.
    pub dead: bool,
    /// True if a part had a veto.
    pub vetoed: bool,
    /// The rules (`rules: pack/rule`), criteria and other numbers behind the parts, summed over the
    /// turns. Shadow rules are left out.
    pub components: Vec<(String, f64)>,
    /// The names of the sources among them that audit: they are never fused.
    pub audits: Vec<String>,
    /// The length of the scored replies, in Unicode scalar values.
    pub length: Option<u64>,
}

/// The number of a source on one rollout, or its abstention.
#[derive(Debug, Clone, PartialEq)]
pub struct RowPart {
    /// The source.
    pub source: String,
    /// The sum over the turns; `None` for an abstention.
    pub value: Option<f64>,
    /// The reason of the abstention.
    pub reason: Option<String>,
}
