//! Parses matches and checks of tool calls, of JSON documents and of final states.

use std::ops::Range;

use guerdon_text::Finding;
use serde_json::Value as Json;

use crate::syntax::codes::PackCode;
use crate::syntax::fields::{MappingFields, Reader};
use crate::syntax::pack::{
    CallLimits, CallMatch, CallNames, CallTest, Condition, Predicate, SchemaCheck, StateCheck,
};
use crate::syntax::yaml::{WithSpan, Yaml};

pub(crate) const TOOL_CALL_KEYS: &[&str] = &["name", "not_name", "arguments"];
pub(crate) const TOOL_CALLS_KEYS: &[&str] = &["order", "name", "min", "max", "declared"];
pub(crate) const JSON_SCHEMA_KEYS: &[&str] = &["of", "name", "schema"];
pub(crate) const STATE_KEYS: &[&str] = &["actual", "expected", "compare"];

impl Reader<'_> {
    /// Reads `tool_call:` of a match.
    pub(super) fn tool_call(&mut self, node: &WithSpan<Yaml>, count: usize) -> Option<Predicate> {
        let fields = self.fields(node, "`tool_call`", TOOL_CALL_KEYS)?;
        let names = match (fields.get("name"), fields.get("not_name")) {
            (Some(_), Some(_)) => {
                let span = fields.key("not_name").unwrap_or_default();
                let message = "`tool_call` has both `name` and `not_name`";
                let finding = Finding::new(PackCode::Contradiction, span, message);
                self.push(finding.help("keep one"));
                return None;
            }
            (Some(node), None) => CallNames::Of(self.tool_names(node)?),
            (None, Some(node)) => CallNames::Except(self.tool_names(node)?),
            (None, None) => CallNames::Any,
        };
        let arguments = fields.get("arguments").map_or_else(Vec::new, |node| self.arguments(node));
        Some(Predicate::ToolCall(CallMatch { names, arguments, count }))
    }

    /// Reads `tool_calls:` of a check.
    pub(super) fn tool_calls(
        &mut self,
        node: &WithSpan<Yaml>,
        span: &Range<usize>,
    ) -> Option<Predicate> {
        let fields = self.fields(node, "`tool_calls`", TOOL_CALLS_KEYS)?;
        let limits = ["name", "min", "max"].into_iter().find_map(|key| fields.key(key));
        let kinds = [fields.key("order"), limits, fields.key("declared")];
        let mut given = kinds.iter().flatten();
        let Some(_) = given.next() else {
            let finding = Finding::new(PackCode::MissingKey, span.clone(), "`tool_calls` is empty");
            self.push(finding.help("one of order: [...], max: 1, declared: true"));
            return None;
        };
        if let Some(second) = given.next() {
            let message = "`tool_calls` checks one thing: order, number or declaration";
            let finding = Finding::new(PackCode::Contradiction, second.clone(), message);
            self.push(finding.help("make it two rules"));
            return None;
        }
        let test = if let Some(node) = fields.get("order") {
            let order = self.tool_names(node)?;
            if order.len() < 2 {
                self.bad(&node.span, "an order of one tool", "name at least two tools");
                return None;
            }
            CallTest::Order(order)
        } else if let Some(node) = fields.get("declared") {
            if !self.boolean(node)? {
                self.bad(&node.span, "`declared: false` checks nothing", "write `declared: true`");
                return None;
            }
            CallTest::Declared
        } else {
            self.call_limits(fields, span)?
        };
        Some(Predicate::ToolCalls(test))
    }

    fn call_limits(&mut self, fields: MappingFields<'_>, span: &Range<usize>) -> Option<CallTest> {
        let names = match fields.get("name") {
            Some(node) => CallNames::Of(self.tool_names(node)?),
            None => CallNames::Any,
        };
        let min = fields.get("min").and_then(|node| self.whole(node, 0));
        let max = fields.get("max").and_then(|node| self.whole(node, 0));
        if min.is_none() && max.is_none() {
            self.bad(span, "`tool_calls` has neither `min` nor `max`", "such as { max: 1 }");
            return None;
        }
        self.length_limits(fields, min, max);
        Some(CallTest::Number(CallLimits { names, min, max }))
    }

    /// Reads `json_schema:`.
    pub(super) fn json_schema(
        &mut self,
        node: &WithSpan<Yaml>,
        span: &Range<usize>,
    ) -> Option<Predicate> {
        let fields = self.fields(node, "`json_schema`", JSON_SCHEMA_KEYS)?;
        let of = fields.get("of").map_or(Some(false), |node| {
            self.choice(node, &[("reply", false), ("arguments", true)])
        })?;
        let names = match fields.get("name") {
            Some(node) if of => Some(CallNames::Of(self.tool_names(node)?)),
            Some(_) => {
                let span = fields.key("name").unwrap_or_default();
                let message = "`name` applies to the arguments of a tool";
                let finding = Finding::new(PackCode::Contradiction, span, message);
                self.push(finding.help("add `of: arguments`, or drop `name`"));
                return None;
            }
            None => of.then_some(CallNames::Any),
        };
        let schema = self.need(fields, "schema", "`json_schema`", span)?;
        if !matches!(schema.value, Yaml::Map(_) | Yaml::Bool(_)) {
            return self.wrong(schema, "a JSON Schema is a mapping");
        }
        let value = WithSpan { value: json_of(&schema.value), span: schema.span.clone() };
        Some(Predicate::JsonSchema(SchemaCheck { arguments_of: names, schema: value }))
    }

    /// Reads `state:`, two paths of the context.
    pub(super) fn state(
        &mut self,
        node: &WithSpan<Yaml>,
        span: &Range<usize>,
    ) -> Option<Predicate> {
        let fields = self.fields(node, "`state`", STATE_KEYS)?;
        let actual = self.need(fields, "actual", "`state`", span);
        let expected = self.need(fields, "expected", "`state`", span);
        let equal = fields
            .get("compare")
            .map_or(Some(false), |node| self.choice(node, &[("contains", false), ("equal", true)]));
        let [actual, expected] = [actual?, expected?].map(|node| self.context_path(node));
        Some(Predicate::State(StateCheck { actual: actual?, expected: expected?, equal: equal? }))
    }

    /// Reads a path such as `context.final_state`.
    fn context_path(&mut self, node: &WithSpan<Yaml>) -> Option<Vec<String>> {
        let text = self.text(node)?;
        let path = text.strip_prefix("context.").filter(|path| is_path(path));
        let Some(path) = path else {
            let message = format!("`{text}` is not a context value");
            self.bad(&node.span, message, "such as context.final_state");
            return None;
        };
        self.known_fact(path, &node.span, "context.");
        Some(path.split('.').map(str::to_owned).collect())
    }

    /// Reads the name of a tool, or a list of names.
    fn tool_names(&mut self, node: &WithSpan<Yaml>) -> Option<Vec<String>> {
        let names = match &node.value {
            Yaml::List(_) => self.listed_words(Some(node)),
            _ => vec![self.text(node)?],
        };
        if names.is_empty() || names.iter().any(|name| name.trim().is_empty()) {
            self.bad(&node.span, "a tool without a name", "name at least one tool");
            return None;
        }
        Some(names)
    }

    /// Reads `arguments:`, paths with the values that they may have.
    fn arguments(&mut self, node: &WithSpan<Yaml>) -> Vec<Condition> {
        let Yaml::Map(entries) = &node.value else {
            self.wrong::<()>(node, "`arguments` is a mapping of arguments to values");
            return Vec::new();
        };
        let mut conditions = Vec::new();
        for (key, value) in entries {
            if !is_path(&key.value) {
                let message = format!("`{}` is not the path of an argument", key.value);
                self.bad(&key.span, message, "such as price, or room.price in an object");
                continue;
            }
            let values: Vec<Json> = match &value.value {
                Yaml::List(items) => items.iter().filter_map(|item| self.scalar(item)).collect(),
                _ => self.scalar(value).into_iter().collect(),
            };
            if values.is_empty() {
                if matches!(value.value, Yaml::List(_)) {
                    let message = "no value is allowed, so the rule can never hit";
                    self.bad(&value.span, message, "list the values");
                }
                continue;
            }
            conditions.push(Condition {
                path: key.value.split('.').map(str::to_owned).collect(),
                values,
            });
        }
        conditions
    }
}

fn is_path(path: &str) -> bool {
    path.split('.').all(|part| !part.is_empty())
}

/// A YAML value as JSON, in which whole numbers are integers, as JSON Schema wants them.
pub(super) fn json_of(value: &Yaml) -> Json {
    match value {
        Yaml::Null => Json::Null,
        Yaml::Bool(value) => Json::from(*value),
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        Yaml::Number(value) if value.fract().abs() == 0.0 && value.abs() < 9e15 => {
            Json::from(*value as i64)
        }
        Yaml::Number(value) => Json::from(*value),
        Yaml::Text(text) => Json::from(text.as_str()),
        Yaml::List(items) => items.iter().map(|item| json_of(&item.value)).collect(),
        Yaml::Map(entries) => Json::Object(
            entries.iter().map(|(key, value)| (key.value.clone(), json_of(&value.value))).collect(),
        ),
    }
}
