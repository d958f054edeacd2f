//! READMEs of the crates that are published, written from the documentation at the head of each
//! crate, so that registries show what the code says.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::packages::{WorkspacePackage, workspace_packages};

/// A crate's README.
struct Readme {
    path: PathBuf,
    text: String,
}

/// The end of every README.
const FOOT: &str = "\
Part of guerdon, a reward server, SDK and optimizer for RL post-training of dialogue agents.

Licensed under either of Apache-2.0 or MIT, at your option.
";

fn all() -> anyhow::Result<Vec<Readme>> {
    let packages = workspace_packages()?;
    packages
        .iter()
        .filter(|package| package.is_published)
        .map(|package| {
            let text = format!("# {}\n\n{}{FOOT}", package.name, introduction(&head(package)?));
            Ok(Readme { path: package.folder.join("README.md"), text })
        })
        .collect()
}

/// The lines of the documentation at the head of the crate's root file.
fn head(package: &WorkspacePackage) -> anyhow::Result<Vec<String>> {
    let roots = ["src/lib.rs", "src/main.rs"].map(|file| package.folder.join(file));
    let root = roots
        .iter()
        .find(|root| root.is_file())
        .with_context(|| format!("{} has neither a library nor a program", package.name))?;
    #[expect(clippy::disallowed_methods, reason = "a generator reads the sources")]
    let text = std::fs::read_to_string(root)?;
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    Ok(lines.map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned()).collect())
}

/// The documentation up to its table of files, with links of rustdoc as plain code, examples marked
/// as Rust, and without the hidden lines of examples.
fn introduction(lines: &[String]) -> String {
    let mut text = String::new();
    let mut in_example = false;
    for line in lines {
        if let Some(language) = line.strip_prefix("```") {
            in_example = !in_example;
            let mark = if in_example { rust(language) } else { "" };
            text.extend(["```", mark, "\n"]);
        } else if in_example {
            if line != "#" && !line.starts_with("# ") {
                text.extend([line, "\n"]);
            }
        } else if line.starts_with('|') {
            break;
        } else {
            text.push_str(&without_links(line));
            text.push('\n');
        }
    }
    let text = text.trim_end();
    if text.is_empty() { String::new() } else { format!("{text}\n\n") }
}

/// The language of an example for a reader that does not know the marks of rustdoc. `ignore` keeps
/// checkers of snippets from running an example without its hidden lines.
fn rust(language: &str) -> &str {
    match language {
        "" | "no_run" | "ignore" => "rust,ignore",
        other => other,
    }
}

/// ``[`X`]`` as `` `X` ``, also with `mod@` before the name.
fn without_links(line: &str) -> String {
    line.replace("[`mod@", "`").replace("[`", "`").replace("`]", "`")
}

/// Writes every README; returns their paths.
///
/// # Errors
/// A crate has no documentation, or a file cannot be written.
pub(crate) fn write() -> anyhow::Result<Vec<PathBuf>> {
    all()?
        .into_iter()
        .map(|Readme { path, text }| {
            #[expect(clippy::disallowed_methods, reason = "a generator writes files")]
            std::fs::write(&path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_readmes_match_the_documentation() {
        let readmes = all().unwrap();
        assert!(readmes.len() >= 12, "{}", readmes.len());
        for Readme { path, text } in readmes {
            #[expect(clippy::disallowed_methods, reason = "a test reads the committed file")]
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            let path = path.display();
            assert!(committed == text, "{path} has drifted; run `make generate` and commit it");
        }
    }

    #[test]
    fn introduction_ends_before_the_table_and_has_no_marks_of_rustdoc() {
        let head = [
            "Sums, see [`add`] and [`mod@sum`].",
            "",
            "```",
            "# use x::add;",
            "#",
            "add(1);",
            "#[test]",
            "```",
            "",
            "| File | Contents |",
            "more",
        ];
        let head = head.map(str::to_owned);
        let expected = "Sums, see `add` and `sum`.\n\n```rust,ignore\nadd(1);\n#[test]\n```\n\n";
        assert_eq!(introduction(&head), expected);
    }
}
