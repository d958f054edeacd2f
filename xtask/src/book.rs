//! The sources of the documentation site, and the check of its links.
//!
//! mdBook builds one folder of pages. Pages in `docs/` also link to files elsewhere in the
//! repository; this module copies those files next to the pages and changes the links.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::links::{self, CodeBlocks, read};
use crate::packages::workspace_root;

/// The folder of the site for files outside `docs/`.
const SOURCES: &str = "source";

/// Writes the pages and `book.toml` into the folder `out`, which is emptied first.
///
/// # Errors
/// A file cannot be read or written, or a page of `docs/` is missing from `SUMMARY.md`.
pub(crate) fn write_sources(out: &Path) -> anyhow::Result<()> {
    let root = workspace_root();
    links::check_summary()?;
    let mut staging = Staging { root, out, open: Vec::new(), seen: BTreeSet::new() };
    if out.exists() {
        std::fs::remove_dir_all(out).with_context(|| format!("cannot empty {}", out.display()))?;
    }
    for page in links::pages(&root.join("docs"))? {
        staging.add(page.strip_prefix(root)?.to_owned());
    }
    let mut outside = BTreeMap::new();
    while let Some(page) = staging.open.pop() {
        let text = staging.page(&page)?;
        if !page.starts_with("docs") {
            outside.insert(page.clone(), title(&text).to_owned());
        }
    }
    let mut summary = read(&root.join("docs/SUMMARY.md"))?;
    summary.push_str("\n# Files of the repository\n\n");
    for (page, title) in outside {
        summary.push_str(&format!("- [{title}]({})\n", staged_path(&page).display()));
    }
    staging.write(Path::new("SUMMARY.md"), &summary)?;
    for file in ["book.toml", "explanation/study.svg", "explanation/fusion-sensitivity.svg"] {
        staging.copy(&Path::new("docs").join(file), Path::new(file))?;
    }
    Ok(())
}

/// The text of the first heading.
fn title(text: &str) -> &str {
    text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or("Page")
}

/// The place of a repository file in the site's sources.
fn staged_path(path: &Path) -> PathBuf {
    if let Ok(page) = path.strip_prefix("docs") {
        return page.to_owned();
    }
    let place = Path::new(SOURCES).join(path);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("md" | "svg" | "json") => place,
        // A browser shows a text file and downloads a file of an unknown type.
        _ => PathBuf::from(format!("{}.txt", place.display())),
    }
}

struct Staging<'a> {
    root: &'a Path,
    out: &'a Path,
    /// Pages that are not written yet.
    open: Vec<PathBuf>,
    seen: BTreeSet<PathBuf>,
}

impl Staging<'_> {
    fn add(&mut self, page: PathBuf) {
        if self.seen.insert(page.clone()) {
            self.open.push(page);
        }
    }

    /// Writes a page with changed links; returns its text.
    fn page(&mut self, page: &Path) -> anyhow::Result<String> {
        let text = read(&self.root.join(page))?;
        let folder = page.parent().unwrap_or(Path::new(""));
        let staged = staged_path(page);
        let mut changed = String::new();
        let mut code = CodeBlocks::default();
        for line in text.lines() {
            if code.contains(line) {
                changed.push_str(line);
            } else {
                changed.push_str(&self.line(line, folder, &staged)?);
            }
            changed.push('\n');
        }
        self.write(&staged, &changed)?;
        Ok(text)
    }

    /// A line of a page in `folder`, with the links of the page at `staged`.
    fn line(&mut self, line: &str, folder: &Path, staged: &Path) -> anyhow::Result<String> {
        let mut changed = String::new();
        let mut rest = line;
        while let Some(at) = rest.find("](") {
            let (before, link) = rest.split_at(at + 2);
            let Some((target, after)) = link.split_once(')') else { break };
            let (path, anchor) = target
                .split_once('#')
                .map_or((target, None), |(path, anchor)| (path, Some(anchor)));
            changed.push_str(before);
            if path.is_empty() || path.contains(':') {
                changed.push_str(target);
            } else {
                let place = self.target(&normalized(&folder.join(path)))?;
                changed.push_str(&relative(staged.parent().unwrap_or(Path::new("")), &place));
                if let Some(anchor) = anchor {
                    changed.push('#');
                    changed.push_str(anchor);
                }
            }
            changed.push(')');
            rest = after;
        }
        changed.push_str(rest);
        Ok(changed)
    }

    /// The staged place of a link's target. A folder stands for its README.
    fn target(&mut self, path: &Path) -> anyhow::Result<PathBuf> {
        let full = self.root.join(path);
        if full.is_dir() {
            let readme = path.join("README.md");
            ensure!(
                self.root.join(&readme).exists(),
                "{} has no README.md to link to",
                path.display()
            );
            return self.target(&readme);
        }
        if path.extension().is_some_and(|extension| extension == "md") {
            self.add(path.to_owned());
        } else if self.seen.insert(path.to_owned()) {
            self.copy(path, &staged_path(path))?;
        }
        let staged = staged_path(path);
        // mdBook renders README.md as index.html.
        Ok(if staged.ends_with("README.md") { staged.with_file_name("index.md") } else { staged })
    }

    fn write(&self, staged: &Path, text: &str) -> anyhow::Result<()> {
        let place = self.out.join(staged);
        create_parent(&place)?;
        #[expect(clippy::disallowed_methods, reason = "a generator writes files")]
        std::fs::write(&place, text).with_context(|| format!("cannot write {}", place.display()))
    }

    fn copy(&self, path: &Path, staged: &Path) -> anyhow::Result<()> {
        let place = self.out.join(staged);
        create_parent(&place)?;
        std::fs::copy(self.root.join(path), &place)
            .with_context(|| format!("cannot copy {} to {}", path.display(), place.display()))?;
        Ok(())
    }
}

fn create_parent(place: &Path) -> anyhow::Result<()> {
    let folder = place.parent().context("a file has no folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

/// The path without `.` and `..`.
fn normalized(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// The path of `target` from `folder`, with `/` as separator.
fn relative(folder: &Path, target: &Path) -> String {
    let (from, to): (Vec<_>, Vec<_>) =
        (folder.components().collect(), target.components().collect());
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut parts = vec!["..".to_owned(); from.len() - shared];
    parts.extend(to[shared..].iter().map(|part| part.as_os_str().to_string_lossy().into_owned()));
    parts.join("/")
}

/// Fails with the list of links in the built site whose page or anchor does not exist.
///
/// # Errors
/// A link is broken, or a file cannot be read.
pub(crate) fn check_site(site: &Path) -> anyhow::Result<usize> {
    let mut pages = BTreeMap::new();
    let mut open = vec![site.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "html") {
                pages.insert(path.strip_prefix(site)?.to_owned(), read(&path)?);
            }
        }
    }
    ensure!(!pages.is_empty(), "{} has no pages", site.display());
    let (mut broken, mut count) = (BTreeSet::new(), 0);
    for (page, text) in &pages {
        // These pages repeat others with other relative links.
        if ["print.html", "toc.html", "404.html"].iter().any(|name| page.ends_with(name)) {
            continue;
        }
        let folder = page.parent().unwrap_or(Path::new(""));
        for target in attributes(text, "href") {
            let (path, anchor) =
                target.split_once('#').map_or((target, ""), |(path, anchor)| (path, anchor));
            if path.contains(':') || path.starts_with("//") {
                continue;
            }
            count += 1;
            let place = if path.is_empty() { page.clone() } else { normalized(&folder.join(path)) };
            let found = match pages.get(&place) {
                Some(text) => anchor.is_empty() || attributes(text, "id").any(|id| id == anchor),
                None => site.join(&place).exists(),
            };
            if !found {
                broken.insert(format!("  {} {target}", page.display()));
            }
        }
    }
    let list: Vec<String> = broken.into_iter().collect();
    ensure!(list.is_empty(), "broken links in the site:\n{}", list.join("\n"));
    Ok(count)
}

/// The values of an attribute in a page.
fn attributes<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let start = format!(" {name}=\"");
    let values = text.match_indices(&start).map(|(at, found)| at + found.len()).collect::<Vec<_>>();
    values.into_iter().filter_map(move |at| text[at..].split_once('"').map(|(value, _)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_linking_page() {
        assert_eq!(relative(Path::new("a/b"), Path::new("a/c/d.md")), "../c/d.md");
        assert_eq!(relative(Path::new(""), Path::new("a.md")), "a.md");
        assert_eq!(normalized(Path::new("docs/how-to/../../README.md")), Path::new("README.md"));
    }

    #[test]
    fn files_outside_the_pages_get_a_place_in_the_site() {
        assert_eq!(staged_path(Path::new("docs/a/b.md")), Path::new("a/b.md"));
        assert_eq!(staged_path(Path::new("README.md")), Path::new("source/README.md"));
        assert_eq!(staged_path(Path::new("guerdon.toml")), Path::new("source/guerdon.toml.txt"));
    }

    #[test]
    fn every_page_can_be_staged() {
        let folder = workspace_root().join("target/book-test");
        write_sources(&folder).unwrap();
        let staged = links::pages(&folder).unwrap();
        assert!(staged.len() > 30 && folder.join("book.toml").exists(), "{staged:?}");
        let mut broken = Vec::new();
        for page in &staged {
            links::broken_in(page, &folder, &mut broken).unwrap();
        }
        // Links to README.md are links to index.md, which mdBook makes of it.
        broken.retain(|line| !line.ends_with("index.md"));
        assert_eq!(broken, [""; 0]);
    }

    #[test]
    fn attributes_are_read_from_tags() {
        let text = "<a href=\"b.html#c\">b</a><h2 id=\"c\">";
        assert_eq!(attributes(text, "href").collect::<Vec<_>>(), ["b.html#c"]);
        assert_eq!(attributes(text, "id").collect::<Vec<_>>(), ["c"]);
    }
}
