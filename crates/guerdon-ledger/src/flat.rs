//! The rows of one rollout: its turns, the parts of their sources, and the components of these.

use std::collections::BTreeMap;

use guerdon_types::{Abstention, Finite, RolloutResult, SourceKind, TurnResult, Vocabulary as _};

/// The longest name that is stored, in characters. Functions name their components themselves.
const MAX_NAME: usize = 200;

/// The row of a turn, with those below it.
#[derive(Debug, PartialEq)]
pub(crate) struct TurnRow {
    pub(crate) turn: usize,
    pub(crate) reward: Option<f64>,
    pub(crate) enhancement: Option<f64>,
    /// The length of the reply in Unicode scalar values.
    pub(crate) length: Option<usize>,
    pub(crate) parts: BTreeMap<String, PartRow>,
}

/// The row of a source's answer on a turn.
#[derive(Debug, PartialEq, Default)]
pub(crate) struct PartRow {
    pub(crate) kind: Option<String>,
    pub(crate) value: Option<f64>,
    /// The number as it enters the fusion, where it is known.
    pub(crate) term: Option<f64>,
    pub(crate) uncertainty: Option<f64>,
    pub(crate) veto: bool,
    pub(crate) why: Option<String>,
    pub(crate) reason: Option<String>,
    /// By name, and by true for a component that is not counted (a shadow rule).
    pub(crate) components: BTreeMap<(String, bool), f64>,
}

/// The rows of the turns of `result`. `length` has the length of a message's text.
pub(crate) fn turns(
    result: &RolloutResult,
    length: impl Fn(usize) -> Option<usize>,
) -> Vec<TurnRow> {
    let row = |turn: &TurnResult| TurnRow {
        turn: turn.index,
        reward: turn.reward.map(Finite::get),
        enhancement: turn.enhancement.map(Finite::get),
        length: length(turn.index),
        parts: parts(turn),
    };
    result.turns.iter().map(row).collect()
}

fn parts(turn: &TurnResult) -> BTreeMap<String, PartRow> {
    let mut rows = BTreeMap::new();
    legacy_parts(turn, &mut rows);
    for (source, part) in &turn.parts {
        let row: &mut PartRow = rows.entry(name(source.as_str())).or_default();
        row.kind = Some(part.kind.as_str().to_owned());
        row.value = Some(part.value.get());
        let number = part.normalised.unwrap_or(part.value).get();
        let term = number * part.weight.map_or(1.0, Finite::get);
        row.term = Some(term).filter(|term| term.is_finite());
        row.uncertainty = part.uncertainty.map(Finite::get);
        row.veto |= part.veto;
        for (component, value) in &part.components {
            row.components.insert((name(component), false), value.get());
        }
    }
    for abstention in &turn.abstained {
        let row = rows.entry(name(abstention.source.as_str())).or_default();
        abstain(row, abstention);
    }
    rows
}

/// The parts under the names `rm`, `judge` and `rules`, and those of external sources.
fn legacy_parts(turn: &TurnResult, rows: &mut BTreeMap<String, PartRow>) {
    let part = |kind: SourceKind, value: Finite| PartRow {
        kind: Some(kind.as_str().to_owned()),
        value: Some(value.get()),
        ..PartRow::default()
    };
    if let Some(rm) = &turn.rm {
        let mut row = part(SourceKind::Model, rm.score);
        for (objective, value) in &rm.objectives {
            row.add(objective, false, f64::from(*value));
        }
        rows.insert("rm".to_owned(), row);
    }
    if let Some(judge) = &turn.judge {
        let mut row = part(SourceKind::Judge, judge.points);
        for criterion in &judge.criteria {
            row.veto |= criterion.veto;
            let component = format!("{}/{}", criterion.prompt, criterion.id);
            row.add(&component, false, criterion.points.get());
        }
        rows.insert("judge".to_owned(), row);
    }
    if let Some(rules) = &turn.rules {
        let mut row = part(SourceKind::Rules, rules.points);
        let live = rules.hits.iter().map(|hit| (hit, false));
        for (hit, shadow) in live.chain(rules.shadow.iter().map(|hit| (hit, true))) {
            row.veto |= hit.veto && !shadow;
            row.add(&format!("{}/{}", hit.pack, hit.rule), shadow, hit.points.get());
        }
        rows.insert("rules".to_owned(), row);
    }
    for (source, other) in &turn.other {
        let mut row = part(SourceKind::External, other.points);
        row.veto = other.veto;
        row.uncertainty = other.uncertainty.map(Finite::get);
        for (component, value) in &other.components {
            row.add(component, false, value.get());
        }
        rows.insert(name(source.as_str()), row);
    }
}

/// Adds an abstention. A row has the first of a source; the result has all.
fn abstain(row: &mut PartRow, abstention: &Abstention) {
    if row.why.is_none() {
        row.why = Some(name(abstention.why.as_str()));
        row.reason = abstention.reason.as_ref().map(|reason| name(reason.as_str()));
    }
}

impl PartRow {
    fn add(&mut self, component: &str, shadow: bool, value: f64) {
        if value.is_finite() {
            *self.components.entry((name(component), shadow)).or_default() += value;
        }
    }
}

/// A name that is not longer than the ledger stores.
pub(crate) fn name(text: &str) -> String {
    guerdon_text::cut(text, MAX_NAME).into_owned()
}
