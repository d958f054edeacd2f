//! Padding check at load: a text must have the same score alone and padded next to a longer text.
//!
//! Some graphs ignore padded columns because the attention mask hides them. Others, such as the
//! decoders of transformers' `ForSequenceClassification`, find the end of a text by comparing ids
//! with their own padding id. With any other id in the padding, their scores change.

use guerdon_types::{Message, Role};

use crate::Device;
use crate::encode::tokenize::Encoder;
use crate::encode::tokens::TokenSequence;
use crate::engine::batch_plan::Layout;
use crate::engine::session::{InferenceEngine as _, OrtEngine};

/// Chooses the id that pads the shorter texts of a batch, and sets it on `engine`. Returns `None`
/// for a model whose padding id is unknown and affects scores: its batches hold texts of one
/// length.
///
/// # Errors
///
/// Returns a message if the model's files name a padding token that changes a score.
pub(crate) fn choose_padding(
    engine: &mut OrtEngine,
    encoder: &Encoder,
    device: Device,
) -> Result<Option<u32>, String> {
    if matches!(engine.layout(), Layout::Packed(_)) {
        return Ok(encoder.pad());
    }
    let texts = probe_texts(encoder)?;
    engine.set_pad(None);
    let alone = texts
        .iter()
        .map(|text| {
            engine.run(&[text]).map(|scores| scores.first().map_or(f32::NAN, |score| score.value))
        })
        .collect::<Result<Vec<f32>, String>>()
        .map_err(|error| format!("does not run: {error}"))?;
    if let Some(pad) = encoder.pad() {
        return match first_mismatch(engine, &texts, &alone, pad, device)? {
            None => Ok(Some(pad)),
            Some(PaddingMismatch { tokens, alone, longest, padded }) => Err(format!(
                "scores a text of {tokens} tokens {alone} alone and {padded} padded to {longest} tokens \
                 with `{}` (id {pad}); set `input.pad_token` in guerdon.model.toml to the token whose \
                 id is `pad_token_id` in the model's config.json, or turn batches off with `max_batch = 1`",
                encoder.token(pad)
            )),
        };
    }
    // If the mask hides the padding, any id works. Two ids of the vocabulary are tried.
    let known = texts[2].ids[texts[2].len() / 2];
    for pad in [known, 0] {
        if first_mismatch(engine, &texts, &alone, pad, device)?.is_some() {
            engine.set_pad(None);
            tracing::warn!(
                "the model's padding token is unknown and changes scores, so each batch holds texts of \
                 one length only, which is slower; set `input.pad_token` in guerdon.model.toml to the \
                 token whose id is `pad_token_id` in the model's config.json"
            );
            return Ok(None);
        }
    }
    Ok(Some(0))
}

/// A text whose score depends on padding.
#[derive(Debug)]
struct PaddingMismatch {
    tokens: usize,
    alone: f32,
    longest: usize,
    padded: f32,
}

/// Runs `texts` as one batch padded with `pad`, which stays set on the engine. Returns the first
/// text whose score differs from its score in `alone` by more than rounding.
fn first_mismatch(
    engine: &mut OrtEngine,
    texts: &[TokenSequence],
    alone: &[f32],
    pad: u32,
    device: Device,
) -> Result<Option<PaddingMismatch>, String> {
    let rounding = match device {
        Device::Cpu => 2e-3,
        Device::Cuda(_) => 2e-2,
    };
    engine.set_pad(Some(pad));
    let batch: Vec<&TokenSequence> = texts.iter().collect();
    let padded = engine.run(&batch).map_err(|error| format!("does not run padded: {error}"))?;
    let longest = texts.iter().map(TokenSequence::len).max().unwrap_or(0);
    let differs = |(_, alone, padded): &(&TokenSequence, f32, f32)| {
        let same = (alone - padded).abs() <= rounding * alone.abs().max(1.0);
        // The warm-up reports texts whose score alone is not finite.
        !same && alone.is_finite()
    };
    let mut scores =
        texts.iter().zip(alone.iter().copied()).zip(padded).map(|((t, a), p)| (t, a, p.value));
    Ok(scores.find(differs).map(|(text, alone, padded)| PaddingMismatch {
        tokens: text.len(),
        alone,
        longest,
        padded,
    }))
}

/// Texts of three different lengths, the shortest first.
fn probe_texts(encoder: &Encoder) -> Result<[TokenSequence; 3], String> {
    let encode = |repeats: usize| {
        let reply = vec!["And 420 for two nights?"; repeats].join(" ");
        let dialogue = [
            Message::new(Role::User, "480 is our best price."),
            Message::new(Role::Assistant, reply),
        ];
        encoder.encode(&dialogue, 1).map(|encoded| encoded.tokens)
    };
    let [short, middle, long] = [encode(1)?, encode(2)?, encode(6)?];
    // `max_tokens` can truncate all three to one length, so the shorter two are cut further.
    let cut = |tokens: TokenSequence, most: usize| tokens.keep_end(0, most.max(1));
    let middle = cut(middle, long.len().saturating_sub(1));
    let short = cut(short, middle.len().saturating_sub(1));
    Ok([short, middle, long])
}
