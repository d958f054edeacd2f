//! Facts that a pack declares under `facts:`: the keys of the context and their types.

use std::collections::BTreeMap;

use guerdon_text::nearest;
use serde_json::Value as Json;

/// The greatest number of names that a misspelt one is compared with.
pub(crate) const MAX_COMPARED: usize = 200;

/// The type of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FactType {
    Number,
    Text,
    Boolean,
    List,
    /// A mapping whose keys are not declared.
    Object,
    /// One of these texts.
    OneOf(Vec<String>),
}

/// The declared facts by their path, such as `target_price` or `offer.price`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    types: BTreeMap<String, FactType>,
}

/// The result of looking for a path among declared facts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FactLookup<'f> {
    Declared(&'f FactType),
    /// The path leads to a mapping that has declared facts.
    Group,
    Unknown,
}

impl FactType {
    /// The names of the types that are no list of values.
    pub(crate) const NAMED: [(&'static str, Self); 5] = [
        ("number", Self::Number),
        ("text", Self::Text),
        ("boolean", Self::Boolean),
        ("list", Self::List),
        ("object", Self::Object),
    ];

    /// The type in words.
    pub(crate) fn described(&self) -> String {
        match self {
            Self::Number => "a number".to_owned(),
            Self::Text => "a text".to_owned(),
            Self::Boolean => "true or false".to_owned(),
            Self::List => "a list".to_owned(),
            Self::Object => "an object".to_owned(),
            Self::OneOf(values) => {
                let shown: Vec<&str> = values.iter().map(String::as_str).take(20).collect();
                format!("one of {}", shown.join(", "))
            }
        }
    }

    /// Returns true if `value` has the type. `null` is a missing fact.
    pub(crate) fn has(&self, value: &Json) -> bool {
        match (self, value) {
            (_, Json::Null)
            | (Self::Number, Json::Number(_))
            | (Self::Text, Json::String(_))
            | (Self::Boolean, Json::Bool(_))
            | (Self::List, Json::Array(_))
            | (Self::Object, Json::Object(_)) => true,
            (Self::OneOf(values), Json::String(text)) => values.contains(text),
            _ => false,
        }
    }
}

impl Facts {
    /// Declares a fact. Returns false if it is declared with another type.
    pub(crate) fn declare(&mut self, path: &str, kind: FactType) -> bool {
        match self.types.get(path) {
            Some(known) => *known == kind,
            None => {
                self.types.insert(path.to_owned(), kind);
                true
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &FactType)> {
        self.types.iter().map(|(path, kind)| (path.as_str(), kind))
    }

    pub(crate) fn get(&self, path: &str) -> FactLookup<'_> {
        if let Some(kind) = self.types.get(path) {
            return FactLookup::Declared(kind);
        }
        let is_object = |end: usize| {
            path.get(..end).and_then(|of| self.types.get(of)) == Some(&FactType::Object)
        };
        let within = path.match_indices('.').any(|(end, _)| is_object(end));
        if within || self.is_group(path) { FactLookup::Group } else { FactLookup::Unknown }
    }

    /// Returns true if the path leads to a mapping that has declared facts.
    pub(crate) fn is_group(&self, path: &str) -> bool {
        let prefix = format!("{path}.");
        let next = self.types.range(prefix.clone()..).next();
        next.is_some_and(|(fact, _)| fact.starts_with(&prefix))
    }

    /// The help for a path that is not declared.
    pub(crate) fn help(&self, path: &str) -> String {
        match self.nearest(path) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it: `facts: {{ {path}: number }}`"),
        }
    }

    /// The declared path that is spelt most like `path`.
    pub(crate) fn nearest(&self, path: &str) -> Option<&str> {
        nearest(path, self.types.keys().map(String::as_str).take(MAX_COMPARED))
    }
}
