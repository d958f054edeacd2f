//! A model's first runs, before it may be asked: how large a batch should be, where nobody said; what cannot run is found
//! now, and the device's memory grows once.

use std::time::{Duration, Instant};

use crate::encode::tokenize::Encoder;
use crate::encode::tokens::Tokens;
use crate::engine::batch_plan::Limits;
use crate::engine::session::Engine;

/// Token budgets that are tried, largest first: memory that is taken once serves all of them.
const BUDGETS: [usize; 5] = [65_536, 32_768, 16_384, 8_192, 4_096];

/// A smaller batch that is so fast beside the fastest is better: whoever comes next waits less.
const NEARLY: f64 = 0.97;

/// The longest text of a trial; about what dialogues are. Longer ones would measure attention.
const TRIAL_TEXT: usize = 512;

/// Takes the memory of the largest batch there will be. Runs a plain dialogue, whose score must be a number; then the
/// tokenizer's last id, which the model must know; then a largest batch, such as a `max_tokens` beyond the model's positions
/// cannot survive. -> how long that one took.
pub(crate) fn warm_up(
    engine: &mut impl Engine,
    encoder: &Encoder,
    limits: Limits,
) -> Result<Duration, String> {
    engine.reserve(limits.places().max(encoder.max_tokens()))?;
    let probe = encoder.probe()?.tokens;
    let scores = engine.run(&[&probe]).map_err(|error| format!("does not run: {error}"))?;
    if !scores.iter().all(|score| score.is_finite()) {
        return Err(format!("scores a plain dialogue {scores:?}"));
    }
    let vocabulary = encoder.vocabulary();
    if let Some(last) = u32::try_from(vocabulary).ok().and_then(|size| size.checked_sub(1)) {
        engine.run(&[&Tokens::unmarked([last])]).map_err(|error| {
            format!(
                "does not know token id {last}, the last of its tokenizer's {vocabulary}; tokenizer and model are not a \
                 pair: {error}"
            )
        })?;
    }
    let batch =
        strangers(encoder, &probe, encoder.max_tokens(), limits.largest(), limits.max_items);
    let started = Instant::now();
    engine.run(&batch.iter().collect::<Vec<_>>()).map_err(|error| {
        format!(
            "does not run on {} inputs of {} tokens: {error}",
            batch.len(),
            encoder.max_tokens()
        )
    })?;
    Ok(started.elapsed())
}

/// The token budget that suits the device, by trial.
pub(crate) fn tuned_budget(
    engine: &mut impl Engine,
    encoder: &Encoder,
    max_items: usize,
) -> Result<usize, String> {
    let probe = encoder.probe()?.tokens;
    let length = encoder.max_tokens().min(TRIAL_TEXT);
    let layout = engine.layout();
    best(|budget| {
        engine.reserve(Limits::new(layout, budget, max_items).places())?;
        let batch = strangers(encoder, &probe, length, budget, max_items);
        let batch: Vec<&Tokens> = batch.iter().collect();
        // The first run of a shape takes memory and chooses kernels.
        engine.run(&batch)?;
        let started = Instant::now();
        engine.run(&batch)?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let tokens = (batch.len() * length) as f64;
        Ok(tokens / started.elapsed().as_secs_f64())
    })
}

/// The least of [`BUDGETS`] that is nearly as fast as the fastest. `speed` gives tokens a second; what fails, such as for want
/// of memory, is too large. The error is the last one, if all fail.
fn best(mut speed: impl FnMut(usize) -> Result<f64, String>) -> Result<usize, String> {
    let mut failure = String::new();
    let mut tried = Vec::new();
    for budget in BUDGETS {
        match speed(budget) {
            Ok(speed) => tried.push((budget, speed)),
            Err(error) => failure = error,
        }
    }
    let fastest = tried.iter().map(|(_, speed)| *speed).fold(0.0, f64::max);
    let nearly = tried.into_iter().rev().find(|(_, speed)| *speed >= fastest * NEARLY);
    nearly
        .map(|(budget, _)| budget)
        .ok_or_else(|| format!("does not run on {} tokens at once: {failure}", BUDGETS[4]))
}

/// As many texts of `length` tokens as `budget` holds. No two begin alike, so that a packed graph computes them all.
fn strangers(
    encoder: &Encoder,
    probe: &Tokens,
    length: usize,
    budget: usize,
    max_items: usize,
) -> Vec<Tokens> {
    let items = (budget / length.max(1)).clamp(1, max_items.max(1));
    let text = |number: usize| {
        let first = u32::try_from(number % encoder.vocabulary().max(1)).unwrap_or(0);
        let ids: Vec<u32> =
            std::iter::once(first).chain(probe.ids.iter().copied().cycle()).take(length).collect();
        Tokens { reply: probe.reply.clone(), ..Tokens::unmarked(ids) }
    };
    (0..items).map(text).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Device;
    use crate::engine::batch_plan::Layout;
    use crate::engine::session::{OrtEngine, SessionConfig};
    use crate::load::manifest::Manifest;

    #[test]
    fn a_real_session_is_tried_with_texts_that_share_nothing() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny-decoder");
        let manifest = Manifest::load(&folder).unwrap();
        let encoder = Encoder::load(&folder, &manifest).unwrap();
        let config = SessionConfig {
            model: &folder.join(&manifest.files.model),
            output: &manifest.output,
            device: Device::Cpu,
            threads: 1,
            runtime: None,
            block_size: None,
            pad: encoder.pad(),
            first_position: 0,
        };
        let mut engine = OrtEngine::load(&config).unwrap();
        assert!(BUDGETS.contains(&tuned_budget(&mut engine, &encoder, 16).unwrap()));

        let texts = strangers(&encoder, &encoder.probe().unwrap().tokens, 30, 300, 64);
        let texts: Vec<&Tokens> = texts.iter().collect();
        let Layout::Packed(sharing) = engine.layout() else { panic!("a packed decoder") };
        assert_eq!((texts.len(), sharing.nodes(&texts)), (10, 300));
    }

    #[test]
    fn the_smallest_budget_that_is_nearly_as_fast_wins_and_what_does_not_fit_is_out() {
        let tried = |speeds: [Option<f64>; 5]| {
            let mut speeds = speeds.into_iter();
            best(|_| speeds.next().flatten().ok_or_else(|| "no memory".to_owned()))
        };
        assert_eq!(
            tried([Some(100.0), Some(99.0), Some(98.0), Some(90.0), Some(60.0)]),
            Ok(16_384)
        );
        assert_eq!(tried([None, None, Some(98.0), Some(90.0), Some(60.0)]), Ok(16_384));
        assert_eq!(tried([Some(50.0), Some(60.0), Some(70.0), Some(80.0), Some(100.0)]), Ok(4_096));
        assert_eq!(
            tried([None; 5]),
            Err("does not run on 4096 tokens at once: no memory".to_owned())
        );
    }
}
