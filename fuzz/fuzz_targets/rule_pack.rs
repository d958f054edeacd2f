//! See `guerdon_tests::fuzzed::rule_pack`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| guerdon_tests::fuzzed::rule_pack(data));
