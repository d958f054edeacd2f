//! The list of all parts of a run, written when the last one is there.

use anyhow::Context as _;
use guerdon_parquet::{FileEnd, read_layout};
use serde::Serialize;

use super::place::{Creation, Place};
use super::plan::{ListedRange, Plan};
use super::record::RunRecord;
use crate::output::errln;

const NAME: &str = "_manifest.json";

/// Bytes at the end of a part that are read first.
const TAIL: u64 = 64 << 10;

#[derive(Serialize)]
struct Manifest<'a> {
    run: &'a RunRecord,
    rollouts: u64,
    unscored: u64,
    parts: Vec<ListedPart<'a>>,
}

#[derive(Serialize)]
struct ListedPart<'a> {
    name: String,
    input: ListedRange<'a>,
    rollouts: u64,
    unscored: u64,
    bytes: u64,
}

/// Writes the manifest. One that is there lists the same parts.
///
/// # Errors
/// A part cannot be read, or the manifest cannot be written.
pub(super) fn write(output: &Place, plan: &Plan, run: &RunRecord) -> anyhow::Result<()> {
    let parts = (0..plan.ranges.len()).map(|place| {
        let name = plan.part_name(place);
        let listed = part(output, plan, place, &name);
        listed.with_context(|| format!("cannot read {}/{name}", output.name()))
    });
    let parts: Vec<ListedPart<'_>> = parts.collect::<anyhow::Result<_>>()?;
    let sum = |count: fn(&ListedPart<'_>) -> u64| parts.iter().map(count).sum();
    let (rollouts, unscored) = (sum(|part| part.rollouts), sum(|part| part.unscored));
    let count = parts.len();
    let mut text = serde_json::to_vec_pretty(&Manifest { run, rollouts, unscored, parts })?;
    text.push(b'\n');
    let created = output.create(NAME, &text)?;
    let what = if created == Creation::New { "is written" } else { "was there" };
    errln!(
        "all {count} parts are complete: {rollouts} rollouts, {unscored} without a reward; {}/{NAME} {what}",
        output.name()
    );
    Ok(())
}

fn part<'a>(
    output: &Place,
    plan: &'a Plan,
    place: usize,
    name: &str,
) -> anyhow::Result<ListedPart<'a>> {
    let mut length = TAIL;
    let (layout, bytes) = loop {
        let (tail, size) = output.tail(name, length)?;
        match read_layout(&tail, size)? {
            FileEnd::Layout(layout) => break (layout, size),
            FileEnd::Needs(needed) => {
                anyhow::ensure!(needed as u64 > length, "its end is damaged");
                length = needed as u64;
            }
        }
    };
    let number = |note: &str| -> anyhow::Result<u64> {
        let text = layout.notes.get(note).with_context(|| format!("it has no note `{note}`"))?;
        Ok(text.parse()?)
    };
    Ok(ListedPart {
        input: plan.listed(place).context("there is no such range")?,
        rollouts: number("guerdon.rollouts")?,
        unscored: number("guerdon.unscored")?,
        bytes,
        name: name.to_owned(),
    })
}
