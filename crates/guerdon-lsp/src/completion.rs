//! Completion: the keys of the place, the values that the schema names, and declared names.

use std::ops::Range;

use ls_types::{
    CompletionItem, CompletionItemKind, CompletionTextEdit, Documentation, MarkupContent,
    MarkupKind, Position, TextEdit,
};

use crate::documents::{OpenDocument, OpenDocuments};
use crate::folder;
use crate::names::{FactValues, Names};
use crate::outline::{CursorPlace, NodeKind, Outline, PathStep};
use crate::schema::{PackSchema, SchemaEntry, pack_schema};

/// The greatest number of proposals.
const MAX_ITEMS: usize = 500;

/// A proposal before it is placed in the text.
struct Proposal {
    label: String,
    kind: CompletionItemKind,
    detail: String,
    doc: String,
    is_key: bool,
}

impl Proposal {
    fn new(label: impl Into<String>, kind: CompletionItemKind, detail: impl Into<String>) -> Self {
        let (label, detail) = (label.into(), detail.into());
        Self { label, kind, detail, doc: String::new(), is_key: false }
    }

    fn of_schema(entry: SchemaEntry, kind: CompletionItemKind, is_key: bool) -> Self {
        Self { doc: entry.doc, is_key, ..Self::new(entry.name, kind, "") }
    }
}

/// The proposals at a position.
pub(crate) fn items(
    document: &OpenDocument,
    documents: &OpenDocuments,
    position: Position,
) -> Vec<CompletionItem> {
    let text = document.text();
    let cursor = text.byte(position);
    let before = text.text.get(..cursor).unwrap_or_default();
    let Some(place) = Outline::cursor(before) else { return Vec::new() };
    let outline = document.outline();
    let at = Cursor {
        document,
        names: Names::of(document, documents),
        path: outline.path(place.parent),
        is_library: outline.child(None, "library").is_some(),
        schema: pack_schema(),
        cursor,
        place,
    };
    let mut proposals = Vec::new();
    if at.place.key {
        proposals.extend(at.keys());
    }
    if at.place.value {
        proposals.extend(at.values(documents));
    }
    proposals.into_iter().take(MAX_ITEMS).map(|proposal| at.item(proposal)).collect()
}

/// A cursor with what is known of its place.
struct Cursor<'d> {
    document: &'d OpenDocument,
    names: Names,
    /// The path of the node whose value is at the cursor.
    path: Vec<PathStep<'d>>,
    is_library: bool,
    schema: &'static PackSchema,
    cursor: usize,
    place: CursorPlace,
}

impl Cursor<'_> {
    fn text(&self) -> &str {
        &self.document.text().text
    }

    /// True if the cursor is at the start of a line below the key of a list, so that an item needs
    /// its dash.
    fn needs_dash(&self) -> bool {
        let place = &self.place;
        place.key
            && place.value
            && matches!(self.path.last(), Some(PathStep::Key(_)))
            && self.schema.is_list(&self.path, self.is_library)
    }

    /// The path of what is written at the cursor.
    fn value_path(&self) -> Vec<PathStep<'_>> {
        let mut path = self.path.clone();
        let is_list = self.schema.is_list(&path, self.is_library);
        if self.place.item || (is_list && matches!(path.last(), Some(PathStep::Key(_)))) {
            path.push(PathStep::Item);
        }
        path
    }

    fn last_key(&self) -> &str {
        let keys = self.path.iter().rev().filter_map(|step| match step {
            PathStep::Key(key) => Some(*key),
            PathStep::Item => None,
        });
        keys.into_iter().next().unwrap_or_default()
    }

    /// The keys that can stand here and are not there yet.
    fn keys(&self) -> Vec<Proposal> {
        let outline = self.document.outline();
        let own = self.place.start..=self.cursor;
        let present: Vec<&str> = outline
            .children(self.place.parent)
            .filter(|(_, node)| !own.contains(&node.head.start))
            .filter_map(|(_, node)| match &node.kind {
                NodeKind::Key(name) => Some(name.as_str()),
                NodeKind::Item => None,
            })
            .collect();
        let path = if self.needs_dash() { self.value_path() } else { self.path.clone() };
        let mut keys: Vec<Proposal> = self
            .schema
            .keys(&path, self.is_library)
            .into_iter()
            .map(|entry| Proposal::of_schema(entry, CompletionItemKind::PROPERTY, true))
            .collect();
        let prefix = match path.as_slice() {
            [.., PathStep::Key("when")] => Some("context.".to_owned()),
            path => self.context_below(path).map(|_| String::new()),
        };
        if let Some(prefix) = prefix {
            let below = self.context_below(&path).unwrap_or_default();
            let facts = self.names.facts.iter();
            keys.extend(facts.filter_map(|(fact, values)| {
                let fact = fact.strip_prefix(&below)?;
                let shown = if prefix.is_empty() { fact.split('.').next()? } else { fact };
                let key = Proposal::new(
                    format!("{prefix}{shown}"),
                    CompletionItemKind::VARIABLE,
                    values.described(),
                );
                Some(Proposal { is_key: true, ..key })
            }));
        }
        keys.retain(|key| !present.contains(&key.label.as_str()));
        keys
    }

    /// The start of the paths of facts that keys at `path`, in the context of an example, belong to.
    fn context_below(&self, path: &[PathStep<'_>]) -> Option<String> {
        let examples = path.iter().position(|step| *step == PathStep::Key("examples"))?;
        let context =
            path.iter().skip(examples).position(|step| *step == PathStep::Key("context"))?
                + examples;
        let groups = path.iter().skip(context + 1).map(|step| match step {
            PathStep::Key(key) => format!("{key}."),
            PathStep::Item => String::new(),
        });
        Some(groups.collect())
    }

    /// The fact whose value is at the cursor.
    fn fact(&self) -> Option<&FactValues> {
        let name = match self.path.as_slice() {
            [.., PathStep::Key("when"), PathStep::Key(key)]
            | [.., PathStep::Key("when"), PathStep::Key(key), PathStep::Item] => {
                key.strip_prefix("context.")?.to_owned()
            }
            path => self.context_below(path)?.trim_end_matches('.').to_owned(),
        };
        self.names.facts.get(&name)
    }

    fn values(&self, documents: &OpenDocuments) -> Vec<Proposal> {
        let path = self.value_path();
        let mut values: Vec<Proposal> = self
            .schema
            .values(&path, self.is_library)
            .into_iter()
            .chain(self.schema.values(&self.path, self.is_library))
            .map(|entry| Proposal::of_schema(entry, CompletionItemKind::ENUM_MEMBER, false))
            .collect();
        let names = &self.names;
        let lists = |lists: &std::collections::BTreeMap<String, Vec<String>>, sign: &str| {
            let listed = lists.iter().map(|(name, words)| {
                Proposal::new(
                    format!("{sign}{name}"),
                    CompletionItemKind::CONSTANT,
                    words.join(", "),
                )
            });
            listed.collect::<Vec<_>>()
        };
        match self.last_key() {
            "unit" => {
                values.extend(lists(&names.units, ""));
                let used = names.used_units.iter().filter(|unit| !names.units.contains_key(*unit));
                values.extend(used.map(|unit| {
                    Proposal::new(unit, CompletionItemKind::UNIT, "a unit of this file")
                }));
            }
            "tags" => {
                values.extend(names.tags.iter().map(|tag| {
                    Proposal::new(tag, CompletionItemKind::KEYWORD, "a tag of this file")
                }))
            }
            "import" => values.extend(self.libraries(documents)),
            "where" | "must" => values.extend(self.expression_names()),
            "any_of" | "near" | "not_near" | "allow" => values.extend(lists(&names.words, "$")),
            _ if self.path.contains(&PathStep::Key("names")) => {
                values.extend(lists(&names.words, "$"))
            }
            _ => {}
        }
        match self.fact() {
            Some(FactValues::OneOf(texts)) => values.extend(
                texts.iter().map(|text| Proposal::new(text, CompletionItemKind::ENUM_MEMBER, "")),
            ),
            Some(FactValues::Type(kind)) if kind == "boolean" => values.extend(
                ["true", "false"]
                    .map(|word| Proposal::new(word, CompletionItemKind::ENUM_MEMBER, "")),
            ),
            _ => {}
        }
        let mut seen = std::collections::HashSet::new();
        values.retain(|value| seen.insert(value.label.clone()));
        values
    }

    /// The names that an expression can use.
    fn expression_names(&self) -> Vec<Proposal> {
        let mut names: Vec<Proposal> = Vec::new();
        if self.last_key() == "must" {
            let outline = self.document.outline();
            let prices = outline.ancestors(self.place.parent.unwrap_or_default()).nth(1);
            let of = prices.and_then(|prices| outline.child(Some(prices), "names"));
            if let Some(of) = of {
                names.extend(outline.children(Some(of)).filter_map(|(_, node)| match &node.kind {
                    NodeKind::Key(name) => Some(Proposal::new(
                        name,
                        CompletionItemKind::VARIABLE,
                        "a number that words announce",
                    )),
                    NodeKind::Item => None,
                }));
            }
        } else {
            names.extend(
                VALUES.map(|(name, doc)| Proposal::new(name, CompletionItemKind::VARIABLE, doc)),
            );
        }
        let facts = self.names.facts.iter();
        names.extend(facts.map(|(fact, values)| {
            Proposal::new(
                format!("context.{fact}"),
                CompletionItemKind::VARIABLE,
                values.described(),
            )
        }));
        names
    }

    /// The files that can be imported.
    fn libraries(&self, documents: &OpenDocuments) -> Vec<Proposal> {
        let libraries = folder::libraries_beside(&self.document.path, documents);
        let named = libraries
            .into_iter()
            .map(|name| Proposal::new(name, CompletionItemKind::FILE, "a file of declarations"));
        named.collect()
    }

    /// The part of the text that a proposal replaces.
    fn replaced(&self) -> Range<usize> {
        let text = self.text();
        let written = text.get(self.place.start..self.cursor).unwrap_or_default();
        let in_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | '-');
        let start = if matches!(self.last_key(), "where" | "must") && !self.place.key {
            self.place.start + written.trim_end_matches(in_word).len()
        } else {
            self.place.start
        };
        let after = text.get(self.cursor..).unwrap_or_default();
        let word = after.len() - after.trim_start_matches(|c: char| in_word(c) && c != '.').len();
        // The rest of a key that is already there is replaced, too.
        let is_key = self.place.key && after.get(word..).is_some_and(|rest| rest.starts_with(':'));
        start..self.cursor + if is_key { word } else { 0 }
    }

    fn item(&self, proposal: Proposal) -> CompletionItem {
        let replaced = self.replaced();
        let text = self.text();
        let has_colon = text.get(replaced.end..).is_some_and(|rest| rest.starts_with(':'));
        let mut new_text = match self.place.quote {
            Some('\'') => proposal.label.replace('\'', "''"),
            Some(_) => proposal.label.replace('\\', "\\\\").replace('"', "\\\""),
            None if proposal.is_key || matches!(self.last_key(), "where" | "must") => {
                proposal.label.clone()
            }
            None => plain_or_quoted(&proposal.label),
        };
        if proposal.is_key && !has_colon {
            new_text.push_str(": ");
        } else if !proposal.is_key
            && !self.place.key
            && !self.place.item
            && self.place.quote.is_none()
        {
            let is_list = self.schema.is_only_list(&self.path, self.is_library);
            if is_list && matches!(self.path.last(), Some(PathStep::Key(_))) {
                new_text = format!("[{new_text}]");
            }
        }
        if self.needs_dash() {
            new_text.insert_str(0, "- ");
        }
        let follows_colon = text.get(..replaced.start).is_some_and(|before| before.ends_with(':'));
        if follows_colon && self.place.quote.is_none() {
            new_text.insert(0, ' ');
        }
        let range = self.document.text().range(&replaced);
        let doc = Some(proposal.doc).filter(|doc| !doc.is_empty());
        CompletionItem {
            label: proposal.label.clone(),
            kind: Some(proposal.kind),
            detail: Some(proposal.detail).filter(|detail| !detail.is_empty()),
            documentation: doc.map(|value| {
                Documentation::MarkupContent(MarkupContent { kind: MarkupKind::Markdown, value })
            }),
            filter_text: Some(proposal.label),
            text_edit: Some(CompletionTextEdit::Edit(TextEdit { range, new_text })),
            ..CompletionItem::default()
        }
    }
}

/// The names of a number in an expression.
pub(crate) const VALUES: [(&str, &str); 5] = [
    ("value", "the number"),
    ("low", "the lower end of the number's range; otherwise the number"),
    ("high", "the upper end of the number's range; otherwise the number"),
    ("unit", "the number's unit"),
    ("percent_off", "the discount in percent: 15 for 85折 and for 15%"),
];

/// A text as YAML, in quotes if it needs them.
fn plain_or_quoted(text: &str) -> String {
    let safe =
        |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | '-' | '/' | '¥' | '€' | '£');
    let starts =
        text.starts_with(|c: char| c.is_alphabetic() || matches!(c, '$' | '¥' | '€' | '£'));
    let word = matches!(text, "null" | "yes" | "no" | "on" | "off");
    if text.chars().all(|c| safe(c) || c == ' ') && starts && !word && !text.ends_with(' ') {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}
