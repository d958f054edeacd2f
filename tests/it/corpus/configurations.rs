//! Configuration files of the first edition: each must load and keep its meaning.
//!
//! A configuration is `NAME.toml`, with variables of the environment in its comment lines `#
//! GUERDON__…=…`. Its meaning, which `guerdon config show` prints, is `NAME.json`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use guerdon_server::config::ConfigSource;
use serde_json::Value;

use super::case;
use super::compare::differences;

fn meaning(file: &Path, text: &str) -> Value {
    let variables = text.lines().filter_map(|line| line.strip_prefix("# ")?.split_once('='));
    let variables = variables.filter(|(name, _)| name.starts_with("GUERDON__"));
    let environment: BTreeMap<_, _> =
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let environment = Arc::new(environment);
    let source = ConfigSource { file: Some(file.to_owned()), environment, overrides: Vec::new() };
    serde_json::to_value(source.load().expect("a valid configuration")).unwrap()
}

fn replay(name: &str, file: &Path) {
    let found = meaning(file, &case::read(file));
    let recorded = case::path("configurations").join(format!("{name}.json"));
    if case::records() {
        case::write(&recorded, &found);
        return;
    }
    let recorded: Value = serde_json::from_str(&case::read(&recorded)).unwrap();
    let differences = differences(&recorded, &found);
    assert!(differences.is_empty(), "`{name}` means something else:\n{}", differences.join("\n"));
}

#[test]
fn recorded_configurations_keep_their_meaning() {
    let names = case::names("configurations", "toml");
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        replay(&name, &case::path("configurations").join(format!("{name}.toml")));
    }
}
