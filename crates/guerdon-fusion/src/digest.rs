//! The digest of sources and fusion: one hash of everything that shapes a reward.
//!
//! The hashed text is JSON with sorted keys, so it does not depend on the order of a configuration
//! file, on its comments, or on the machine.

use guerdon_types::{ConfigDigest, FusionConfig};
use serde_json::{Value, json};

use crate::ScorerSource;

/// Counts changes to the arithmetic of rewards. It is part of every digest, so that two versions of
/// guerdon that compute different rewards from one configuration have different digests. Raise it
/// with any change to the numbers of a source or of the fusion.
pub const SCORING_REVISION: u32 = 1;

/// The digest of `sources`, in their order, and `fusion`.
pub(crate) fn of(sources: &[ScorerSource], fusion: &FusionConfig) -> ConfigDigest {
    let sources: Vec<Value> = sources.iter().filter_map(ScorerSource::shape).collect();
    let shape = json!({ "revision": SCORING_REVISION, "fusion": fusion, "sources": sources });
    let mut text = String::new();
    write(&shape, &mut text);
    ConfigDigest::of(text)
}

/// Writes `value` with sorted keys. serde_json sorts them only without its feature
/// `preserve_order`, which another crate of a build may turn on.
fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(object) => {
            let mut keys: Vec<&String> = object.keys().collect();
            keys.sort_unstable();
            text.push('{');
            for key in keys {
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write(&object[key], text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(list) => {
            text.push('[');
            for item in list {
                write(item, text);
                text.push(',');
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> String {
        let mut text = String::new();
        write(&serde_json::from_str(json).unwrap(), &mut text);
        text
    }

    #[test]
    fn key_order_does_not_matter_and_everything_else_does() {
        let one = canonical(r#"{"b": [1, {"y": 2, "x": null}], "a": "t"}"#);
        assert_eq!(one, canonical(r#"{"a":"t","b":[1,{"x":null,"y":2}]}"#));
        for other in [
            r#"{"a":"t","b":[{"x":null,"y":2},1]}"#,
            r#"{"a":"t","b":[1,{"x":0,"y":2}]}"#,
            r#"{"a":"t","b":[1,{"x":null,"y":2.0}]}"#,
            r#"{"a":"t","b":[[1],{"x":null,"y":2}]}"#,
            r#"{"a":"t\"","b":[1,{"x":null,"y":2}]}"#,
            r#"{"a":"t","b":[1,{"x":null},{"y":2}]}"#,
        ] {
            assert_ne!(one, canonical(other), "{other}");
        }
    }

    /// Pins the digest of the default fusion. If it changes although no reward does, clients that
    /// expect a recorded digest are refused after an update.
    #[test]
    fn digest_of_the_default_fusion_is_pinned() {
        let digest = of(&[], &FusionConfig::default());
        assert_eq!(
            digest.as_str(),
            "sha256:12dc9d6bad59d3f8af0a9c0a596519be91ee367592041201412ebe073efbd4d1"
        );
    }
}
