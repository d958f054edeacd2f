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
    /// True unless the manifest has `publish = false`.
    #[cfg_attr(
        not(any(test, feature = "generate")),
        expect(dead_code, reason = "only the READMEs need it")
    )]
    pub(crate) is_published: bool,
    /// Folders of test targets outside `folder`.
    pub(crate) test_folders: Vec<PathBuf>,
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
    let folder = manifest.parent().context("a manifest has no folder")?.to_owned();
    Ok(WorkspacePackage {
        name: text(&package["name"])?,
        test_folders: test_folders(package, &folder)?,
        folder,
        // Null stands for every registry, and an empty list for none.
        is_published: package["publish"].is_null(),
        dependencies: dependencies
            .iter()
            .map(|dependency| {
                let name = text(&dependency["rename"]).or_else(|_| text(&dependency["name"]))?;
                Ok(DeclaredDependency { name, is_normal: dependency["kind"].is_null() })
            })
            .collect::<anyhow::Result<_>>()?,
    })
}

/// The folders of the package's targets that are not below `folder`.
fn test_folders(package: &Value, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let targets = package["targets"].as_array().context("a package has no targets")?;
    let mut folders = Vec::new();
    for target in targets {
        let source = PathBuf::from(text(&target["src_path"])?);
        let root = source.parent().context("a target has no folder")?;
        // The path of a target may climb out of the package with `..`.
        let root = root.canonicalize().with_context(|| format!("{}", root.display()))?;
        if !root.starts_with(folder.canonicalize()?) {
            folders.push(root);
        }
    }
    Ok(folders)
}

fn text(value: &Value) -> anyhow::Result<String> {
    Ok(value.as_str().context("cargo metadata has an unexpected form")?.to_owned())
}
