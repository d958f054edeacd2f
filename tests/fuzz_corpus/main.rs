//! The kept corpus of the fuzz targets, run through the functions that the targets call.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use guerdon_tests::fuzzed::FUZZ_TARGETS;
use guerdon_tests::repository;

#[expect(clippy::disallowed_methods, reason = "a test reads its own files")]
fn inputs(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap();
    let read = |entry: std::fs::DirEntry| {
        (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap())
    };
    entries.map(|entry| read(entry.unwrap())).collect()
}

#[test]
fn every_input_of_the_corpus_is_harmless() {
    for (target, run) in FUZZ_TARGETS {
        let inputs = inputs(&repository().join("fuzz/corpus").join(target));
        assert!(!inputs.is_empty(), "{target} has no corpus");
        for (name, input) in inputs {
            let outcome = std::panic::catch_unwind(|| run(&input));
            assert!(outcome.is_ok(), "{target} fails on fuzz/corpus/{target}/{name}");
        }
    }
}
