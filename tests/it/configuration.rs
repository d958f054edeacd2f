//! The shipped configuration file names every key, in a form that is valid once the comment sign is
//! removed.

use guerdon_server::config::Config;
use guerdon_tests::repository;
use serde_json::Value;

/// Tables whose keys are named elsewhere in the file: a fallback judge takes the keys of a judge.
const NAMED_ELSEWHERE: [&str; 1] = ["fallback"];

/// The shipped configuration with every key set.
pub(crate) fn every_key() -> (Value, Config) {
    #[expect(clippy::disallowed_methods, reason = "a test reads the shipped configuration")]
    let text = std::fs::read_to_string(repository().join("guerdon.toml")).unwrap();
    let text: Vec<&str> = text.lines().map(uncommented).collect();
    (toml::from_str(&text.join("\n")).unwrap(), toml::from_str(&text.join("\n")).unwrap())
}

#[test]
fn shipped_configuration_names_every_key() {
    let (named, config) = every_key();
    let mut missing = Vec::new();
    compare("", &serde_json::to_value(config).unwrap(), &named, &mut missing);
    assert!(missing.is_empty(), "guerdon.toml does not name {missing:#?}");
}

/// The line without its comment sign if it is a key or a table that is not set.
fn uncommented(line: &str) -> &str {
    let Some(rest) = line.strip_prefix("# ") else { return line };
    let (name, after) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
    let is_key = after.starts_with(" = ") && name.chars().all(is_name);
    let is_table = after.is_empty()
        && name.starts_with('[')
        && name.trim_matches(['[', ']']).chars().all(is_name);
    if is_key || is_table { rest } else { line }
}

/// Collects the paths of `all` that do not occur in `named`.
fn compare(path: &str, all: &Value, named: &Value, missing: &mut Vec<String>) {
    match (all, named) {
        (Value::Object(all), Value::Object(named)) => {
            for (key, value) in all {
                let path = format!("{path}.{key}");
                match named.get(key) {
                    Some(_) if NAMED_ELSEWHERE.contains(&key.as_str()) => {}
                    Some(named) => compare(&path, value, named, missing),
                    None => missing.push(path),
                }
            }
        }
        (Value::Array(all), Value::Array(named)) if all.iter().all(Value::is_object) => {
            // A key must occur in at least one element, because some keys exclude each other.
            let merged: serde_json::Map<String, Value> = named
                .iter()
                .filter_map(Value::as_object)
                .flatten()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            for element in all {
                compare(path, element, &Value::Object(merged.clone()), missing);
            }
        }
        _ => {}
    }
}

#[test]
fn only_commented_keys_and_tables_are_uncommented() {
    assert_eq!(uncommented("# max_batch = 64"), "max_batch = 64");
    assert_eq!(uncommented("# [judges.local.audit]"), "[judges.local.audit]");
    assert_eq!(uncommented("# Most texts of a batch"), "# Most texts of a batch");
    assert_eq!(uncommented("#"), "#");
}
