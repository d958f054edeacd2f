//! A real model from a GGUF file gives the expected reply. Needs the file:
//!
//! ```text
//! GUERDON_TEST_GGUF=SmolLM2-135M-Instruct.Q4_1.gguf \
//!     cargo test -p guerdon-training-example --test it -- gguf --ignored
//! ```

#![expect(clippy::disallowed_methods, reason = "the test gets its file from the environment")]

use std::path::PathBuf;

use guerdon_training_example::checkpoint::Base;
use guerdon_training_example::policy::{Sampling, sample};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

#[test]
#[ignore = "needs a GGUF file of SmolLM2 in GUERDON_TEST_GGUF"]
fn smollm2_knows_the_capital_of_france() {
    let file = PathBuf::from(std::env::var("GUERDON_TEST_GGUF").unwrap());
    let base = Base::adopt(&file, 4, 1).unwrap();
    let mut prompt = base.tokens.reply("The capital of France is").unwrap();
    prompt.pop();
    let sampling =
        Sampling { temperature: 0.0, limit: 3, pad: base.tokens.pad, end: base.tokens.end };
    let mut rng = StdRng::seed_from_u64(1);
    let replies = sample(&base.policy().unwrap(), &[&prompt], sampling, &mut rng).unwrap();
    let text = base.tokens.text(&replies[0].ids).unwrap();
    assert!(text.starts_with(" Paris"), "{text:?}");
}
