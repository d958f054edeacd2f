//! Reading and writing the files of a run, with the path in every error.

#![expect(
    clippy::disallowed_methods,
    reason = "a training run reads and writes its own folder, and only here"
)]

use std::path::Path;

use anyhow::Context as _;

/// The text of `file`.
///
/// # Errors
/// The path, and why it cannot be read.
pub fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Writes `bytes` beside `file`, then moves them into place: whoever reads finds the old file or the new one.
///
/// # Errors
/// The path, and why it cannot be written.
pub fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let beside = file.with_extension("part");
    std::fs::write(&beside, bytes).with_context(|| format!("cannot write {}", beside.display()))?;
    rename(&beside, file)
}

/// Moves `from` to `to`.
///
/// # Errors
/// The path, and why it cannot be written.
pub fn rename(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::rename(from, to).with_context(|| format!("cannot write {}", to.display()))
}

/// Makes `folder` and those above it.
///
/// # Errors
/// The path, and why it cannot be made.
pub fn folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// Removes `folder` and what is in it.
///
/// # Errors
/// The path, and why it cannot be removed.
pub fn remove(folder: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}
