//! The JSON Schema refuses every structural mistake that the loader refuses, and no pack that the
//! loader accepts.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

use std::path::Path;

use guerdon_rules::json_schema;
use serde_json::Value;

use crate::mistakes::mistakes;

/// The schema as an editor uses it.
struct Schema {
    schemas: boon::Schemas,
    index: boon::SchemaIndex,
}

impl Schema {
    fn new() -> Self {
        let schema: Value = serde_json::from_str(&json_schema()).unwrap();
        let mut compiler = boon::Compiler::new();
        compiler.add_resource("schema.json", schema).unwrap();
        let mut schemas = boon::Schemas::new();
        let index = compiler.compile("schema.json", &mut schemas).unwrap();
        Self { schemas, index }
    }

    /// The errors of a pack, or an empty text.
    fn errors(&self, pack: &Value) -> String {
        self.schemas.validate(pack, self.index).err().map(|e| e.to_string()).unwrap_or_default()
    }
}

/// A pack as an editor reads it: `.nan` has no form in JSON.
fn read(yaml: &str) -> Value {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
    };
    serde_saphyr::from_str_with_options(yaml, options).unwrap()
}

#[test]
fn the_schema_refuses_every_structural_mistake() {
    let schema = Schema::new();
    let accepted: Vec<String> = mistakes("structure.txt")
        .into_iter()
        .filter(|case| schema.errors(&read(&case.text)).is_empty())
        .map(|case| case.name)
        .collect();
    assert!(accepted.is_empty(), "{accepted:#?}");
}

#[test]
fn the_schema_accepts_packs_whose_mistakes_only_the_loader_finds() {
    let schema = Schema::new();
    for case in mistakes("meaning.txt") {
        let errors = schema.errors(&read(&case.text));
        assert!(errors.is_empty(), "{}: {errors}", case.name);
    }
}

#[expect(clippy::disallowed_methods, reason = "a test reads the shipped packs")]
#[test]
fn the_schema_accepts_every_shipped_pack() {
    let schema = Schema::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut count = 0;
    for folder in ["rules", "examples/rules"] {
        for entry in root.join(folder).read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "yaml") {
                let pack = read(&std::fs::read_to_string(&path).unwrap());
                let errors = schema.errors(&pack);
                assert!(errors.is_empty(), "{}: {errors}", path.display());
                count += 1;
            }
        }
    }
    assert!(count >= 9, "only {count} packs");
}
