//! The files that each module's code names.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Item, ItemFn, ItemMod, ItemUse, Path};

use super::modules::{ModuleTree, imports};
use crate::source::is_test_only;

/// Files that each file imports, by index into the list of files.
pub(super) type ImportGraph = BTreeMap<usize, BTreeSet<usize>>;

/// For each file, the other files whose items it imports or names.
pub(super) fn graph(tree: &ModuleTree<'_>) -> ImportGraph {
    let mut graph = ImportGraph::new();
    for (index, module) in tree.modules.iter().enumerate() {
        let mut visitor = EdgeVisitor { tree, module: index, graph: &mut graph };
        for item in module.items {
            visitor.visit_item(item);
        }
    }
    graph
}

struct EdgeVisitor<'a> {
    tree: &'a ModuleTree<'a>,
    module: usize,
    graph: &'a mut ImportGraph,
}

impl EdgeVisitor<'_> {
    fn add(&mut self, path: &[String]) {
        let file = self.tree.modules[self.module].file;
        if let Some(target) = self.tree.resolve(self.module, path).filter(|&target| target != file)
        {
            self.graph.entry(file).or_default().insert(target);
        }
    }

    /// True if `name` is re-exported here, so that code may use it without a private import.
    fn is_re_export(&self, name: &str) -> bool {
        let imports = &self.tree.modules[self.module].imports;
        imports.iter().any(|import| import.is_public && import.name.as_deref() == Some(name))
    }
}

impl<'ast> Visit<'ast> for EdgeVisitor<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Impl(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Enum(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test_only(attributes) {
            visit::visit_item(self, item);
        }
    }

    // Inline modules are modules of the tree, with a visit of their own.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !is_test_only(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        for import in imports(&Item::Use(item.clone())).iter().filter(|import| !import.is_public) {
            self.add(&import.path);
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let segments: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if path.leading_colon.is_none() && (segments.len() > 1 || self.is_re_export(&segments[0])) {
            self.add(&segments);
        }
        visit::visit_path(self, path);
    }
}
