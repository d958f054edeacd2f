//! The first runs of a model at load: trials that find the batch size, tests of the inputs at the
//! limits, and allocation of the device's memory.

use std::time::{Duration, Instant};

use crate::Device;
use crate::encode::tokenize::Encoder;
use crate::encode::tokens::TokenSequence;
use crate::engine::batch_plan::BatchLimits;
use crate::engine::head::RawScore;
use crate::engine::session::InferenceEngine;

/// Token budgets to try, largest first, so that memory is allocated once for all of them.
const BUDGETS: [usize; 5] = [65_536, 32_768, 16_384, 8_192, 4_096];

/// Share of the highest speed at which a smaller batch is preferred, since later requests wait
/// less.
const NEARLY_FASTEST: f64 = 0.97;

/// The longest text of a trial, typical of dialogues. Longer texts would measure mostly attention.
const TRIAL_TEXT: usize = 512;

/// Runs three tests: a plain dialogue, whose score must be finite; the tokenizer's last id, which
/// the model must accept; and a longest text, which fails if `max_tokens` exceeds the model's
/// positions. On a GPU the last test is a largest batch, so that its memory is allocated. On a CPU
/// it is one text, because memory is allocated as batches need it. Returns the run time of a largest
/// batch.
pub(crate) fn warm_up(
    engine: &mut impl InferenceEngine,
    encoder: &Encoder,
    limits: BatchLimits,
    device: Device,
) -> Result<Duration, String> {
    engine.reserve(limits.cache_entries().max(encoder.max_tokens()))?;
    let probe = encoder.probe()?.tokens;
    let scores = engine.run(&[&probe]).map_err(|error| format!("does not run: {error}"))?;
    if let Some(number) = scores.iter().find_map(RawScore::not_finite) {
        return Err(format!("scores a plain dialogue {number}"));
    }
    let vocabulary = encoder.vocabulary();
    if let Some(last) = u32::try_from(vocabulary).ok().and_then(|size| size.checked_sub(1)) {
        engine.run(&[&TokenSequence::unmarked([last])]).map_err(|error| {
            format!(
                "does not know token id {last}, the last of its tokenizer's {vocabulary}; the tokenizer \
                 belongs to another model: {error}"
            )
        })?;
    }
    let tokens = match device {
        Device::Cpu => encoder.max_tokens(),
        Device::Cuda(_) => limits.largest(),
    };
    let batch = unrelated_texts(encoder, &probe, encoder.max_tokens(), tokens, limits.max_items);
    let started = Instant::now();
    engine.run(&batch.iter().collect::<Vec<_>>()).map_err(|error| {
        format!(
            "does not run on {} inputs of {} tokens: {error}",
            batch.len(),
            encoder.max_tokens()
        )
    })?;
    let computed = batch.len() * encoder.max_tokens();
    let largest = u32::try_from(limits.largest().div_ceil(computed.max(1))).unwrap_or(u32::MAX);
    Ok(started.elapsed().saturating_mul(largest.max(1)))
}

/// The token budget that suits the device, found by trial.
pub(crate) fn tuned_budget(
    engine: &mut impl InferenceEngine,
    encoder: &Encoder,
    max_items: usize,
) -> Result<usize, String> {
    let probe = encoder.probe()?.tokens;
    let length = encoder.max_tokens().min(TRIAL_TEXT);
    let layout = engine.layout();
    smallest_fast_budget(|budget| {
        engine.reserve(BatchLimits::new(layout, budget, max_items).cache_entries())?;
        let batch = unrelated_texts(encoder, &probe, length, budget, max_items);
        let batch: Vec<&TokenSequence> = batch.iter().collect();
        // The first run of a shape allocates memory and selects kernels.
        engine.run(&batch)?;
        let started = Instant::now();
        engine.run(&batch)?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let tokens = (batch.len() * length) as f64;
        Ok(tokens / started.elapsed().as_secs_f64())
    })
}

/// The smallest of [`BUDGETS`] that is nearly as fast as the fastest. `speed` returns tokens per
/// second; a budget that fails, such as for lack of memory, is skipped. Returns the last error if
/// all fail.
fn smallest_fast_budget(
    mut speed: impl FnMut(usize) -> Result<f64, String>,
) -> Result<usize, String> {
    let mut failure = String::new();
    let mut tried = Vec::new();
    for budget in BUDGETS {
        match speed(budget) {
            Ok(speed) => tried.push((budget, speed)),
            Err(error) => failure = error,
        }
    }
    let fastest = tried.iter().map(|(_, speed)| *speed).fold(0.0, f64::max);
    let nearly = tried.into_iter().rev().find(|(_, speed)| *speed >= fastest * NEARLY_FASTEST);
    nearly
        .map(|(budget, _)| budget)
        .ok_or_else(|| format!("does not run on {} tokens at once: {failure}", BUDGETS[4]))
}

/// As many texts of `length` tokens as `budget` holds. Each begins with another id, so that a
/// packed graph computes all of them.
fn unrelated_texts(
    encoder: &Encoder,
    probe: &TokenSequence,
    length: usize,
    budget: usize,
    max_items: usize,
) -> Vec<TokenSequence> {
    let items = (budget / length.max(1)).clamp(1, max_items.max(1));
    let text = |number: usize| {
        let first = u32::try_from(number % encoder.vocabulary().max(1)).unwrap_or(0);
        let ids: Vec<u32> =
            std::iter::once(first).chain(probe.ids.iter().copied().cycle()).take(length).collect();
        TokenSequence { reply: probe.reply.clone(), ..TokenSequence::unmarked(ids) }
    };
    (0..items).map(text).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::batch_plan::Layout;
    use crate::engine::session::{OrtEngine, SessionConfig};
    use crate::load::manifest::Manifest;

    #[test]
    fn budget_trial_runs_a_real_session_on_unrelated_texts() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny-decoder");
        let manifest = Manifest::load(&folder).unwrap();
        let encoder = Encoder::load(&folder, &manifest).unwrap();
        let head = encoder.head(&manifest.output).unwrap();
        let model = folder.join(&manifest.files.model);
        let config = SessionConfig { pad: encoder.pad(), ..SessionConfig::on_cpu(&model, &head) };
        let mut engine = OrtEngine::load(&config).unwrap();
        assert!(BUDGETS.contains(&tuned_budget(&mut engine, &encoder, 16).unwrap()));

        let texts = unrelated_texts(&encoder, &encoder.probe().unwrap().tokens, 30, 300, 64);
        let texts: Vec<&TokenSequence> = texts.iter().collect();
        let Layout::Packed(sharing) = engine.layout() else { panic!("a packed decoder") };
        assert_eq!((texts.len(), sharing.nodes(&texts)), (10, 300));
    }

    #[test]
    fn smallest_nearly_fastest_budget_is_chosen_and_failing_budgets_are_skipped() {
        let tried = |speeds: [Option<f64>; 5]| {
            let mut speeds = speeds.into_iter();
            smallest_fast_budget(|_| speeds.next().flatten().ok_or_else(|| "no memory".to_owned()))
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
