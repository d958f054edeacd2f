//! Parses conditions on facts of the context, and checks them against the declared facts.

use std::ops::Range;

use guerdon_text::Finding;
use serde_json::Value as Json;

use super::json;
use crate::syntax::codes::PackCode;
use crate::syntax::facts::{FactLookup, FactType};
use crate::syntax::fields::Reader;
use crate::syntax::pack::Condition;
use crate::syntax::yaml::{WithSpan, Yaml};

impl Reader<'_> {
    pub(super) fn when(&mut self, node: &WithSpan<Yaml>) -> Vec<Condition> {
        let Yaml::Map(entries) = &node.value else {
            self.wrong::<()>(node, "`when` is a mapping of context values");
            return Vec::new();
        };
        entries.iter().filter_map(|(key, value)| self.condition(key, value)).collect()
    }

    fn condition(&mut self, key: &WithSpan<String>, value: &WithSpan<Yaml>) -> Option<Condition> {
        let path = key
            .value
            .strip_prefix("context.")
            .filter(|path| path.split('.').all(|part| !part.is_empty()));
        let Some(path) = path else {
            let message = format!("`{}` is not a context value", key.value);
            if let ("context", Yaml::Map(entries)) = (key.value.as_str(), &value.value) {
                let first = entries.first().map_or("KEY", |(key, _)| key.value.as_str());
                let finding = Finding::new(PackCode::BadValue, key.span.clone(), message);
                let help = format!("write the path as one key: `context.{first}: value`");
                self.push(finding.help(help));
                return None;
            }
            let name = key.value.strip_prefix("context").unwrap_or(&key.value);
            let name = name.trim_start_matches(['.', ' ']);
            let path = format!("context.{}", if name.is_empty() { "KEY" } else { name });
            let finding = Finding::new(PackCode::BadValue, key.span.clone(), message)
                .help(format!("write `{path}`"));
            self.push(finding.fix(key.span.clone(), path));
            return None;
        };
        self.known_fact(path, &key.span, "context.");
        let values = match &value.value {
            Yaml::List(items) => items.iter().filter_map(|item| self.scalar(item)).collect(),
            _ => vec![self.scalar(value)?],
        };
        if values.is_empty() {
            self.bad(
                &value.span,
                "no value is allowed, so the rule can never hit",
                "list the values",
            );
            return None;
        }
        self.possible_values(path, value);
        Some(Condition { path: path.split('.').map(str::to_owned).collect(), values })
    }

    pub(super) fn scalar(&mut self, node: &WithSpan<Yaml>) -> Option<Json> {
        match &node.value {
            Yaml::Text(text) => Some(Json::from(text.as_str())),
            Yaml::Number(value) => Some(Json::from(*value)),
            Yaml::Bool(value) => Some(Json::from(*value)),
            Yaml::Map(_) => {
                let message = "expected text, a number, true or false";
                let finding = Finding::new(PackCode::WrongType, node.span.clone(), message);
                self.push(
                    finding
                        .label("this is a mapping")
                        .help("name a value within a mapping by its path: `context.a.b: value`"),
                );
                None
            }
            _ => self.wrong(node, "expected text, a number, true or false"),
        }
    }

    /// Reports a path of the context that the pack does not declare. `prefix` stands before the
    /// path in the text.
    pub(super) fn known_fact(&mut self, path: &str, span: &Range<usize>, prefix: &str) {
        let Some(facts) = self.declared.known_facts() else { return };
        if !matches!(facts.get(path), FactLookup::Unknown) {
            return;
        }
        let message = format!("the pack declares no fact `{path}`");
        let finding = Finding::new(PackCode::UnknownFact, span.clone(), message);
        let finding = finding.help(facts.help(path));
        let near = facts.nearest(path).map(|near| format!("{prefix}{near}"));
        self.push(match near {
            Some(near) if span.len() == prefix.len() + path.len() => {
                finding.fix(span.clone(), near)
            }
            _ => finding,
        });
    }

    /// Reports the values of a condition that a declared fact cannot have.
    fn possible_values(&mut self, path: &str, value: &WithSpan<Yaml>) {
        let items = match &value.value {
            Yaml::List(items) => items.as_slice(),
            _ => std::slice::from_ref(value),
        };
        for item in items {
            self.possible_value(path, item);
        }
    }

    /// Reports a value that a declared fact cannot have.
    pub(super) fn possible_value(&mut self, path: &str, node: &WithSpan<Yaml>) {
        let Some(facts) = self.declared.known_facts() else { return };
        let FactLookup::Declared(kind) = facts.get(path) else { return };
        if kind.has(&json(&node.value)) {
            return;
        }
        let kind = kind.clone();
        let message = format!("`{path}` is {}", kind.described());
        let finding = Finding::new(PackCode::UnknownFact, node.span.clone(), message)
            .label(format!("this is {}", node.value.kind()))
            .help("write such a value, or change the type under `facts:`");
        self.push(match (&kind, &node.value) {
            (FactType::OneOf(values), Yaml::Text(text)) => {
                finding.nearest(text, values.iter().map(String::as_str))
            }
            _ => finding,
        });
    }
}
