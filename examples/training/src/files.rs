//! Reading and writing the files of a run, with the path in every error.

#![expect(
    clippy::disallowed_methods,
    reason = "a training run reads and writes its own folder, and only here"
)]

use std::path::Path;

use anyhow::Context as _;

/// Reads the text of `file`.
///
/// # Errors
/// A file that cannot be read.
pub fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Writes `bytes` to a temporary file and renames it to `file`, so that readers see the old file or
/// the new one, never a part.
///
/// # Errors
/// A file that cannot be written.
pub fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let temporary = file.with_extension("part");
    std::fs::write(&temporary, bytes)
        .with_context(|| format!("cannot write {}", temporary.display()))?;
    rename(&temporary, file)
}

/// Renames `from` to `to`.
///
/// # Errors
/// A file that cannot be renamed.
pub fn rename(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::rename(from, to).with_context(|| format!("cannot write {}", to.display()))
}

/// Creates `folder` and its parents.
///
/// # Errors
/// A folder that cannot be created.
pub fn create_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create the folder {}", folder.display()))
}

/// Removes `folder` and its contents.
///
/// # Errors
/// A folder that cannot be removed.
pub fn remove_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}
