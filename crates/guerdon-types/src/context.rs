//! Reads the context of a rollout. The general reader of `serde_json` would take the last of two
//! equal keys, and would turn a small body of empty lists into a tree many times its size.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

/// Facts for rules and judge: names to scalars, lists or objects.
pub type Context = Map<String, Value>;

/// The largest number of values in one context, nested ones included.
const MAX_VALUES: usize = 100_000;

/// The approximate size of one value in memory, in bytes, without its texts.
const VALUE_BYTES: usize = 64;

/// Reads a context. Refuses a key that an object has twice, and more than 100,000 values.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Context, D::Error> {
    deserializer.deserialize_map(ObjectVisitor { left: &mut { MAX_VALUES } })
}

/// Reads a list of values, or `null` as an empty one, with the limits of a context.
pub(crate) fn deserialize_list<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Value>, D::Error> {
    let seed = ValueSeed { left: &mut { MAX_VALUES }, is_new: true };
    match seed.deserialize(deserializer)? {
        Value::Array(values) => Ok(values),
        Value::Null => Ok(Vec::new()),
        _ => Err(D::Error::custom("expected a list")),
    }
}

/// A JSON value, read with the limits of a context.
pub(crate) struct JsonValue(pub(crate) Value);

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seed = ValueSeed { left: &mut { MAX_VALUES }, is_new: true };
        seed.deserialize(deserializer).map(Self)
    }
}

/// The number of values in a context, nested ones included.
pub(crate) fn values_in(context: &Context) -> usize {
    context.values().map(values_of).sum()
}

/// The number of values in a value, itself included.
pub(crate) fn values_of(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(values_of).sum(),
        Value::Object(fields) => values_in(fields),
        _ => 0,
    }
}

/// The approximate size of a context in memory, in bytes.
pub(crate) fn weight(context: &Context) -> usize {
    context.iter().map(|(key, value)| key.len() + weight_of(value)).sum()
}

/// The approximate size of a value in memory, in bytes.
pub(crate) fn weight_of(value: &Value) -> usize {
    VALUE_BYTES
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(weight_of).sum(),
            Value::Object(fields) => weight(fields),
            _ => 0,
        }
}

/// Reads the entries of an object.
struct ObjectVisitor<'c> {
    /// Values that may still be read.
    left: &'c mut usize,
}

impl<'de> Visitor<'de> for ObjectVisitor<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let is_new = !object.contains_key(&key);
            let value = entries.next_value_seed(ValueSeed { left: self.left, is_new })?;
            object.insert(key, value);
        }
        Ok(object)
    }
}

/// Reads one value.
struct ValueSeed<'c> {
    left: &'c mut usize,
    /// False for the second value of a key, which is refused here, where an error has the key in
    /// its path.
    is_new: bool,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if !self.is_new {
            return Err(D::Error::custom("the object has this key twice"));
        }
        *self.left = self.left.checked_sub(1).ok_or_else(|| {
            D::Error::custom(format_args!("it has more than {MAX_VALUES} values"))
        })?;
        deserializer.deserialize_any(ValueVisitor { left: self.left })
    }
}

struct ValueVisitor<'c> {
    left: &'c mut usize,
}

impl<'de> Visitor<'de> for ValueVisitor<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) =
            items.next_element_seed(ValueSeed { left: &mut *self.left, is_new: true })?
        {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Value, A::Error> {
        ObjectVisitor { left: self.left }.visit_map(entries).map(Value::Object)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::RolloutEntry;

    fn entry(context: &str) -> RolloutEntry {
        RolloutEntry::parse(&format!(
            r#"{{"messages": [{{"role": "assistant", "content": "a"}}], "context": {context}}}"#
        ))
    }

    #[test]
    fn key_that_an_object_has_twice_is_refused_with_its_place() {
        for (context, pointer) in [
            (r#"{"a": 1, "b": 2, "a": 1}"#, "/context/a"),
            (r#"{"a": {"b": [0, {"c": 1, "c": null}]}}"#, "/context/a/b/1/c"),
            (r#"{"a": 1, "\u0061": 2}"#, "/context/a"),
        ] {
            let invalid = entry(context).rollout.unwrap_err();
            assert_eq!(invalid.pointer, pointer, "{invalid:?}");
            assert!(invalid.detail.contains("twice"), "{invalid:?}");
        }
        assert!(entry(r#"{"a": {"a": 1}, "b": {"a": 2}}"#).rollout.is_ok());
    }

    #[test]
    fn context_of_too_many_values_is_refused() {
        let lists = |count: usize| format!(r#"{{"a": [{}]}}"#, vec!["[]"; count].join(","));
        assert!(entry(&lists(MAX_VALUES - 1)).rollout.is_ok());
        let invalid = entry(&lists(MAX_VALUES)).rollout.unwrap_err();
        assert!(invalid.detail.contains("more than 100000 values"), "{invalid:?}");
        assert!(invalid.pointer.starts_with("/context/a"), "{invalid:?}");
    }

    #[test]
    fn other_kinds_than_an_object_are_refused() {
        for context in ["3", "null", "[]", "\"a\""] {
            let invalid = entry(context).rollout.unwrap_err();
            assert_eq!(invalid.pointer, "/context", "{invalid:?}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e300..1e300f64).prop_map(Value::from),
            "\\PC{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("\\PC{0,4}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_object_is_read_as_by_the_general_reader(value in any_json()) {
            let context = json!({ "value": value });
            let text = context.to_string();
            let general: Context = serde_json::from_str(&text).unwrap();
            let read = deserialize(&mut serde_json::Deserializer::from_str(&text)).unwrap();
            prop_assert_eq!(&read, &general);
        }
    }
}
