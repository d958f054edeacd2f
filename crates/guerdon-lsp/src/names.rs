//! The names that a file and the files that it imports declare: facts, word lists, units; and the
//! tags and units that its rules use.

use std::collections::{BTreeMap, BTreeSet};

use crate::documents::{OpenDocument, OpenDocuments};
use crate::folder::FileGroup;
use crate::outline::{NodeKind, Outline, OutlineNode, unquoted};

/// The greatest number of words of a list that are kept to be shown.
const MAX_SHOWN: usize = 40;

/// The declared and used names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Facts by their path, without `context.`.
    pub(crate) facts: BTreeMap<String, FactValues>,
    /// Lists of words by name.
    pub(crate) words: BTreeMap<String, Vec<String>>,
    /// Lists of units by name.
    pub(crate) units: BTreeMap<String, Vec<String>>,
    /// The units and the names of units that rules of the file list.
    pub(crate) used_units: BTreeSet<String>,
    /// The tags of rules of the file.
    pub(crate) tags: BTreeSet<String>,
}

/// The type of a fact as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FactValues {
    /// The name of a type.
    Type(String),
    OneOf(Vec<String>),
}

impl FactValues {
    pub(crate) fn described(&self) -> String {
        match self {
            Self::Type(name) => name.clone(),
            Self::OneOf(values) => format!("one of {}", values.join(", ")),
        }
    }
}

impl Names {
    pub(crate) fn of(document: &OpenDocument, documents: &OpenDocuments) -> Self {
        let mut names = Self::default();
        names.add_used(document.outline(), &document.text().text);
        names.add_declared(document.outline(), &document.text().text);
        let own = document.name();
        for text in FileGroup::imported_by(&document.path, documents).files.texts {
            if text.name != own {
                names.add_declared(&Outline::read(&text.text), &text.text);
            }
        }
        names
    }

    fn add_declared(&mut self, outline: &Outline, text: &str) {
        let listed = |key: &str| -> Vec<(String, Option<String>, Vec<String>)> {
            let Some(at) = outline.child(None, key) else { return Vec::new() };
            let entries = outline.children(Some(at)).filter_map(|(index, node)| {
                let NodeKind::Key(name) = &node.kind else { return None };
                let items =
                    outline.children(Some(index)).filter_map(|(_, item)| scalar(item, text));
                Some((name.clone(), scalar(node, text), items.take(MAX_SHOWN).collect()))
            });
            entries.collect()
        };
        for (name, kind, values) in listed("facts") {
            let name = name.strip_prefix("context.").unwrap_or(&name).to_owned();
            let values = match kind {
                Some(kind) => FactValues::Type(kind),
                None => FactValues::OneOf(values),
            };
            self.facts.entry(name).or_insert(values);
        }
        for (name, _, words) in listed("words") {
            self.words.entry(name).or_insert(words);
        }
        for (name, _, units) in listed("units") {
            self.units.entry(name).or_insert(units);
        }
    }

    fn add_used(&mut self, outline: &Outline, text: &str) {
        let Some(rules) = outline.child(None, "rules") else { return };
        for (rule, _) in outline.children(Some(rules)) {
            self.add_used_below(outline, text, rule);
        }
    }

    fn add_used_below(&mut self, outline: &Outline, text: &str, from: usize) {
        let mut left = vec![from];
        while let Some(at) = left.pop() {
            for (index, node) in outline.children(Some(at)) {
                let items =
                    || outline.children(Some(index)).filter_map(|(_, item)| scalar(item, text));
                match &node.kind {
                    NodeKind::Key(key) if key == "tags" => self.tags.extend(items()),
                    NodeKind::Key(key) if key == "unit" => self.used_units.extend(items()),
                    NodeKind::Key(key) if key == "examples" => {}
                    _ => left.push(index),
                }
            }
        }
    }
}

/// The text of a node's scalar.
pub(crate) fn scalar(node: &OutlineNode, text: &str) -> Option<String> {
    node.scalar.clone().and_then(|span| text.get(span)).map(unquoted)
}
