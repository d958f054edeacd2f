//! Samples replies to scenes, and builds the training batch from their scores.

use rand::Rng;

use super::learner::Experience;
use super::settings::RlSettings;
use crate::policy::{Dialogues, Policy, ReplyTokens, Sampling, sample};
use crate::scene::Scene;
use crate::score::ReplyScore;
use crate::tokens::DialogueTokenizer;

/// A sampled reply and its text.
#[derive(Debug, Clone, PartialEq)]
pub struct SampledReply {
    /// Its tokens.
    pub reply: ReplyTokens,
    /// The text that the partner would read.
    pub text: String,
}

/// Samples the policy's reply to each scene.
///
/// # Errors
/// The errors of tokenizers and candle.
pub fn respond(
    policy: &Policy,
    tokens: &DialogueTokenizer,
    scenes: &[Scene],
    settings: &RlSettings,
    rng: &mut impl Rng,
) -> anyhow::Result<Vec<SampledReply>> {
    let prompts: Vec<Vec<u32>> =
        scenes.iter().map(|scene| tokens.prompt(scene)).collect::<anyhow::Result<_>>()?;
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let RlSettings { temperature, limit, .. } = *settings;
    let sampling = Sampling { temperature, limit, pad: tokens.pad, end: tokens.end };
    sample(policy, &prompts, sampling, rng)?
        .into_iter()
        .map(|reply| Ok(SampledReply { text: tokens.text(&reply.ids)?, reply }))
        .collect()
}

/// The prompts and replies as token ids.
pub(super) fn dialogues(
    tokens: &DialogueTokenizer,
    scenes: &[Scene],
    sampled: &[SampledReply],
) -> anyhow::Result<Dialogues> {
    let prompts: Vec<Vec<u32>> =
        scenes.iter().map(|scene| tokens.prompt(scene)).collect::<anyhow::Result<_>>()?;
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let replies: Vec<&[u32]> = sampled.iter().map(|sample| sample.reply.ids.as_slice()).collect();
    Ok(Dialogues::new(&prompts, &replies, tokens.pad)?)
}

/// Builds the training batch from scores; `group` consecutive replies share a prompt.
pub(super) fn experience(
    tokens: &DialogueTokenizer,
    scenes: &[Scene],
    sampled: &[SampledReply],
    scores: &[ReplyScore],
    group: usize,
) -> anyhow::Result<Experience> {
    #[expect(clippy::cast_possible_truncation, reason = "the policy is trained in f32")]
    let column = |of: fn(&ReplyScore) -> Option<f64>| -> Vec<f32> {
        scores.iter().map(|score| of(score).map_or(f32::NAN, |x| x as f32)).collect()
    };
    Ok(Experience {
        dialogues: dialogues(tokens, scenes, sampled)?,
        groups: (0..scenes.len()).map(|row| row / group).collect(),
        rewards: column(|score| score.reward),
        parts: [column(|score| score.rm), column(|score| score.judge), column(|score| score.rules)],
    })
}
