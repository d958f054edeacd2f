//! See `guerdon_tests::fuzzed::compressed_body`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| guerdon_tests::fuzzed::compressed_body(data));
