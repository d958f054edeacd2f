//! See `guerdon_tests::fuzzed::adapter`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| guerdon_tests::fuzzed::adapter(data));
