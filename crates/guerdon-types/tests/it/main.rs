//! Clients must read every recorded reply, and replies to which a later server added words and
//! keys.
//!
//! The recordings are those of `tests/corpus/replies`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test reads its own files")]

use std::path::Path;
use std::sync::LazyLock;

use guerdon_types::{Info, Problem, ScoreResponse, StreamLine};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The type that a client reads a reply as.
#[derive(Debug, Clone, Copy, PartialEq)]
enum ReplyType {
    Score,
    Line,
    Info,
    Problem,
}

/// Parses a reply as a client does, and writes it again.
fn round_trip(kind: ReplyType, reply: &Value) -> Result<Value, serde_json::Error> {
    fn through<T: DeserializeOwned + Serialize>(text: &str) -> Result<Value, serde_json::Error> {
        // By way of text, because a number of 32 bits is only short in text.
        serde_json::from_str(&serde_json::to_string(&serde_json::from_str::<T>(text)?)?)
    }
    let text = reply.to_string();
    match kind {
        ReplyType::Score => through::<ScoreResponse>(&text),
        ReplyType::Line => through::<StreamLine>(&text),
        ReplyType::Info => through::<Info>(&text),
        ReplyType::Problem => through::<Problem>(&text),
    }
}

/// Every recorded reply that the client crate reads.
static RECORDED: LazyLock<Vec<(ReplyType, Value)>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/replies");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut replies = Vec::new();
    for file in files {
        let recording: Value =
            serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        for case in recording["cases"].as_array().unwrap() {
            let path = case["request"]["path"].as_str().unwrap().split('?').next().unwrap();
            let (reply, body) = (&case["reply"], &case["reply"]["body"]);
            if body["type"].as_str().is_some_and(|kind| kind.starts_with("urn:guerdon:problem:")) {
                replies.push((ReplyType::Problem, body.clone()));
            } else if path == "/v1/score" && reply["status"] == 200 {
                let lines = reply["lines"].as_array().into_iter().flatten();
                replies.extend(lines.map(|line| (ReplyType::Line, line.clone())));
                replies.extend((!body.is_null()).then(|| (ReplyType::Score, body.clone())));
            } else if path == "/v1/info" && reply["status"] == 200 {
                replies.push((ReplyType::Info, body.clone()));
            }
        }
    }
    replies
});

/// The differences of `found` to `wanted` that a client would notice: `found` may only have more
/// keys.
fn lost(wanted: &Value, found: &Value, place: &str) -> Vec<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted
            .iter()
            .flat_map(|(key, value)| match found.get(key) {
                Some(found) => lost(value, found, &format!("{place}/{key}")),
                None => vec![format!("{place}/{key} is lost")],
            })
            .collect(),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => wanted
            .iter()
            .zip(found)
            .enumerate()
            .flat_map(|(index, (wanted, found))| lost(wanted, found, &format!("{place}/{index}")))
            .collect(),
        _ if wanted == found || (wanted.is_number() && wanted.as_f64() == found.as_f64()) => {
            Vec::new()
        }
        _ => vec![format!("{place} is {found} instead of {wanted}")],
    }
}

/// Keys whose values are words from a set that a later server may extend.
const WORDS: [&str; 7] = ["aggregate", "code", "inner", "kind", "method", "on_abstain", "why"];

/// Objects whose keys are names, not fields.
const MAPS: [&str; 4] = ["judge", "other", "profiles", "rules"];

/// JSON pointers to every object with fields, and to every word.
fn places(value: &Value, pointer: &str, objects: &mut Vec<String>, words: &mut Vec<String>) {
    let last = pointer.rsplit('/').next().unwrap_or_default();
    match value {
        Value::Object(object) => {
            let is_map = MAPS.contains(&last) && !object.contains_key("points");
            if !is_map && last != "detail" {
                objects.push(pointer.to_owned());
            }
            for (key, value) in object {
                places(value, &format!("{pointer}/{key}"), objects, words);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                places(value, &format!("{pointer}/{index}"), objects, words);
            }
        }
        Value::String(_) if WORDS.contains(&last) => words.push(pointer.to_owned()),
        _ => {}
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            inner.prop_map(|inner| json!({ "inner": inner })),
        ]
    })
}

#[test]
fn every_recorded_reply_is_read_and_written_again() {
    for kind in [ReplyType::Score, ReplyType::Line, ReplyType::Info, ReplyType::Problem] {
        assert!(RECORDED.iter().any(|(one, _)| *one == kind), "no recording of {kind:?}");
    }
    for (kind, reply) in RECORDED.iter() {
        let written = round_trip(*kind, reply).unwrap_or_else(|error| panic!("{error}: {reply}"));
        assert_eq!(lost(reply, &written, ""), [""; 0], "{reply}");
    }
}

proptest! {
    #[test]
    fn new_keys_are_ignored_and_new_words_are_kept(
        reply in any::<prop::sample::Index>(),
        keys in prop::collection::vec((any::<prop::sample::Index>(), "new_[a-z]{1,8}", any_json()), 0..6),
        new_words in prop::collection::vec((any::<prop::sample::Index>(), "[a-z]{1,9}_[a-z]{1,9}"), 0..6),
    ) {
        let (kind, recorded) = reply.get(&RECORDED);
        let (mut objects, mut words) = (Vec::new(), Vec::new());
        places(recorded, "", &mut objects, &mut words);
        let mut wanted = recorded.clone();
        if !words.is_empty() {
            for (place, word) in new_words {
                *wanted.pointer_mut(&words[place.index(words.len())]).unwrap() = word.into();
            }
        }
        let mut sent = wanted.clone();
        for (place, key, value) in keys {
            let object = sent.pointer_mut(&objects[place.index(objects.len())]).unwrap();
            object.as_object_mut().unwrap().insert(key, value);
        }
        let written = round_trip(*kind, &sent);
        prop_assert!(written.is_ok(), "{:?}: {sent}", written.err());
        prop_assert_eq!(lost(&wanted, &written.unwrap(), ""), [""; 0]);
    }
}
