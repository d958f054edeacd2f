//! Relative links in Markdown files.

use std::path::{Path, PathBuf};

use anyhow::ensure;

use crate::packages::workspace_root;

/// Fails with the list of links whose target does not exist.
///
/// # Errors
/// A link is broken, or a file cannot be read.
pub(crate) fn check() -> anyhow::Result<()> {
    let root = workspace_root();
    let mut pages = Vec::new();
    collect(root, &mut pages)?;
    let mut broken = Vec::new();
    for page in pages {
        #[expect(clippy::disallowed_methods, reason = "a documentation checker reads pages")]
        let text = std::fs::read_to_string(&page)?;
        let folder = page.parent().unwrap_or(root);
        for (line, target) in targets(&text) {
            if !folder.join(target).exists() {
                let page = page.strip_prefix(root).unwrap_or(&page);
                broken.push(format!("  {}:{line} {target}", page.display()));
            }
        }
    }
    ensure!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    Ok(())
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

/// Line and path of each relative link, without anchors; code blocks are skipped.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (line, content) in (1..).zip(text.lines()) {
        in_code ^= content.starts_with("```");
        if in_code || content.starts_with("    ") {
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
        let text = "[a](b.md#c) [d](https://e) [f](#g)\n```\n[h](i)\n```\n    [j](k)\n[l](m/)";
        assert_eq!(targets(text), [(1, "b.md"), (6, "m/")]);
    }
}
