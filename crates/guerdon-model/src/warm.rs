//! A model's first runs, before it may be asked: what cannot run is found now, and the device's memory grows once.

use crate::batch::Limits;
use crate::session::Engine;
use crate::tokenize::Encoder;
use crate::tokens::Tokens;

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
    // No two begin alike, so that a packed graph computes them all.
    let longest = |item: usize| {
        let ids: Vec<u32> = probe.ids.iter().copied().cycle().skip(item).take(encoder.max_tokens()).collect();
        Tokens { reply: probe.reply.clone(), ..Tokens::unmarked(ids) }
    };
    let items = (limits.largest() / encoder.max_tokens().max(1)).clamp(1, limits.max_items.max(1));
    let batch: Vec<Tokens> = (0..items).map(longest).collect();
    engine.run(&batch.iter().collect::<Vec<_>>()).map(drop).map_err(|error| {
        format!("does not run on {items} inputs of {} tokens: {error}", encoder.max_tokens())
    })
}
