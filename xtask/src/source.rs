//! The workspace's Rust files, read and parsed once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use proc_macro2::TokenStream;
use syn::{Attribute, Item, ItemMod, Meta};

/// Folders of the workspace that hold Rust files.
const ROOTS: [&str; 4] = ["crates", "examples", "tests", "xtask"];

/// A parsed Rust file.
pub(crate) struct SourceFile {
    /// Path relative to the workspace, with `/` as separator.
    pub(crate) path: String,
    /// Source root of the package when the file belongs to one, for example `crates/guerdon-model/src`.
    pub(crate) source_root: Option<String>,
    /// Set for files under `tests/` and `benches/`, and for modules that are declared under `#[cfg(test)]`.
    pub(crate) is_test: bool,
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
}

impl SourceFile {
    pub(crate) fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// Name of the file without its folders.
    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Path of the folder.
    pub(crate) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Every token of the file; doc comments appear as `doc` attributes.
    pub(crate) fn tokens(&self) -> anyhow::Result<TokenStream> {
        self.text.parse().map_err(|error| anyhow!("{}: {error}", self.path))
    }
}

/// Reads and parses every Rust file of the workspace at `root`, sorted by path.
///
/// # Errors
/// A file or folder cannot be read, or a file is not valid Rust.
pub(crate) fn load(root: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let mut paths = Vec::new();
    for folder in ROOTS.iter().map(|folder| root.join(folder)).filter(|folder| folder.is_dir()) {
        collect(&folder, &mut paths)?;
    }
    paths.sort();
    let mut files =
        paths.iter().map(|path| read(root, path)).collect::<anyhow::Result<Vec<_>>>()?;
    let tests: BTreeSet<String> = files.iter().flat_map(test_modules).collect();
    for file in &mut files {
        let module = module_path(&file.path);
        file.is_test |= tests.iter().any(|test| {
            module
                .strip_prefix(test.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
    }
    Ok(files)
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, paths)?;
            }
        } else if name.ends_with(".rs") {
            paths.push(path);
        }
    }
    Ok(())
}

fn read(root: &Path, path: &Path) -> anyhow::Result<SourceFile> {
    #[expect(clippy::disallowed_methods, reason = "a source checker reads sources")]
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let path = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
    let syntax = syn::parse_file(&text)
        .map_err(|error| anyhow!("{path}:{}: {error}", error.span().start().line))?;
    Ok(SourceFile {
        source_root: source_root(&path),
        is_test: is_test_path(&path),
        path,
        text,
        syntax,
    })
}

/// `crates/x/src` of `crates/x/src/folder/file.rs`.
fn source_root(path: &str) -> Option<String> {
    let end = path.find("/src/")? + "/src".len();
    (!is_test_path(path)).then(|| path[..end].to_owned())
}

/// True for the integration tests of a package, the workspace's `tests` package, and benchmarks.
fn is_test_path(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.contains("/benches/")
}

/// The module that a file holds, as a path: `a/b` for both `a/b.rs` and `a/b/mod.rs`.
pub(crate) fn module_path(path: &str) -> &str {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    ["/mod", "/lib", "/main"].iter().find_map(|name| path.strip_suffix(name)).unwrap_or(path)
}

/// Modules that `file` declares under `#[cfg(test)]`.
fn test_modules(file: &SourceFile) -> Vec<String> {
    let module = module_path(&file.path);
    file.syntax
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Mod(module) if module.content.is_none() => Some(module),
            _ => None,
        })
        .filter(|item| is_test_only(&item.attrs))
        .map(|ItemMod { ident, .. }| format!("{module}/{ident}"))
        .collect()
}

/// True if the attributes hold `#[cfg(test)]` or `#[cfg(all(test, ...))]`.
pub(crate) fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string().replace(' ', "");
            condition == "test" || condition.starts_with("all(test,")
        }
        _ => false,
    })
}
