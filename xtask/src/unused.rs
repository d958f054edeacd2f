//! Dependencies that a package declares and never names in its sources.

use std::path::Path;

use anyhow::ensure;

use crate::packages::{DeclaredDependency, WorkspacePackage, workspace_packages};

/// Dependencies that are needed without being named: (package, dependency).
const NEEDED: &[(&str, &str)] = &[];

/// Fails with the list of unused dependencies.
///
/// # Errors
/// A dependency is unused, or a source file cannot be read.
pub(crate) fn check() -> anyhow::Result<()> {
    let mut unused = Vec::new();
    for package in workspace_packages()? {
        let (product, mut tests) = sources(&package.folder)?;
        for folder in &package.test_folders {
            tests.push_str(&sources(folder)?.0);
        }
        for DeclaredDependency { name, is_normal } in &package.dependencies {
            let needed = NEEDED.contains(&(package.name.as_str(), name.as_str()));
            let named = names(&product, name) || !is_normal && names(&tests, name);
            if !needed && !named {
                unused.push(unused_line(&package, name));
            }
        }
    }
    ensure!(unused.is_empty(), "unused dependencies; remove them:\n{}", unused.join("\n"));
    Ok(())
}

fn unused_line(package: &WorkspacePackage, dependency: &str) -> String {
    format!("  {}: {dependency}", package.name)
}

/// The text of a package's product files, and of its tests and benchmarks, without comments.
fn sources(folder: &Path) -> anyhow::Result<(String, String)> {
    let (mut product, mut tests) = (String::new(), String::new());
    let mut open = vec![folder.to_owned()];
    while let Some(current) = open.pop() {
        for entry in std::fs::read_dir(&current)? {
            let path = entry?.path();
            if path.is_dir() {
                // A folder with a manifest is another package.
                if !path.join("Cargo.toml").exists() && !path.ends_with("target") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(folder).unwrap_or(&path);
                let is_test = inside.starts_with("tests") || inside.starts_with("benches");
                #[expect(clippy::disallowed_methods, reason = "a source checker reads sources")]
                let text = std::fs::read_to_string(&path)?;
                let all = if is_test { &mut tests } else { &mut product };
                for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
                    all.push_str(line);
                    all.push('\n');
                }
            }
        }
    }
    Ok((product, tests))
}

/// True if `text` holds the dependency's name as a whole identifier.
fn names(text: &str, dependency: &str) -> bool {
    let name = dependency.replace('-', "_");
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(&name).any(|(at, _)| {
        !text[..at].ends_with(in_name) && !text[at + name.len()..].starts_with(in_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dependency_is_used() {
        check().unwrap();
    }

    #[test]
    fn only_whole_identifiers_count() {
        assert!(names("use tokio_util::sync;", "tokio-util"));
        assert!(names("#[serde(with = \"humantime_serde\")]", "humantime-serde"));
        assert!(!names("use tokio_util::sync;", "tokio") && !names("use my_http::A;", "http"));
    }
}
