//! `guerdon ledger`: lists, exports and removes recorded rollouts. The commands also work while a
//! server writes to the file.

mod export;
mod query;
pub(super) mod rescore;
mod row;

use std::path::Path;
use std::process::ExitCode;

use anyhow::ensure;
use guerdon_ledger::{LedgerReader, Retention, RolloutFilter, SqliteStore, StoredRollout, Texts};

use super::cache::age;
use crate::cli::{LedgerCommand, LedgerFilterArgs};
use crate::output::errln;

/// Rollouts that are read at once.
const PAGE: usize = 500;

pub(super) fn run(command: LedgerCommand) -> anyhow::Result<ExitCode> {
    match command {
        LedgerCommand::Query { ledger, filter, limit, json } => {
            let filter = RolloutFilter { newest_first: true, ..selection(&filter)? };
            query::run(&LedgerReader::open(&ledger)?, &filter, limit, json)?;
        }
        LedgerCommand::Export { ledger, filter, out } => {
            export::run(&LedgerReader::open(&ledger)?, &selection(&filter)?, out.as_deref())?;
        }
        LedgerCommand::Prune { ledger, filter, older_than, max_bytes, all } => {
            let mut filter = selection(&filter)?;
            filter.until_ms =
                older_than.as_deref().map(|age| ago("--older-than", age)).transpose()?;
            let is_selective = filter != RolloutFilter::default();
            ensure!(
                all || max_bytes.is_some() || is_selective,
                "select rollouts with --older-than 30d, --run NAME or another filter, or with --all"
            );
            ensure!(
                max_bytes.is_none() || !is_selective,
                "--max-bytes removes the oldest rollouts, whatever they are; leave the filters out"
            );
            let removed = prune(&ledger, &filter, max_bytes)?;
            errln!("{removed} rollouts removed");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn prune(ledger: &Path, filter: &RolloutFilter, max_bytes: Option<u64>) -> anyhow::Result<usize> {
    // Refuses a misspelt name, of which opening would make an empty ledger.
    LedgerReader::open(ledger)?;
    let mut store = SqliteStore::open(ledger, Texts::Full)?;
    let mut removed = 0;
    loop {
        let step = match max_bytes {
            Some(_) => store.prune_step(Retention { before_ms: None, max_bytes })?,
            None => store.remove_step(filter)?,
        };
        if step == 0 {
            store.checkpoint()?;
            return Ok(removed);
        }
        removed += step;
    }
}

/// The rollouts that the flags select.
pub(super) fn selection(flags: &LedgerFilterArgs) -> anyhow::Result<RolloutFilter> {
    Ok(RolloutFilter {
        run: flags.run.clone(),
        first_step: flags.step.map(|(first, _)| first),
        last_step: flags.step.map(|(_, last)| last),
        split: flags.split.clone(),
        group: flags.group.clone(),
        rollout: flags.rollout.clone(),
        profile: flags.of_profile.clone(),
        digest: flags.digest.clone(),
        failed: flags.failed.then_some(true),
        since_ms: flags.since.as_deref().map(|age| ago("--since", age)).transpose()?,
        ..RolloutFilter::default()
    })
}

/// The time of an age, in milliseconds since 1970.
fn ago(option: &str, text: &str) -> anyhow::Result<i64> {
    let age = age(option, text)?.as_millis();
    Ok(guerdon_ledger::now_ms().saturating_sub(i64::try_from(age).unwrap_or(i64::MAX)))
}

/// Calls `each` for every rollout of a selection, in pages.
pub(super) fn for_each(
    reader: &LedgerReader,
    filter: &RolloutFilter,
    mut each: impl FnMut(StoredRollout) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut filter = filter.clone();
    loop {
        let page = reader.rollouts(&filter, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        filter.after = Some(last.id);
        page.into_iter().try_for_each(&mut each)?;
    }
}
