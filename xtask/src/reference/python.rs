//! The page of the Python package. A Python script reads the package's sources.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

/// The Markdown text of the page.
///
/// # Errors
/// There is no `python3`, or the script fails.
pub(super) fn page(root: &Path) -> anyhow::Result<String> {
    let script = root.join("scripts/python_reference.py");
    let output = Command::new("python3")
        .arg(&script)
        .output()
        .context("cannot run python3, which writes the reference of the Python package")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {errors}", script.display());
    Ok(String::from_utf8(output.stdout)?)
}
