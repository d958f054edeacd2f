//! The workspace's packages and their dependencies, as cargo reports them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// The root folder of this workspace.
pub(crate) fn workspace_root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A package of the workspace.
pub(crate) struct WorkspacePackage {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) dependencies: Vec<DeclaredDependency>,
}

/// A line of a manifest's dependency tables.
pub(crate) struct DeclaredDependency {
    pub(crate) name: String,
    /// True for `[dependencies]`, false for development and build dependencies.
    pub(crate) is_normal: bool,
}

/// Runs `cargo metadata` offline.
///
/// # Errors
/// Cargo fails, or its output has an unexpected form.
pub(crate) fn workspace_packages() -> anyhow::Result<Vec<WorkspacePackage>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    packages.iter().map(package).collect()
}

fn package(package: &Value) -> anyhow::Result<WorkspacePackage> {
    let manifest = PathBuf::from(text(&package["manifest_path"])?);
    let dependencies =
        package["dependencies"].as_array().context("a package has no dependencies")?;
    Ok(WorkspacePackage {
        name: text(&package["name"])?,
        folder: manifest.parent().context("a manifest has no folder")?.to_owned(),
        dependencies: dependencies
            .iter()
            .map(|dependency| {
                let name = text(&dependency["rename"]).or_else(|_| text(&dependency["name"]))?;
                Ok(DeclaredDependency { name, is_normal: dependency["kind"].is_null() })
            })
            .collect::<anyhow::Result<_>>()?,
    })
}

fn text(value: &Value) -> anyhow::Result<String> {
    Ok(value.as_str().context("cargo metadata has an unexpected form")?.to_owned())
}
