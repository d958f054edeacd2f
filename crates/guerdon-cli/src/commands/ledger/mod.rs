//! `guerdon ledger`: lists, exports and removes recorded rollouts. The commands also work while a
//! server writes to the file.

mod export;
mod query;
pub(super) mod rescore;
mod row;
mod select;

use std::path::Path;
use std::process::ExitCode;

use anyhow::ensure;
use guerdon_ledger::{
    PostgresStore, Retention, RolloutFilter, SqliteStore, Texts, is_database, open_reader,
};

use self::select::{ago, selection};
use crate::cli::LedgerCommand;
use crate::output::errln;

pub(super) fn run(command: LedgerCommand) -> anyhow::Result<ExitCode> {
    match command {
        LedgerCommand::Query { ledger, filter, limit, json } => {
            let filter = RolloutFilter { newest_first: true, ..selection(&filter)? };
            query::run(&*open_reader(&ledger)?, &filter, limit, json)?;
        }
        LedgerCommand::Export { ledger, filter, out } => {
            export::run(&*open_reader(&ledger)?, &selection(&filter)?, out.as_deref())?;
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
    open_reader(ledger)?;
    let limits = Retention { before_ms: None, max_bytes };
    if let Some(url) = ledger.to_str().filter(|_| is_database(ledger)) {
        let mut store = PostgresStore::new(url, Texts::Full)?;
        return every_step(|| match max_bytes {
            Some(_) => Ok(store.prune_step(limits)?),
            None => Ok(store.remove_step(filter)?),
        });
    }
    let mut store = SqliteStore::open(ledger, Texts::Full)?;
    let removed = every_step(|| match max_bytes {
        Some(_) => Ok(store.prune_step(limits)?),
        None => Ok(store.remove_step(filter)?),
    })?;
    store.checkpoint()?;
    Ok(removed)
}

/// Repeats a step until it removes nothing. Returns the number of removed rollouts.
fn every_step(mut step: impl FnMut() -> anyhow::Result<usize>) -> anyhow::Result<usize> {
    let mut removed = 0;
    loop {
        match step()? {
            0 => return Ok(removed),
            count => removed += count,
        }
    }
}
