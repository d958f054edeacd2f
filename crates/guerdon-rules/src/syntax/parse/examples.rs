//! Parses the examples of a rule.

use std::ops::Range;

use guerdon_text::{Finding, nearest};
use guerdon_types::{Context, Message, ToolCall};
use serde_json::Value as Json;

use super::{CALL_KEYS, EXAMPLE_KEYS, EXAMPLES_KEYS, MESSAGE_KEYS, ROLES, json, tools};
use crate::syntax::codes::PackCode;
use crate::syntax::facts::FactLookup;
use crate::syntax::fields::Reader;
use crate::syntax::pack::RuleExample;
use crate::syntax::yaml::{WithSpan, Yaml};

impl Reader<'_> {
    /// Reports the facts of an example that the pack does not declare, or declares otherwise.
    fn example_facts(&mut self, node: &WithSpan<Yaml>, prefix: &str) {
        let Yaml::Map(entries) = &node.value else { return };
        for (key, value) in entries {
            let path = format!("{prefix}{}", key.value);
            let is_group = self
                .declared
                .facts
                .as_ref()
                .is_some_and(|facts| matches!(facts.get(&path), FactLookup::Group));
            if is_group && matches!(value.value, Yaml::Map(_)) {
                self.example_facts(value, &format!("{path}."));
            } else {
                self.known_fact(&path, &key.span, "");
                self.possible_value(&path, value);
            }
        }
    }

    pub(super) fn examples(
        &mut self,
        node: &WithSpan<Yaml>,
    ) -> (Vec<RuleExample>, Vec<RuleExample>) {
        let Some(fields) = self.fields(node, "`examples`", EXAMPLES_KEYS) else {
            return (Vec::new(), Vec::new());
        };
        let mut read = |key: &str| {
            let nodes = fields.get(key).map_or(&[][..], |node| self.list(node));
            nodes.iter().filter_map(|node| self.example(node)).collect()
        };
        (read("hits"), read("misses"))
    }

    fn example(&mut self, node: &WithSpan<Yaml>) -> Option<RuleExample> {
        let span = node.span.clone();
        if !matches!(node.value, Yaml::Map(_)) {
            let text = self.text(node)?;
            return Some(RuleExample {
                span,
                text,
                context: Context::new(),
                before: Vec::new(),
                tool_calls: Vec::new(),
                tools: Vec::new(),
                is_sound: true,
            });
        }
        if let Yaml::Map(entries) = &node.value
            && let [(key, _)] = entries.as_slice()
            && !EXAMPLE_KEYS.contains(&key.value.as_str())
            && nearest(&key.value, EXAMPLE_KEYS.iter().copied()).is_none()
        {
            let message = "a text with a colon is read as a mapping";
            let finding = Finding::new(PackCode::WrongType, key.span.clone(), message);
            self.push(finding.help("quote a text that contains `: `, or write `text:` before it"));
            return None;
        }
        let fields = self.fields(node, "an example", EXAMPLE_KEYS)?;
        // A turn that only calls tools has no text.
        let (place, text) = match (fields.get("text"), fields.get("tool_calls")) {
            (None, Some(calls)) => (calls.span.clone(), String::new()),
            _ => {
                let node = self.need(fields, "text", "the example", &span)?;
                (node.span.clone(), self.text(node)?)
            }
        };
        let found = self.findings.len();
        let context =
            fields.get("context").map_or_else(Context::new, |node| match json(&node.value) {
                Json::Object(map) => {
                    self.example_facts(node, "");
                    map
                }
                _ => self.wrong(node, "`context` is a mapping").unwrap_or_default(),
            });
        let is_sound = self.findings.len() == found;
        let before = fields.get("before").map_or(&[][..], |node| self.list(node));
        let before = before.iter().filter_map(|node| self.message(node, &span)).collect();
        let tool_calls = fields.get("tool_calls").map_or_else(Vec::new, |node| self.calls(node));
        let tools = match fields.get("tools").map(|node| tools::json_of(&node.value)) {
            Some(Json::Array(tools)) => tools,
            _ => Vec::new(),
        };
        let span = place;
        Some(RuleExample { span, text, context, before, tool_calls, tools, is_sound })
    }

    /// Reads the tool calls of an example.
    fn calls(&mut self, node: &WithSpan<Yaml>) -> Vec<ToolCall> {
        self.list(node).iter().filter_map(|node| self.call(node)).collect()
    }

    fn call(&mut self, node: &WithSpan<Yaml>) -> Option<ToolCall> {
        let fields = self.fields(node, "a tool call", CALL_KEYS)?;
        let name = self.need(fields, "name", "the tool call", &node.span)?;
        let name = self.text(name)?;
        // A text stands for itself, so that an example can have arguments that are not JSON.
        let arguments = match fields.get("arguments").map(|node| &node.value) {
            Some(Yaml::Text(text)) => text.clone(),
            Some(value) => tools::json_of(value).to_string(),
            None => String::new(),
        };
        Some(ToolCall { id: None, name, arguments })
    }

    fn message(&mut self, node: &WithSpan<Yaml>, at: &Range<usize>) -> Option<Message> {
        let fields = self.fields(node, "a message", MESSAGE_KEYS)?;
        let role =
            self.need(fields, "role", "the message", at).and_then(|node| self.choice(node, &ROLES));
        let tool_calls = fields.get("tool_calls").map_or_else(Vec::new, |node| self.calls(node));
        let content = match fields.get("content") {
            None if !tool_calls.is_empty() => Some(String::new()),
            _ => self.need(fields, "content", "the message", at).and_then(|node| self.text(node)),
        };
        Some(Message { tool_calls, ..Message::new(role?, content?) })
    }
}
