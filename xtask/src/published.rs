//! Tests of the packages that registries publish.

use std::path::{Component, Path, PathBuf};

use crate::packages::{workspace_packages, workspace_root};

/// The path without `.` and `..`, of which the latter removes the name before it. Links are kept: a
/// package holds the files that links lead to.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, component| {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
        plain
    })
}

/// The files that a source file includes, outside its tests.
fn includes(source: &str) -> Vec<&str> {
    let product = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = Vec::new();
    for mark in ["include_str!(\"", "include_bytes!(\""] {
        found.extend(product.split(mark).skip(1).filter_map(|rest| rest.split('"').next()));
    }
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

fn read(path: &Path) -> String {
    #[expect(clippy::disallowed_methods, reason = "a test reads the sources")]
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn published_crates_include_only_their_own_files() {
    let mut outside = Vec::new();
    let mut count = 0;
    for package in workspace_packages().unwrap().iter().filter(|package| package.is_published) {
        for file in rust_files(&package.folder.join("src")) {
            let text = read(&file);
            for included in includes(&text) {
                count += 1;
                let target = plain(&file.parent().unwrap().join(included));
                if !target.starts_with(&package.folder) || !target.is_file() {
                    outside.push(format!("{}: {included}", file.display()));
                }
            }
        }
    }
    assert!(count > 0, "no file includes another");
    assert!(
        outside.is_empty(),
        "a package lacks these files; link them from the crate's folder:\n{}",
        outside.join("\n")
    );
}

#[test]
fn includes_in_tests_do_not_count() {
    let source =
        "const A: &str = include_str!(\"a\");\n#[cfg(test)]\nmod t { include_str!(\"b\") }";
    assert_eq!(includes(source), ["a"]);
    assert_eq!(plain(Path::new("/x/y/../z/./w")), Path::new("/x/z/w"));
}

#[test]
fn python_packages_have_the_version_of_the_workspace() {
    let project = read(&workspace_root().join("crates/guerdon-python/pyproject.toml"));
    let extra = format!("server = [\"guerdon-server=={}\"]", env!("CARGO_PKG_VERSION"));
    assert!(project.contains(&extra), "crates/guerdon-python/pyproject.toml has no `{extra}`");
}

/// The oldest CPython is stated in the metadata of every Python package, by the ABI of the wheel, and
/// in every README that names one. The extension module of the wheel decides.
#[test]
fn oldest_python_is_the_same_everywhere() {
    let root = workspace_root();
    let workspace = read(&root.join("Cargo.toml"));
    let minor: u32 = workspace
        .split("abi3-py3")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .and_then(|minor| minor.parse().ok())
        .expect("Cargo.toml names the ABI of the wheel");
    let folders = ["crates/guerdon-python", "crates/guerdon-cli", "examples/environments/hotel"];
    for folder in folders {
        let project = read(&root.join(folder).join("pyproject.toml"));
        let key = format!("\nrequires-python = \">=3.{minor}\"\n");
        assert!(project.contains(&key), "{folder}/pyproject.toml has no `{}`", key.trim());
    }
    for page in
        ["README.md", "crates/guerdon-python/README.md", "crates/guerdon-cli/python/README.md"]
    {
        let text = read(&root.join(page)).split_whitespace().collect::<Vec<_>>().join(" ");
        let named: Vec<&str> = text.split("CPython 3.").skip(1).collect();
        let wanted = format!("{minor} or newer");
        assert!(!named.is_empty(), "{page} names no CPython");
        assert!(
            named.iter().all(|rest| rest.starts_with(&wanted)),
            "{page}: not CPython 3.{minor}"
        );
    }
}

#[test]
fn published_crates_have_descriptions_and_licences() {
    for package in workspace_packages().unwrap().iter().filter(|package| package.is_published) {
        let manifest = read(&package.folder.join("Cargo.toml"));
        for key in ["description = ", "keywords = ", "categories = ", "readme = ", "license.work"] {
            assert!(manifest.contains(&format!("\n{key}")), "{} has no {key}", package.name);
        }
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            assert!(package.folder.join(licence).is_file(), "{} has no {licence}", package.name);
        }
    }
}
