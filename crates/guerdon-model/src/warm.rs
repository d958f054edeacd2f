//! A model's first runs, before it may be asked: how large a batch and a block should be, where nobody said; what cannot run is
//! found now, and the device's memory grows once.

use std::time::Instant;

use crate::batch::Limits;
use crate::session::Engine;
use crate::tokenize::Encoder;
use crate::tokens::Tokens;

/// Token budgets that are tried, largest first: memory that is taken once serves all of them.
const BUDGETS: [usize; 5] = [65_536, 32_768, 16_384, 8_192, 4_096];

/// A smaller batch that is so fast beside the fastest is better: whoever comes next waits less.
const NEARLY: f64 = 0.97;

/// The longest text of a trial; about what dialogues are. Longer ones would measure attention.
const TRIAL_TEXT: usize = 512;

/// Replies to each prompt, where sharing is tried, each a quarter as long as its prompt; and the tokens of such a trial.
const TRIAL_REPLIES: usize = 8;
const TRIAL_TOKENS: usize = 16_384;

/// Runs a plain dialogue, whose score must be a number; then the tokenizer's last id, which the model must know; then the
/// largest batch there will be, such as a `max_tokens` beyond the model's positions cannot survive.
pub(crate) fn warm_up(engine: &mut impl Engine, encoder: &Encoder, limits: Limits) -> Result<(), String> {
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
    let batch = strangers(encoder, &probe, encoder.max_tokens(), limits.largest(), limits.max_items);
    engine.run(&batch.iter().collect::<Vec<_>>()).map(drop).map_err(|error| {
        format!("does not run on {} inputs of {} tokens: {error}", batch.len(), encoder.max_tokens())
    })
}

/// The token budget that suits the device, by trial.
pub(crate) fn tuned_budget(
    engine: &mut impl Engine,
    encoder: &Encoder,
    max_items: usize,
) -> Result<usize, String> {
    let probe = encoder.probe()?.tokens;
    let length = encoder.max_tokens().min(TRIAL_TEXT);
    best(|budget| {
        let batch = strangers(encoder, &probe, length, budget, max_items);
        let batch: Vec<&Tokens> = batch.iter().collect();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let tokens = (batch.len() * length) as f64;
        Ok(tokens / timed(engine, &batch)?)
    })
}

/// The size of a block of the engine's cache, by trial: the one in which samples of prompts are scored fastest.
pub(crate) fn tuned_block(
    engine: &mut impl Engine,
    encoder: &Encoder,
    max_items: usize,
) -> Result<(), String> {
    let probe = encoder.probe()?.tokens;
    let length = encoder.max_tokens().min(TRIAL_TEXT) * 4 / 5;
    let batch = samples(encoder, &probe, length, max_items);
    let batch: Vec<&Tokens> = batch.iter().collect();
    let (mut fastest, mut failure) = (None, String::new());
    for &tokens in engine.block_sizes() {
        engine.set_block_size(tokens);
        match timed(engine, &batch) {
            Ok(time) if fastest.is_none_or(|(least, _)| time < least) => fastest = Some((time, tokens)),
            Ok(_) => {}
            Err(error) => failure = error,
        }
    }
    let (_, tokens) =
        fastest.ok_or_else(|| format!("does not run on {} texts at once: {failure}", batch.len()))?;
    engine.set_block_size(tokens);
    Ok(())
}

/// The time of a run, in seconds. The one before it takes memory and chooses kernels.
fn timed(engine: &mut impl Engine, batch: &[&Tokens]) -> Result<f64, String> {
    engine.run(batch)?;
    let started = Instant::now();
    engine.run(batch)?;
    Ok(started.elapsed().as_secs_f64())
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

/// Replies to prompts of `length` tokens that share nothing, in as many texts as a trial holds.
fn samples(encoder: &Encoder, probe: &Tokens, length: usize, max_items: usize) -> Vec<Tokens> {
    let reply = (length / 4).max(1);
    let prompts = (TRIAL_TOKENS / (length + TRIAL_REPLIES * reply)).max(1) * length;
    let prompts = strangers(encoder, probe, length, prompts, max_items.div_ceil(TRIAL_REPLIES));
    let replies = strangers(encoder, probe, reply, TRIAL_REPLIES * reply, max_items);
    let joined = |prompt: &Tokens, reply: &Tokens| {
        Tokens::unmarked(prompt.ids.iter().chain(&*reply.ids).copied().collect::<Vec<u32>>())
    };
    prompts.iter().flat_map(|prompt| replies.iter().map(|reply| joined(prompt, reply))).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Device;
    use crate::batch::Layout;
    use crate::manifest::Manifest;
    use crate::session::{OrtEngine, SessionConfig};
    use crate::sharing::Sharing;

    fn loaded(folder: &Path) -> (OrtEngine, Encoder) {
        let manifest = Manifest::load(folder).unwrap();
        let encoder = Encoder::load(folder, &manifest).unwrap();
        let config = SessionConfig {
            model: &folder.join(&manifest.files.model),
            output: &manifest.output,
            device: Device::Cpu,
            threads: 1,
            runtime: None,
            pad: encoder.pad(),
        };
        (OrtEngine::load(&config).unwrap(), encoder)
    }

    #[test]
    fn a_real_session_is_tried_with_texts_that_share_nothing() {
        let (mut engine, encoder) = loaded(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny-decoder"));
        assert!(BUDGETS.contains(&tuned_budget(&mut engine, &encoder, 16).unwrap()));

        let texts = strangers(&encoder, &encoder.probe().unwrap().tokens, 30, 300, 64);
        let texts: Vec<&Tokens> = texts.iter().collect();
        let Layout::Packed(sharing) = engine.layout() else { panic!("a packed decoder") };
        assert_eq!((texts.len(), sharing.nodes(&texts)), (10, 300));
    }

    #[test]
    fn a_block_is_tried_where_there_is_a_cache_with_samples_that_share_their_prompts() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny-decoder-paged");
        let (mut engine, encoder) = loaded(&folder);
        assert_eq!(engine.layout(), Layout::Packed(Sharing::Blocks(16)));
        tuned_block(&mut engine, &encoder, 16).unwrap();
        let Layout::Packed(Sharing::Blocks(chosen)) = engine.layout() else { panic!("a paged decoder") };
        assert!(engine.block_sizes().contains(&chosen));

        let probe = encoder.probe().unwrap().tokens;
        let texts = samples(&encoder, &probe, 100, 64);
        assert_eq!(Sharing::Beginnings.nodes(&texts.iter().collect::<Vec<_>>()), 8 * (100 + 8 * 25));
        assert_eq!(samples(&encoder, &probe, 100, usize::MAX).len(), TRIAL_TOKENS / 300 * TRIAL_REPLIES);
    }

    #[test]
    fn the_smallest_budget_that_is_nearly_as_fast_wins_and_what_does_not_fit_is_out() {
        let tried = |speeds: [Option<f64>; 5]| {
            let mut speeds = speeds.into_iter();
            best(|_| speeds.next().flatten().ok_or_else(|| "no memory".to_owned()))
        };
        assert_eq!(tried([Some(100.0), Some(99.0), Some(98.0), Some(90.0), Some(60.0)]), Ok(16_384));
        assert_eq!(tried([None, None, Some(98.0), Some(90.0), Some(60.0)]), Ok(16_384));
        assert_eq!(tried([Some(50.0), Some(60.0), Some(70.0), Some(80.0), Some(100.0)]), Ok(4_096));
        assert_eq!(tried([None; 5]), Err("does not run on 4096 tokens at once: no memory".to_owned()));
    }
}
