//! Declarations at the head of a file: `words`, `units`, `aliases` and `facts`, of the file itself
//! and of the files that it imports.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::syntax::aliases::Aliases;
use crate::syntax::facts::Facts;

/// Lists of words by name.
pub(crate) type WordLists = BTreeMap<String, Arc<[String]>>;

/// The declarations that the rules of a file can use.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileDeclarations {
    /// Word lists; `$name` in a list of words stands for the words.
    pub(crate) words: WordLists,
    /// Unit lists; their name in a list of units stands for the units.
    pub(crate) units: WordLists,
    pub(crate) aliases: Aliases,
    /// The facts; `None` if neither the file nor its imports declare any.
    pub(crate) facts: Option<Facts>,
    /// Set if a declaration has errors, or a file that is imported has or cannot be read. Names
    /// that are not declared are then no errors of their own.
    pub(crate) is_partial: bool,
}

impl FileDeclarations {
    /// The facts, if they and all that is imported could be read.
    pub(crate) fn known_facts(&self) -> Option<&Facts> {
        self.facts.as_ref().filter(|_| !self.is_partial)
    }

    /// The number of declarations.
    pub(crate) fn len(&self) -> usize {
        let facts = self.facts.as_ref().map_or(0, |facts| facts.iter().count());
        self.words.len() + self.units.len() + self.aliases.len() + facts
    }

    /// Adds the declarations of an imported file. Returns the names that are declared differently.
    pub(crate) fn import(&mut self, other: &Self) -> Vec<String> {
        self.is_partial |= other.is_partial;
        let mut conflicts = Vec::new();
        for (own, imported, sign) in
            [(&mut self.words, &other.words, "$"), (&mut self.units, &other.units, "")]
        {
            for (name, list) in imported {
                match own.entry(name.clone()) {
                    Entry::Vacant(entry) => _ = entry.insert(Arc::clone(list)),
                    Entry::Occupied(entry) if entry.get() == list => {}
                    Entry::Occupied(_) => conflicts.push(format!("{sign}{name}")),
                }
            }
        }
        conflicts.extend(self.aliases.import(&other.aliases));
        if let Some(imported) = &other.facts {
            let own = self.facts.get_or_insert_default();
            let differing =
                imported.iter().filter(|(path, kind)| !own.declare(path, (*kind).clone()));
            let differing: Vec<String> = differing.map(|(path, _)| path.to_owned()).collect();
            conflicts.extend(differing);
        }
        conflicts
    }
}
