//! See `guerdon_tests::fuzzed::judge_reply`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| guerdon_tests::fuzzed::judge_reply(data));
