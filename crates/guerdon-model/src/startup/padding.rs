//! Padding check at load: a text must have the same score alone as padded next to a longer one.
//!
//! Some graphs ignore padded columns because the attention mask hides them. Others, such as the decoders of transformers'
//! `ForSequenceClassification`, find the end of a text by comparing ids with their own padding id, so that any other id in the
//! padding moves the score.

use guerdon_types::{Message, Role};

use crate::Device;
use crate::encode::tokenize::Encoder;
use crate::encode::tokens::Tokens;
use crate::engine::batch_plan::Layout;
use crate::engine::session::{Engine as _, OrtEngine};

/// Decides which id pads the shorter texts of a batch, and sets it on `engine`. `None` is for models whose padding id is
/// unknown and matters: their batches hold texts of one length.
///
/// # Errors
/// The model's files name a padding token, and padding with it changes a score.
pub(crate) fn settle_padding(
    engine: &mut OrtEngine,
    encoder: &Encoder,
    device: Device,
) -> Result<Option<u32>, String> {
    if matches!(engine.layout(), Layout::Packed(_)) {
        return Ok(encoder.pad());
    }
    let texts = texts(encoder)?;
    engine.pad_with(None);
    let alone = texts
        .iter()
        .map(|text| engine.run(&[text]).map(|scores| scores.first().copied().unwrap_or(f32::NAN)))
        .collect::<Result<Vec<f32>, String>>()
        .map_err(|error| format!("does not run: {error}"))?;
    if let Some(pad) = encoder.pad() {
        return match moved(engine, &texts, &alone, pad, device)? {
            None => Ok(Some(pad)),
            Some(Moved { tokens, alone, longest, padded }) => Err(format!(
                "scores a text of {tokens} tokens {alone} alone and {padded} padded to {longest} tokens with `{}` (id {pad}); set \
                 `input.pad_token` in guerdon.model.toml to the token whose id is `pad_token_id` in the model's config.json, or \
                 turn batches off with `max_batch = 1`",
                encoder.token(pad)
            )),
        };
    }
    // If the mask hides the padding, any id will do: two that the model knows are tried.
    let known = texts[2].ids[texts[2].len() / 2];
    for pad in [known, 0] {
        if moved(engine, &texts, &alone, pad, device)?.is_some() {
            engine.pad_with(None);
            tracing::warn!(
                "the model's padding token is unknown and changes scores, so each batch holds texts of one length only, which is \
                 slower; set `input.pad_token` in guerdon.model.toml to the token whose id is `pad_token_id` in the model's \
                 config.json"
            );
            return Ok(None);
        }
    }
    Ok(Some(0))
}

/// A text whose score depends on padding.
#[derive(Debug)]
struct Moved {
    tokens: usize,
    alone: f32,
    longest: usize,
    padded: f32,
}

/// Runs `texts` as one batch padded with `pad`, and leaves the engine padding with it. -> the first text whose score is not
/// that in `alone`, within what rounding explains.
fn moved(
    engine: &mut OrtEngine,
    texts: &[Tokens],
    alone: &[f32],
    pad: u32,
    device: Device,
) -> Result<Option<Moved>, String> {
    let rounding = match device {
        Device::Cpu => 2e-3,
        Device::Cuda(_) => 2e-2,
    };
    engine.pad_with(Some(pad));
    let batch: Vec<&Tokens> = texts.iter().collect();
    let padded = engine.run(&batch).map_err(|error| format!("does not run padded: {error}"))?;
    let longest = texts.iter().map(Tokens::len).max().unwrap_or(0);
    let differs = |(_, alone, padded): &(&Tokens, f32, f32)| {
        let same = (alone - padded).abs() <= rounding * alone.abs().max(1.0);
        // NaN is never the same, unless the score is no number alone either: that is reported by the warm-up.
        !same && alone.is_finite()
    };
    let mut scores =
        texts.iter().zip(alone.iter().copied()).zip(padded).map(|((t, a), p)| (t, a, p));
    Ok(scores.find(differs).map(|(text, alone, padded)| Moved {
        tokens: text.len(),
        alone,
        longest,
        padded,
    }))
}

/// Texts of three lengths; the shortest first.
fn texts(encoder: &Encoder) -> Result<[Tokens; 3], String> {
    let encode = |repeats: usize| {
        let reply = vec!["And 420 for two nights?"; repeats].join(" ");
        let dialogue = [
            Message::new(Role::User, "480 is our best price."),
            Message::new(Role::Assistant, reply),
        ];
        encoder.encode(&dialogue, 1).map(|encoded| encoded.tokens)
    };
    let [short, middle, long] = [encode(1)?, encode(2)?, encode(6)?];
    // Where `max_tokens` cuts all of them to one length, the ends of them still differ in theirs.
    let below = |tokens: Tokens, most: usize| tokens.keep_end(0, most.max(1));
    let middle = below(middle, long.len().saturating_sub(1));
    let short = below(short, middle.len().saturating_sub(1));
    Ok([short, middle, long])
}
