//! The columns of a row, taken one by one.

use guerdon_types::Rollout;
use serde_json::{Map, Value, json};

use super::form::ExtraColumns;
use super::messages::prepended;

/// A row of which columns are taken.
pub(super) struct Row {
    left: Map<String, Value>,
    /// The number of the row in the file, from 1.
    number: usize,
    extra: Option<ExtraColumns>,
    /// Fields of a rollout that are kept as they are.
    passed: Map<String, Value>,
    /// Facts for rules and judge.
    pub(super) facts: Map<String, Value>,
}

/// Fields of a rollout that every form may have, and that are read for themselves.
const READ: &[&str] = &["context", "group", "id", "messages", "tools"];

/// One reply of a row, with the dialogue before it.
pub(super) struct Sample {
    pub(super) messages: Vec<Value>,
    /// Its name among the other replies of the row.
    pub(super) suffix: Option<String>,
}

impl Row {
    pub(super) fn new(
        left: Map<String, Value>,
        number: usize,
        extra: Option<ExtraColumns>,
    ) -> Self {
        Self { left, number, extra, passed: Map::new(), facts: Map::new() }
    }

    /// Takes a column; `None` if it is absent or null.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// Takes the first column of `names` that is there.
    pub(super) fn take_any(&mut self, names: &[&str]) -> Option<Value> {
        names.iter().find_map(|name| self.take(name))
    }

    /// Takes a column that the form needs.
    pub(super) fn need(&mut self, names: &[&str]) -> Result<Value, String> {
        self.take_any(names).ok_or_else(|| format!("it has no `{}`", names.join("` or `")))
    }

    /// Keeps the other fields of a rollout as they are.
    pub(super) fn pass_fields(&mut self) {
        for name in Rollout::field_names().iter().filter(|name| !READ.contains(name)) {
            if let Some(value) = self.take(name) {
                self.passed.insert((*name).to_owned(), value);
            }
        }
    }

    /// Sets the tools, if the row has no column with them.
    pub(super) fn set_tools(&mut self, tools: Value) {
        self.left.entry("tools").or_insert(tools);
    }

    /// Adds a label to the facts: an object, or a text that is one, entry by entry.
    pub(super) fn add_label(&mut self, name: &str, label: Value) {
        let object = match &label {
            Value::String(text) if text.trim_start().starts_with('{') => {
                serde_json::from_str(text).ok()
            }
            Value::Object(facts) => Some(facts.clone()),
            _ => None,
        };
        match object {
            Some(facts) => self.facts.extend(facts.into_iter().filter(|(_, fact)| !fact.is_null())),
            None => {
                self.facts.insert(name.to_owned(), label);
            }
        }
    }

    /// The rollouts of the row, one for each sample. Several samples are a group.
    pub(super) fn rollouts(mut self, samples: Vec<Sample>) -> Vec<Map<String, Value>> {
        let id = self.take_any(&["id", "custom_id", "prompt_id", "uuid"]).map(whole_number);
        let id = id.filter(|id| id.is_string() || id.is_i64() || id.is_u64());
        let name = match &id {
            Some(Value::String(id)) => id.clone(),
            Some(id) => id.to_string(),
            None => format!("row-{}", self.number),
        };
        let is_group = samples.iter().any(|sample| sample.suffix.is_some());
        let group = self.take("group").map(whole_number).or_else(|| is_group.then(|| json!(name)));
        let system = self.take("system").filter(|system| system != "");
        let tools = self.take("tools").and_then(list);
        let score = match self.left.get("score") {
            Some(Value::Array(_)) => self.take("score"),
            Some(Value::String(word)) if word == "all" || word == "last" => self.take("score"),
            _ => None,
        };
        let mut context = match self.take("context") {
            Some(Value::Object(context)) => context,
            _ => Map::new(),
        };
        for (name, value) in std::mem::take(&mut self.facts) {
            context.entry(name).or_insert(value);
        }
        if self.extra == Some(ExtraColumns::Context) {
            for (name, value) in self.left {
                if !value.is_null() {
                    context.entry(name).or_insert(value);
                }
            }
        }
        let rollout = |Sample { messages, suffix }: Sample| {
            let id = match suffix {
                Some(suffix) => Some(json!(format!("{name}-{suffix}"))),
                None => id.clone(),
            };
            let messages = Value::Array(prepended(system.as_ref(), messages));
            let fields = [
                ("id", id),
                ("group", group.clone()),
                ("messages", Some(messages)),
                ("tools", tools.clone()),
                ("score", score.clone()),
                ("context", Some(Value::Object(context.clone()))),
            ];
            let present =
                fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            present.chain(self.passed.clone()).collect()
        };
        samples.into_iter().map(rollout).collect()
    }
}

/// A number without a fraction as an integer: tables hold integers beside gaps as floats.
fn whole_number(value: Value) -> Value {
    match value.as_f64() {
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        Some(number) if number.fract() == 0.0 && number.abs() < 9e15 && value.is_f64() => {
            Value::from(number as i64)
        }
        _ => value,
    }
}

/// A list, also one that is written as JSON in a text.
fn list(value: Value) -> Option<Value> {
    match value {
        Value::String(text) => serde_json::from_str(&text).ok().filter(Value::is_array),
        value => value.is_array().then_some(value),
    }
}
