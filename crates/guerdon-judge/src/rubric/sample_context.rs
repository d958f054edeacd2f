//! Contexts of every kind of value, to tell a body that cannot be rendered from a context that it
//! cannot be rendered with.

use std::collections::BTreeSet;

use guerdon_types::Context;
use serde_json::{Map, Value, json};

use crate::rubric::ContextSelection;

/// Contexts in which the values at `paths`, such as `context.offer.price`, are numbers, texts,
/// lists or mappings; none if nothing is selected, or if the paths are not known.
pub(crate) fn samples(paths: &BTreeSet<String>, selection: &ContextSelection) -> Vec<Context> {
    let ContextSelection::Keys(names) = selection else { return Vec::new() };
    if names.is_empty() {
        return Vec::new();
    }
    let of = |kind: Value| {
        let mut context = Map::new();
        for path in paths {
            set(&mut context, path, &kind);
        }
        context.retain(|key, _| names.contains(key));
        context
    };
    kinds().map(of).into()
}

/// The values of one kind each.
fn kinds() -> [Value; 4] {
    [json!(1), json!("text"), json!([1]), json!({"key": 1})]
}

/// `context` with values of one kind at `paths`, for each kind.
pub(crate) fn replaced(context: &Context, paths: &[&str]) -> [Context; 4] {
    kinds().map(|kind| {
        let mut context = context.clone();
        for path in paths {
            let root = path.split('.').nth(1).unwrap_or_default();
            // What is there may be no mapping.
            if path.split('.').count() == 2 {
                context.remove(root);
            }
            set(&mut context, path, &kind);
        }
        context
    })
}

/// Sets the value at `path` if there is none. A value that is read as a whole is also read in part.
fn set(context: &mut Context, path: &str, kind: &Value) {
    let mut keys: Vec<&str> = path.split('.').skip(1).collect();
    let last = keys.pop().unwrap_or_default();
    let mut map = Some(context);
    for key in keys {
        let inner = map.map(|map| map.entry(key).or_insert_with(|| Value::Object(Map::new())));
        map = inner.and_then(|inner| {
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            inner.as_object_mut()
        });
    }
    if let Some(map) = map {
        map.entry(last).or_insert_with(|| kind.clone());
    }
}
