//! The record of a finished run beside its file. A job that is started again with `--resume`, after
//! it had finished, recognises its own results by it and scores nothing.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::part::replace;

/// Largest record, in bytes. It holds settings and versions.
const RECORD_BYTES: u64 = 16 << 20;

/// A finished run with the identity `T`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FinishedRun<T> {
    pub(super) run: T,
    /// The hash of the file that the run wrote.
    sha256: String,
    /// Set if the file is a table.
    #[serde(default)]
    pub(super) as_table: bool,
    /// Rollouts without a reward.
    pub(super) unscored: usize,
}

impl<T: Serialize + for<'de> Deserialize<'de>> FinishedRun<T> {
    /// The finished run `run`, which wrote `target`.
    pub(super) fn new(
        run: T,
        target: &Path,
        as_table: bool,
        unscored: usize,
    ) -> anyhow::Result<Self> {
        Ok(Self { run, sha256: hash(target)?, as_table, unscored })
    }

    /// Reads the record of the run that wrote `target`. `None` if there is no record, or if
    /// `target` was changed since.
    pub(super) fn read(path: &Path, target: &Path) -> anyhow::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let mut text = Vec::new();
        file.take(RECORD_BYTES)
            .read_to_end(&mut text)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let Ok(found) = serde_json::from_slice::<Self>(&text) else { return Ok(None) };
        Ok((found.sha256 == hash(target)?).then_some(found))
    }

    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        replace(path, |out| {
            serde_json::to_writer(&mut *out, self)?;
            Ok(out.write_all(b"\n")?)
        })
    }
}

fn hash(file: &Path) -> anyhow::Result<String> {
    let open = || guerdon_text::sha256_hex_of_reader(File::open(file)?);
    open().with_context(|| format!("cannot read {}", file.display()))
}
