//! The values of one source over a reference set.

use std::collections::BTreeSet;

use anyhow::{bail, ensure};
use guerdon_fusion::Sample;
use guerdon_types::{Finite, TurnResult};

use super::rows::ReferenceRow;

/// The name of numbers of the caller's own.
const OWN: &str = "value";

/// The values of a source, before its normalisation.
#[derive(Debug)]
pub(super) struct SourceValues {
    pub(super) source: String,
    pub(super) samples: Vec<Sample>,
}

/// The values of the source called `asked`, or of the only one with values, or else of `rm`.
pub(super) fn of(
    rows: &[ReferenceRow],
    asked: Option<&str>,
    needs_lengths: bool,
) -> anyhow::Result<SourceValues> {
    let known: BTreeSet<String> = rows.iter().flat_map(names).collect();
    let list = || known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let source = match asked {
        Some(name) => name.to_owned(),
        None => match known.iter().next() {
            Some(only) if known.len() == 1 => only.clone(),
            Some(_) if known.contains("rm") => "rm".to_owned(),
            Some(_) => bail!("several sources have values: name one of {} with --source", list()),
            None => bail!("no source has a value on any turn"),
        },
    };
    let of_source: Vec<(f64, Option<usize>)> =
        rows.iter().filter_map(|row| value(row, &source)).collect();
    if of_source.is_empty() {
        if known.is_empty() {
            bail!("source `{source}` has no value on any turn");
        }
        bail!("source `{source}` has no value on any turn; there are values of {}", list());
    }
    let unknown = of_source.iter().filter(|(_, length)| length.is_none()).count();
    ensure!(
        !needs_lengths || unknown == 0,
        "the lengths of {unknown} of {} replies are unknown: name the file of the rollouts with \
         --rollouts, or give each value a `length`",
        of_source.len()
    );
    let sample = |(value, length): (f64, Option<usize>)| Sample {
        value,
        length: length.unwrap_or_default(),
    };
    Ok(SourceValues { source, samples: of_source.into_iter().map(sample).collect() })
}

/// The names of the sources with a value.
fn names(row: &ReferenceRow) -> Vec<String> {
    let ReferenceRow::Turn { turn, .. } = row else { return vec![OWN.to_owned()] };
    let shipped = [
        ("rm", turn.rm.is_some()),
        ("judge", turn.judge.is_some()),
        ("rules", turn.rules.is_some()),
    ];
    let shipped = shipped.into_iter().filter(|(_, is_there)| *is_there);
    let other = turn.other.keys().chain(turn.parts.keys()).map(ToString::to_string);
    let mut names: Vec<String> = shipped.map(|(name, _)| name.to_owned()).chain(other).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The value of a source, with the length of the reply.
fn value(row: &ReferenceRow, source: &str) -> Option<(f64, Option<usize>)> {
    match row {
        ReferenceRow::Number(number) => {
            (source == OWN && number.value.is_finite()).then_some((number.value, number.length))
        }
        ReferenceRow::Turn { turn, length } => Some((of_turn(turn, source)?, *length)),
    }
}

/// The value of a source on a turn, before its normalisation.
fn of_turn(turn: &TurnResult, source: &str) -> Option<f64> {
    let raw = match source {
        "rm" if turn.rm.is_some() => turn.rm.as_ref().map(|part| f64::from(part.raw)),
        "judge" if turn.judge.is_some() => turn.judge.as_ref().map(|part| part.points.get()),
        "rules" if turn.rules.is_some() => turn.rules.as_ref().map(|part| part.points.get()),
        other => {
            let named = turn.parts.iter().find(|(name, _)| name.as_str() == other);
            let external = turn.other.iter().find(|(name, _)| name.as_str() == other);
            let number = named.map(|(_, part)| part.value);
            number.or_else(|| external.map(|(_, part)| part.points)).map(Finite::get)
        }
    };
    raw.filter(|value| value.is_finite())
}
