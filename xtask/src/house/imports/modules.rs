//! The tree of a package's modules, and resolution of paths to files.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use syn::{Item, UseTree, Visibility};

use crate::source::{SourceFile, is_test_only};

/// Longest chain of re-exports that is followed.
const MAX_DEPTH: usize = 16;

/// One name that a `use` item brings into scope.
#[derive(Clone)]
pub(super) struct Import {
    /// Segments as written; a glob import ends before its star.
    pub(super) path: Vec<String>,
    /// Name in scope; `None` for a glob import.
    pub(super) name: Option<String>,
    pub(super) is_public: bool,
}

/// A module in a file, or inline in its parent's file.
pub(super) struct Module<'a> {
    /// Index of the file.
    pub(super) file: usize,
    pub(super) items: &'a [Item],
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    definitions: BTreeSet<String>,
    pub(super) imports: Vec<Import>,
}

/// The modules of one package, without test modules.
pub(super) struct ModuleTree<'a> {
    pub(super) modules: Vec<Module<'a>>,
}

/// Position of a module while the tree is built.
struct ModuleLocation<'a> {
    file: usize,
    /// Folder of the module's children.
    folder: String,
    items: &'a [Item],
    parent: Option<usize>,
}

impl<'a> ModuleTree<'a> {
    /// Follows `mod` items from `lib.rs` and `main.rs` in the folder `root`.
    pub(super) fn build(files: &'a [SourceFile], root: &str) -> Self {
        let by_path: HashMap<&str, usize> =
            files.iter().enumerate().map(|(index, file)| (file.path.as_str(), index)).collect();
        let mut tree = ModuleTree { modules: Vec::new() };
        for name in ["lib.rs", "main.rs"] {
            if let Some(&file) = by_path.get(format!("{root}/{name}").as_str()) {
                let items = &files[file].syntax.items;
                let location =
                    ModuleLocation { file, folder: root.to_owned(), items, parent: None };
                tree.add(files, &by_path, &location);
            }
        }
        tree
    }

    fn add(
        &mut self,
        files: &'a [SourceFile],
        by_path: &HashMap<&str, usize>,
        at: &ModuleLocation<'a>,
    ) -> usize {
        let index = self.modules.len();
        self.modules.push(Module {
            file: at.file,
            items: at.items,
            parent: at.parent,
            children: BTreeMap::new(),
            definitions: at.items.iter().filter_map(defined_name).collect(),
            imports: at.items.iter().flat_map(imports).collect(),
        });
        for item in at.items {
            let Item::Mod(module) = item else { continue };
            if is_test_only(&module.attrs) {
                continue;
            }
            let folder = format!("{}/{}", at.folder, module.ident);
            let (file, items) = if let Some((_, items)) = &module.content {
                (at.file, items)
            } else {
                let found = [format!("{folder}.rs"), format!("{folder}/mod.rs")]
                    .iter()
                    .find_map(|path| by_path.get(path.as_str()).copied());
                let Some(file) = found else { continue };
                (file, &files[file].syntax.items)
            };
            let location = ModuleLocation { file, folder, items, parent: Some(index) };
            let child = self.add(files, by_path, &location);
            self.modules[index].children.insert(module.ident.to_string(), child);
        }
        index
    }

    /// The file that defines the item at `path`, seen from `module`; `None` if the path leaves the
    /// package.
    pub(super) fn resolve(&self, module: usize, path: &[String]) -> Option<usize> {
        self.resolve_within(module, path, MAX_DEPTH)
    }

    fn resolve_within(&self, module: usize, path: &[String], depth: usize) -> Option<usize> {
        let mut current = module;
        let mut is_local = false;
        for (index, segment) in path.iter().enumerate() {
            let here = &self.modules[current];
            match segment.as_str() {
                "crate" => current = self.root(current),
                "self" => {}
                "super" => current = here.parent?,
                name => {
                    if let Some(&child) = here.children.get(name) {
                        current = child;
                    } else if here.definitions.contains(name) {
                        return Some(here.file);
                    } else {
                        let found = self.resolve_import(current, &path[index..], depth);
                        return found.or(is_local.then_some(here.file));
                    }
                }
            }
            is_local = true;
        }
        Some(self.modules[current].file)
    }

    /// Resolves a name that a `use` item of `module` brings into scope.
    fn resolve_import(&self, module: usize, path: &[String], depth: usize) -> Option<usize> {
        let depth = depth.checked_sub(1)?;
        let (name, rest) = path.split_first()?;
        let imports = &self.modules[module].imports;
        if let Some(import) = imports.iter().find(|import| import.name.as_ref() == Some(name)) {
            // `use serde::Serialize` inside a module called `serde` names the other package.
            if import.path.first() == Some(name) {
                return None;
            }
            let full: Vec<String> = import.path.iter().chain(rest).cloned().collect();
            return self.resolve_within(module, &full, depth);
        }
        imports.iter().filter(|import| import.name.is_none()).find_map(|import| {
            let target = self.module_at(module, &import.path)?;
            let defines = &self.modules[target];
            if defines.definitions.contains(name) || defines.children.contains_key(name) {
                return self.resolve_within(target, path, depth);
            }
            (target != module).then(|| self.resolve_import(target, path, depth)).flatten()
        })
    }

    /// The module that `path` names, if it names one directly.
    fn module_at(&self, module: usize, path: &[String]) -> Option<usize> {
        path.iter().try_fold(module, |current, segment| match segment.as_str() {
            "crate" => Some(self.root(current)),
            "self" => Some(current),
            "super" => self.modules[current].parent,
            name => self.modules[current].children.get(name).copied(),
        })
    }

    fn root(&self, mut module: usize) -> usize {
        while let Some(parent) = self.modules[module].parent {
            module = parent;
        }
        module
    }
}

fn defined_name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Struct(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Union(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Const(item) => &item.ident,
        Item::Static(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// The names that a `use` item brings into scope; empty for other items.
pub(super) fn imports(item: &Item) -> Vec<Import> {
    let Item::Use(item) = item else { return Vec::new() };
    if is_test_only(&item.attrs) {
        return Vec::new();
    }
    let is_public = !matches!(item.vis, Visibility::Inherited);
    let mut found = Vec::new();
    flatten(&item.tree, &mut Vec::new(), &mut |path, name| {
        found.push(Import { path, name, is_public })
    });
    found
}

fn flatten(
    tree: &UseTree,
    prefix: &mut Vec<String>,
    add: &mut impl FnMut(Vec<String>, Option<String>),
) {
    let with =
        |prefix: &[String], last: String| prefix.iter().cloned().chain([last]).collect::<Vec<_>>();
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, add);
            prefix.pop();
        }
        UseTree::Name(name) if name.ident == "self" => add(prefix.clone(), prefix.last().cloned()),
        UseTree::Name(name) => {
            add(with(prefix, name.ident.to_string()), Some(name.ident.to_string()))
        }
        UseTree::Rename(rename) => {
            let path = if rename.ident == "self" {
                prefix.clone()
            } else {
                with(prefix, rename.ident.to_string())
            };
            add(path, Some(rename.rename.to_string()));
        }
        UseTree::Glob(_) => add(prefix.clone(), None),
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, prefix, add);
            }
        }
    }
}
