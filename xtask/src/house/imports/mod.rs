//! Imports between the files of a package, and the cycles among them.
//!
//! | file | content |
//! |---|---|
//! | `modules` | the tree of modules, and name resolution in it |
//! | `edges` | the files that a module's code names |

mod edges;
mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

use self::edges::ImportGraph;
use self::modules::ModuleTree;
use crate::source::SourceFile;

/// Files of a package that import each other, directly or through other files.
pub(super) struct ImportCycle {
    /// Sorted paths.
    pub(super) files: Vec<String>,
    /// The imports among the files, as `importer -> imported`.
    imports: Vec<String>,
}

impl Display for ImportCycle {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} files: {}", self.files.len(), self.imports.join(", "))
    }
}

/// The import cycles of every package.
///
/// Private imports and paths in code count. Public re-exports do not: they are resolved to the file that defines the
/// item. Test modules and macro bodies are not read.
pub(super) fn cycles(files: &[SourceFile]) -> Vec<ImportCycle> {
    let roots: BTreeSet<&str> =
        files.iter().filter_map(|file| file.source_root.as_deref()).collect();
    let mut cycles = Vec::new();
    for root in roots {
        let tree = ModuleTree::build(files, root);
        let graph = edges::graph(&tree);
        for group in components(&graph) {
            let imports = group.iter().flat_map(|&from| {
                let targets = graph[&from].iter().filter(|to| group.contains(to));
                let name = |file: usize| files[file].path.strip_prefix(root).unwrap_or_default();
                targets.map(move |&to| format!("{root}{} -> {}", name(from), name(to)))
            });
            cycles.push(ImportCycle {
                imports: imports.collect(),
                files: group.iter().map(|&file| files[file].path.clone()).collect(),
            });
        }
    }
    cycles
}

/// Strongly connected components with more than one file.
fn components(graph: &ImportGraph) -> Vec<Vec<usize>> {
    let reached: BTreeMap<usize, BTreeSet<usize>> =
        graph.keys().map(|&start| (start, reachable(graph, start))).collect();
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    let mut groups = Vec::new();
    for (&start, targets) in &reached {
        if seen.contains(&start) {
            continue;
        }
        let returns = |other: &usize| reached.get(other).is_some_and(|back| back.contains(&start));
        let group: Vec<usize> = targets.iter().copied().filter(returns).collect();
        if group.len() > 1 {
            seen.extend(&group);
            groups.push(group);
        }
    }
    groups
}

fn reachable(graph: &ImportGraph, start: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![start];
    while let Some(file) = open.pop() {
        for &next in graph.get(&file).into_iter().flatten() {
            if reached.insert(next) {
                open.push(next);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(texts: &[(&str, &str)]) -> Vec<SourceFile> {
        let file = |&(name, text): &(&str, &str)| SourceFile {
            path: format!("crates/x/src/{name}"),
            source_root: Some("crates/x/src".to_owned()),
            is_test: false,
            text: text.to_owned(),
            syntax: syn::parse_file(text).unwrap(),
        };
        let mut files: Vec<SourceFile> = texts.iter().map(file).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }

    #[test]
    fn mutual_imports_are_a_cycle() {
        let files = package(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; pub struct A(B);"),
            ("b.rs", "pub struct B; fn f() { crate::a::A::new(); }"),
        ]);
        assert_eq!(cycles(&files)[0].files, ["crates/x/src/a.rs", "crates/x/src/b.rs"]);
    }

    #[test]
    fn re_exports_are_resolved_to_the_defining_file() {
        let files = package(&[
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::*;"),
            ("a.rs", "use crate::B; pub struct A(B);"),
            ("b.rs", "pub struct B;"),
        ]);
        assert!(cycles(&files).is_empty());
    }

    #[test]
    fn a_parent_that_uses_its_child_and_defines_what_the_child_uses_is_a_cycle() {
        let files = package(&[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod child; use child::C; pub struct A(C);"),
            ("a/child.rs", "use super::A; pub struct C(Box<A>);"),
        ]);
        assert_eq!(cycles(&files)[0].files, ["crates/x/src/a/child.rs", "crates/x/src/a/mod.rs"]);
    }

    #[test]
    fn test_modules_import_freely() {
        let files = package(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; pub struct A(B);"),
            ("b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }"),
        ]);
        assert!(cycles(&files).is_empty());
    }
}
