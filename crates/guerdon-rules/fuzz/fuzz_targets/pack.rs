//! Any text is a valid pack or yields a report, and never a panic.
#![no_main]

use guerdon_rules::{SourceText, RulePacks, format};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let pack = SourceText { name: "fuzz.yaml".into(), text: text.into() };
    match RulePacks::compile(std::slice::from_ref(&pack)) {
        Ok(_) => assert!(format(&pack).is_ok()),
        Err(report) => assert!(!report.to_string().is_empty()),
    }
});
