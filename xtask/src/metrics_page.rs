//! Checks that `docs/reference/metrics.md` names every metric that the server registers.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, ensure};
use proc_macro2::{TokenStream, TokenTree};

use crate::packages::workspace_root;

const PAGE: &str = "docs/reference/metrics.md";

/// Fails if the page does not name a registered metric.
///
/// # Errors
/// A metric is missing, no metric is found, or a file cannot be read.
pub(crate) fn check() -> anyhow::Result<()> {
    let page = read(&workspace_root().join(PAGE))?;
    let mut names = Vec::new();
    for file in metrics_files(&workspace_root().join("crates/guerdon-server/src"))? {
        let tokens =
            read(&file)?.parse().map_err(|error| anyhow!("{}: {error}", file.display()))?;
        collect_names(tokens, &mut names);
    }
    ensure!(names.len() > 20, "found only {} metrics in the server's sources", names.len());
    let missing: Vec<_> =
        names.iter().filter(|name| !page.contains(&format!("`guerdon_{name}"))).collect();
    ensure!(missing.is_empty(), "{PAGE} does not name {missing:?}");
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    #[expect(clippy::disallowed_methods, reason = "a source checker reads sources")]
    Ok(std::fs::read_to_string(path)?)
}

/// The files under `folder` whose path contains a folder or file called `metrics`.
fn metrics_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(metrics_files(&path)?);
        } else if path
            .components()
            .any(|part| part.as_os_str().to_string_lossy().starts_with("metrics"))
        {
            found.push(path);
        }
    }
    Ok(found)
}

/// Collects the string literals that precede a help text: `"name", "Help text"`.
fn collect_names(tokens: TokenStream, names: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for window in tokens.windows(3) {
        if let [TokenTree::Literal(name), TokenTree::Punct(comma), TokenTree::Literal(help)] =
            window
            && let (Some(name), Some(help)) = (string(name), string(help))
            && comma.as_char() == ','
            && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            && help.contains(' ')
        {
            names.push(name);
        }
    }
    for token in tokens {
        if let TokenTree::Group(group) = token {
            collect_names(group.stream(), names);
        }
    }
}

fn string(literal: &proc_macro2::Literal) -> Option<String> {
    match syn::Lit::new(literal.clone()) {
        syn::Lit::Str(text) => Some(text.value()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_names_every_registered_metric() {
        check().unwrap();
    }

    #[test]
    fn names_are_read_from_calls_and_macros() {
        let text = r#"registry.register("a_b", "Number of a", x); register!(y, "c", "Time of c", Unit::Seconds);"#;
        let mut names = Vec::new();
        collect_names(text.parse().unwrap(), &mut names);
        assert_eq!(names, ["a_b", "c"]);
    }
}
