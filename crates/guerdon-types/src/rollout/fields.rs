//! The fields of a rollout, and what becomes of others.

use std::fmt;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, forward_to_deserialize_any};
use serde_json::{Map, Value};

use super::Rollout;
use crate::context::JsonValue;

/// The fate of fields that a rollout does not have, such as the columns of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExtraFields {
    /// They are facts in `context`, unless it has a fact of that name. Fields that are `null` are
    /// left out.
    Context,
    /// They are left out.
    Ignore,
}

impl Rollout {
    /// The names of the fields of a rollout.
    ///
    /// ```
    /// assert!(guerdon_types::Rollout::field_names().contains(&"messages"));
    /// ```
    #[must_use]
    pub fn field_names() -> &'static [&'static str] {
        match Self::deserialize(FieldNames) {
            Err(Names(names)) => names,
            Ok(_) => &[],
        }
    }
}

/// The JSON text of a rollout without the fields that a rollout does not have. `None` if `json` is
/// no object, or has no such field.
pub(crate) fn without_extra(json: &str, extra: ExtraFields) -> Option<String> {
    let JsonValue(Value::Object(fields)) = serde_json::from_str(json).ok()? else { return None };
    let names = Rollout::field_names();
    let (mut known, others): (Map<_, _>, Map<_, _>) =
        fields.into_iter().partition(|(name, value)| {
            names.contains(&name.as_str()) && (name != "rubric" || is_rubric(value))
        });
    if others.is_empty() {
        return None;
    }
    if extra == ExtraFields::Context {
        let context = known.entry("context").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(context) = context {
            for (name, value) in others.into_iter().filter(|(_, value)| !value.is_null()) {
                context.entry(name).or_insert(value);
            }
        }
    }
    Some(Value::Object(known).to_string())
}

/// True if the field `rubric` is one of a rollout: a list of criteria. A column of a data set with
/// this name may hold anything else.
fn is_rubric(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(Value::is_object),
        other => other.is_null(),
    }
}

/// A deserializer that answers with the names of the fields that a struct asks for.
struct FieldNames;

/// The names, in the place of an error.
#[derive(Debug)]
struct Names(&'static [&'static str]);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fields are {}", self.0.join(", "))
    }
}

impl std::error::Error for Names {}

impl serde::de::Error for Names {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

impl<'de> Deserializer<'de> for FieldNames {
    type Error = Names;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Names> {
        Err(Names::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Names> {
        Err(Names(fields))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::RolloutEntry;

    #[test]
    fn every_written_field_is_among_the_names() {
        let rollout = json!({ "id": "a", "messages": [], "context": { "a": 1 }, "tools": [{}] });
        let rollout: Rollout = serde_json::from_str(&rollout.to_string()).unwrap();
        let Value::Object(written) = serde_json::to_value(&rollout).unwrap() else { panic!() };
        assert!(written.keys().all(|name| Rollout::field_names().contains(&name.as_str())));
    }

    #[test]
    fn other_fields_are_facts_or_left_out_if_asked_for() {
        let json = json!({ "messages": [{ "role": "assistant", "content": "a" }], "topic": "x",
            "gap": null, "price": 1, "context": { "price": 2 } });
        let json = json.to_string();
        let context = |extra| {
            let rollout = RolloutEntry::parse_with(&json, extra).rollout;
            rollout.map(|rollout| Value::Object(rollout.context))
        };
        assert!(context(None).is_err());
        let kept = context(Some(ExtraFields::Context)).unwrap();
        assert_eq!(kept, json!({ "price": 2, "topic": "x" }));
        assert_eq!(context(Some(ExtraFields::Ignore)).unwrap(), json!({ "price": 2 }));
        let column =
            r#"{"messages": [{"role": "assistant", "content": "a"}], "rubric": "be kind"}"#;
        assert!(RolloutEntry::parse(column).rollout.is_err());
        let kept = RolloutEntry::parse_with(column, Some(ExtraFields::Context)).rollout.unwrap();
        assert_eq!(Value::Object(kept.context), json!({ "rubric": "be kind" }));
        let broken = RolloutEntry::parse_with("[]", Some(ExtraFields::Ignore));
        assert!(broken.rollout.unwrap_err().detail.ends_with("a list"));
    }
}
