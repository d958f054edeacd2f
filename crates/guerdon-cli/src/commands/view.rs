//! `guerdon view`: the pages of scored rollouts, served on loopback or written as files.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use guerdon_inspector::{
    BundleError, LedgerStore, MemoryStore, Store, add_rollouts, bundle, read_results,
};
use guerdon_server::view;

use super::setup::{read, runtime, without_mark};
use super::signals::{ProcessSignals, StopRules};
use crate::cli::ViewArgs;
use crate::output::outln;
use crate::part::replace;

/// Nothing is in progress that a stop could lose.
const STOP: StopRules =
    StopRules { notice: None, grace: Duration::ZERO, holds_hangup: false, status: |_| 0 };

pub(super) fn run(args: &ViewArgs) -> anyhow::Result<ExitCode> {
    let store = store(args)?;
    match &args.bundle {
        Some(folder) => write(store.as_ref(), folder)?,
        None => serve(store, args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The rollouts of the file.
fn store(args: &ViewArgs) -> anyhow::Result<Arc<dyn Store>> {
    if LedgerStore::is_ledger(&args.file) {
        ensure!(args.rollouts.is_none(), "a ledger has its dialogues: leave out --rollouts");
        return Ok(Arc::new(LedgerStore::new(&args.file)));
    }
    let name = args.file.display().to_string();
    let mut records = read_results(&name, without_mark(&read(&args.file)?))?;
    if let Some(rollouts) = &args.rollouts {
        let name = rollouts.display().to_string();
        add_rollouts(&mut records, &name, without_mark(&read(rollouts)?))?;
    }
    Ok(Arc::new(MemoryStore::new(name, records)))
}

fn write(store: &dyn Store, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    let files = bundle::<BundleFailure>(store, |name, content| {
        let written = replace(&folder.join(name), |out| Ok(out.write_all(content)?));
        written.map_err(BundleFailure::Write)
    });
    let files = files.map_err(|failure| match failure {
        BundleFailure::Read(error) => error.into(),
        BundleFailure::Write(error) => error,
    })?;
    outln!("{files} files; open {}", folder.join("index.html").display())?;
    Ok(())
}

/// A bundle that failed: reading the rollouts, or writing a file.
enum BundleFailure {
    Read(BundleError),
    Write(anyhow::Error),
}

impl From<BundleError> for BundleFailure {
    fn from(error: BundleError) -> Self {
        Self::Read(error)
    }
}

fn serve(store: Arc<dyn Store>, args: &ViewArgs) -> anyhow::Result<()> {
    let signals = ProcessSignals::listen(STOP)?;
    runtime()?.block_on(async {
        let running = view(store, args.listen).await?;
        outln!("http://{}/ui shows {}; Ctrl-C stops", running.address, args.file.display())?;
        signals.stopped().await;
        running.stop().await;
        signals.answered();
        Ok(())
    })
}
