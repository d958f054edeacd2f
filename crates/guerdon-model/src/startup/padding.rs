//! Batch check at load: a text must have the same score alone, next to texts of its length, and
//! padded next to a longer text.
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

/// The texts that may share a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchMates {
    /// Texts of any length, of which the shorter ones are padded with this id.
    Padded(u32),
    /// Texts of one length.
    EqualLengths,
    /// None: a score depends on the other texts of its batch.
    Alone,
    /// Texts of any length, without padding.
    Packed,
}

/// Chooses the texts that may share a batch, and sets the padding on `engine`. A model whose padding
/// id is unknown and affects scores has batches of one length. A model whose scores depend on
/// texts of the same length, such as one that quantises a whole batch with one scale, runs one text
/// at a time.
///
/// # Errors
///
/// Returns a message if the model's files name a padding token that changes a score.
pub(crate) fn choose_batch_mates(
    engine: &mut OrtEngine,
    encoder: &Encoder,
    device: Device,
) -> Result<BatchMates, String> {
    if matches!(engine.layout(), Layout::Packed(_)) {
        return Ok(BatchMates::Packed);
    }
    let texts = probe_texts(encoder)?;
    engine.set_pad(None);
    let alone = scores_alone(engine, &texts)?;
    if depends_on_mates(engine, &texts[2], device)? {
        tracing::warn!(
            "the model's scores depend on the other texts of a batch, as those of a graph do that \
             quantises a whole batch with one scale, so texts run one at a time, which is slower; \
             export the model in 32 or 16 bits, or with a scale per token \
             (examples/reward-model/onnx_int8.py)"
        );
        engine.set_pad(None);
        return Ok(BatchMates::Alone);
    }
    if let Some(pad) = encoder.pad() {
        return match first_mismatch(engine, &texts, &alone, pad, device)? {
            None => Ok(BatchMates::Padded(pad)),
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
            return Ok(BatchMates::EqualLengths);
        }
    }
    Ok(BatchMates::Padded(0))
}

/// True if a text has another score next to texts of its own length than alone. The other texts
/// have its tokens in another order or repeat one of them.
fn depends_on_mates(
    engine: &mut OrtEngine,
    text: &TokenSequence,
    device: Device,
) -> Result<bool, String> {
    let length = text.len();
    let with = |ids: Vec<u32>| TokenSequence { ids: ids.into(), ..text.clone() };
    let backwards = text.ids.iter().rev().copied().collect();
    let repeated = |place: usize| vec![text.ids[place.min(length - 1)]; length];
    let texts = [
        text.clone(),
        with(backwards),
        with(repeated(0)),
        with(repeated(length / 2)),
        with(repeated(length)),
    ];
    let alone = scores_alone(engine, &texts)?;
    let batch: Vec<&TokenSequence> = texts.iter().collect();
    let together = engine.run(&batch).map_err(|error| format!("does not run: {error}"))?;
    let mut pairs = alone.iter().zip(together);
    Ok(pairs.any(|(alone, together)| is_another(*alone, together.value, device)))
}

/// The score of each text in a run of its own.
fn scores_alone(engine: &mut OrtEngine, texts: &[TokenSequence]) -> Result<Vec<f32>, String> {
    let first = |text| {
        engine.run(&[text]).map(|scores| scores.first().map_or(f32::NAN, |score| score.value))
    };
    let scores = texts.iter().map(first).collect::<Result<Vec<f32>, String>>();
    scores.map_err(|error| format!("does not run: {error}"))
}

/// True if two scores of a text differ by more than rounding. The warm-up reports a score alone
/// that is not finite.
fn is_another(alone: f32, together: f32, device: Device) -> bool {
    let rounding = match device {
        Device::Cpu => 2e-3,
        Device::Cuda(_) => 2e-2,
    };
    let same = (alone - together).abs() <= rounding * alone.abs().max(1.0);
    !same && alone.is_finite()
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
    engine.set_pad(Some(pad));
    let batch: Vec<&TokenSequence> = texts.iter().collect();
    let padded = engine.run(&batch).map_err(|error| format!("does not run padded: {error}"))?;
    let longest = texts.iter().map(TokenSequence::len).max().unwrap_or(0);
    let differs =
        |(_, alone, padded): &(&TokenSequence, f32, f32)| is_another(*alone, *padded, device);
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
