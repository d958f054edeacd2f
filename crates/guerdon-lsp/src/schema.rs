//! The JSON Schema of packs, looked up by the path of a key.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::Value as Json;

use crate::outline::PathStep;

/// The greatest number of references that are followed in a row.
const MAX_REFERENCES: usize = 16;

/// The schema of packs.
#[derive(Debug)]
pub(crate) struct PackSchema {
    root: Json,
}

/// A key or a value with its documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SchemaEntry {
    pub(crate) name: String,
    pub(crate) doc: String,
}

/// The schema, read once.
pub(crate) fn pack_schema() -> &'static PackSchema {
    static SCHEMA: OnceLock<PackSchema> = OnceLock::new();
    SCHEMA.get_or_init(|| PackSchema {
        root: serde_json::from_str(&guerdon_rules::json_schema()).unwrap_or_default(),
    })
}

impl PackSchema {
    /// The schemas that a value at `path` can have. `is_library` tells which of the two kinds of
    /// files the path is in.
    pub(crate) fn at(&self, path: &[PathStep<'_>], is_library: bool) -> Vec<&Json> {
        let file = if is_library { "then" } else { "else" };
        let mut found = self.variants(self.root.get(file));
        for step in path {
            let below = found.iter().filter_map(|schema| match step {
                PathStep::Item => schema.get("items"),
                PathStep::Key(key) => schema
                    .get("properties")
                    .and_then(|properties| properties.get(*key))
                    .or_else(|| schema.get("additionalProperties")),
            });
            let below: Vec<&Json> = below.collect();
            found = below.into_iter().flat_map(|schema| self.variants(Some(schema))).collect();
        }
        found
    }

    /// A schema with all schemas that it refers to, as alternatives or in addition.
    fn variants<'s>(&'s self, schema: Option<&'s Json>) -> Vec<&'s Json> {
        let mut found: Vec<&Json> =
            schema.into_iter().filter(|schema| schema.is_object()).collect();
        let mut next = 0;
        while let Some(schema) = found.get(next).copied() {
            next += 1;
            if found.len() > MAX_REFERENCES {
                break;
            }
            if let Some(name) = schema.get("$ref").and_then(Json::as_str) {
                let definition = name.strip_prefix("#/definitions/");
                let definition = definition.and_then(|n| self.root.get("definitions")?.get(n));
                found.extend(definition);
            }
            for key in ["anyOf", "oneOf", "allOf"] {
                let list = schema.get(key).and_then(Json::as_array);
                let shapes = list.into_iter().flatten();
                // The others only restrict the combinations of keys.
                let is_shape = |schema: &&Json| {
                    ["type", "$ref", "enum", "const", "anyOf"]
                        .iter()
                        .any(|k| schema.get(k).is_some())
                };
                found.extend(shapes.filter(is_shape));
            }
        }
        found
    }

    /// The keys that a mapping at a path can have.
    pub(crate) fn keys(&self, path: &[PathStep<'_>], is_library: bool) -> Vec<SchemaEntry> {
        let mut names = BTreeSet::new();
        let mut keys = Vec::new();
        for schema in self.at(path, is_library) {
            let properties = schema.get("properties").and_then(Json::as_object);
            for (name, property) in properties.into_iter().flatten() {
                if property.is_object() && names.insert(name) {
                    keys.push(SchemaEntry { name: name.clone(), doc: self.doc(property) });
                }
            }
        }
        keys
    }

    /// The values that the schema names for a path.
    pub(crate) fn values(&self, path: &[PathStep<'_>], is_library: bool) -> Vec<SchemaEntry> {
        let mut values: Vec<SchemaEntry> = Vec::new();
        let mut add = |value: &Json, doc: String| {
            let name = match value {
                Json::String(text) => text.clone(),
                Json::Bool(value) => value.to_string(),
                _ => return,
            };
            if values.iter().all(|known| known.name != name) {
                values.push(SchemaEntry { name, doc });
            }
        };
        for schema in self.at(path, is_library) {
            let doc = || self.doc(schema);
            for value in schema.get("enum").and_then(Json::as_array).into_iter().flatten() {
                add(value, doc());
            }
            if let Some(value) = schema.get("const") {
                add(value, doc());
            }
            if schema.get("type").is_some_and(|kind| kind == "boolean")
                && schema.get("const").is_none()
            {
                add(&Json::Bool(true), String::new());
                add(&Json::Bool(false), String::new());
            }
        }
        values
    }

    /// True if a value at a path can be a list.
    pub(crate) fn is_list(&self, path: &[PathStep<'_>], is_library: bool) -> bool {
        self.at(path, is_library)
            .iter()
            .any(|schema| schema.get("type").is_some_and(|k| k == "array"))
    }

    /// True if a value at a path can be nothing but a list.
    pub(crate) fn is_only_list(&self, path: &[PathStep<'_>], is_library: bool) -> bool {
        let schemas = self.at(path, is_library);
        let mut kinds = schemas.iter().filter_map(|schema| schema.get("type")).peekable();
        kinds.peek().is_some() && kinds.all(|kind| kind == "array")
    }

    /// The documentation of the key at the end of a path.
    pub(crate) fn key_doc(&self, path: &[PathStep<'_>], is_library: bool) -> Option<String> {
        let (PathStep::Key(key), above) = path.split_last()? else { return None };
        let schemas = self.at(above, is_library);
        let property = schemas
            .into_iter()
            .find_map(|schema| schema.get("properties")?.get(*key).filter(|p| p.is_object()))?;
        Some(self.doc(property))
    }

    /// The description of a schema, followed by that of the definition that it refers to.
    fn doc(&self, schema: &Json) -> String {
        let described = self.variants(Some(schema));
        let texts = described.iter().filter_map(|schema| schema.get("description")?.as_str());
        let mut parts: Vec<String> = Vec::new();
        for text in texts {
            let text = text.replace('\n', " ");
            if !parts.contains(&text) && parts.len() < 2 {
                parts.push(text);
            }
        }
        parts.join("\n\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(entries: Vec<SchemaEntry>) -> Vec<String> {
        entries.into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn keys_and_values_are_those_of_the_place() {
        let schema = pack_schema();
        let rule = [PathStep::Key("rules"), PathStep::Item];
        let keys = names(schema.keys(&rule, false));
        assert!(
            ["id", "points", "match", "check", "where"]
                .iter()
                .all(|k| keys.contains(&(*k).to_owned()))
        );
        let top = names(schema.keys(&[], true));
        assert!(top.contains(&"library".to_owned()) && !top.contains(&"rules".to_owned()));
        let nested =
            [&rule[..], &[PathStep::Key("match"), PathStep::Key("all"), PathStep::Item]].concat();
        assert!(names(schema.keys(&nested, false)).contains(&"any_of".to_owned()));
        let speech =
            [&rule[..], &[PathStep::Key("match"), PathStep::Key("unless"), PathStep::Item]]
                .concat();
        assert!(names(schema.values(&speech, false)).contains(&"question".to_owned()));
        let one = [&rule[..], &[PathStep::Key("match"), PathStep::Key("unless")]].concat();
        assert!(names(schema.values(&one, false)).contains(&"question".to_owned()));
        let veto = [&rule[..], &[PathStep::Key("veto")]].concat();
        assert_eq!(names(schema.values(&veto, false)), ["true", "false"]);
        let check = [&rule[..], &[PathStep::Key("check")]].concat();
        assert!(names(schema.keys(&check, false)).contains(&"repetition".to_owned()));
        assert!(schema.is_list(&[PathStep::Key("rules")], false));
    }

    #[test]
    fn every_key_of_the_schema_has_documentation() {
        let schema = pack_schema();
        let mut paths = vec![vec![]];
        let mut seen = 0;
        while let Some(path) = paths.pop() {
            for entry in schema.keys(&path, false) {
                assert!(!entry.doc.is_empty(), "{path:?} {}", entry.name);
                seen += 1;
                if path.len() < 3 {
                    let name: &'static str = entry.name.leak();
                    let below = [&path[..], &[PathStep::Key(name)]].concat();
                    paths.push([&below[..], &[PathStep::Item]].concat());
                    paths.push(below);
                }
            }
        }
        assert!(seen > 40, "{seen}");
    }
}
