//! Relative links in Markdown files.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::packages::workspace_root;

/// Fails with the list of links whose target does not exist.
///
/// # Errors
/// A link is broken, a page is missing from the summary, or a file cannot be read.
pub(crate) fn check() -> anyhow::Result<()> {
    let root = workspace_root();
    let mut broken = Vec::new();
    for page in pages(root)? {
        broken_in(&page, root, &mut broken)?;
    }
    ensure!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    check_summary()
}

/// Fails if `docs/SUMMARY.md`, the contents of the site, does not name every page once.
///
/// # Errors
/// A page is missing or is named twice, or a file cannot be read.
pub(crate) fn check_summary() -> anyhow::Result<()> {
    let folder = workspace_root().join("docs");
    let summary = read(&folder.join("SUMMARY.md"))?;
    let named: Vec<&str> = targets(&summary).into_iter().map(|(_, target)| target).collect();
    let mut wrong = Vec::new();
    for page in pages(&folder)? {
        let page = page.strip_prefix(&folder)?.to_string_lossy().into_owned();
        let count = named.iter().filter(|target| **target == page).count();
        if count != 1 && page != "SUMMARY.md" {
            wrong.push(format!("  {page} ({count} times)"));
        }
    }
    ensure!(wrong.is_empty(), "docs/SUMMARY.md must name each page once:\n{}", wrong.join("\n"));
    Ok(())
}

/// Adds the links of `page` whose target does not exist. Pages are named relative to `root`.
///
/// # Errors
/// The page cannot be read.
pub(crate) fn broken_in(page: &Path, root: &Path, broken: &mut Vec<String>) -> anyhow::Result<()> {
    let text = read(page)?;
    let folder = page.parent().unwrap_or(root);
    for (line, target) in targets(&text) {
        if !folder.join(target).exists() {
            let page = page.strip_prefix(root).unwrap_or(page);
            broken.push(format!("  {}:{line} {target}", page.display()));
        }
    }
    Ok(())
}

/// The Markdown files under `folder`, without hidden folders and build output.
///
/// # Errors
/// A folder cannot be listed.
pub(crate) fn pages(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    collect(folder, &mut pages)?;
    pages.sort();
    Ok(pages)
}

/// The text of a file.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    #[expect(clippy::disallowed_methods, reason = "a documentation checker reads pages")]
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Adds the Markdown files under `folder`, without hidden folders and build output.
fn collect(folder: &Path, pages: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !name.starts_with('.')
                && !["target", "runs", "node_modules", "shared"].contains(&name)
            {
                collect(&path, pages)?;
            }
        } else if name.ends_with(".md") {
            pages.push(path);
        }
    }
    Ok(())
}

/// The code blocks of a page, fenced and indented, while its lines are read.
#[derive(Debug, Default)]
pub(crate) struct CodeBlocks {
    in_fence: bool,
    /// Set after a line of a paragraph, which an indented line continues.
    in_paragraph: bool,
}

impl CodeBlocks {
    /// Returns whether the next line belongs to a block.
    pub(crate) fn contains(&mut self, line: &str) -> bool {
        let is_fence = line.starts_with("```");
        self.in_fence ^= is_fence;
        let is_code = self.in_fence || is_fence || !self.in_paragraph && line.starts_with("    ");
        self.in_paragraph = !is_code && !line.trim().is_empty();
        is_code
    }
}

/// Line and path of each relative link, without anchors; code blocks are skipped.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut code = CodeBlocks::default();
    for (line, content) in (1..).zip(text.lines()) {
        if code.contains(content) {
            continue;
        }
        for (_, rest) in content.match_indices("](").map(|(at, _)| content.split_at(at + 2)) {
            let Some((target, _)) = rest.split_once(')') else { continue };
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains(':') {
                found.push((line, path));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_pages_lead_to_files() {
        check().unwrap();
    }

    #[test]
    fn only_relative_links_outside_code_count() {
        let text =
            "[a](b.md#c) [d](https://e) [f](#g)\n```\n[h](i)\n```\n    [j](k)\n[l](m/)\n    [n](o)";
        assert_eq!(targets(text), [(1, "b.md"), (6, "m/"), (7, "o")]);
    }
}
