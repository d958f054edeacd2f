//! From scenes to replies, and from scores to a batch to learn from.

use rand::Rng;

use super::{Experience, Settings};
use crate::policy::{Dialogues, Policy, Reply, Sampling, sample};
use crate::scene::Scene;
use crate::score::Score;
use crate::tokens::Tokens;

/// A sampled reply and its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// Its tokens.
    pub reply: Reply,
    /// What the partner would read.
    pub text: String,
}

/// The policy's reply to each scene.
///
/// # Errors
/// What tokenizers or candle refuse.
pub fn respond(
    policy: &Policy,
    tokens: &Tokens,
    scenes: &[Scene],
    settings: &Settings,
    rng: &mut impl Rng,
) -> anyhow::Result<Vec<Sampled>> {
    let prompts: Vec<Vec<u32>> =
        scenes.iter().map(|scene| tokens.prompt(scene)).collect::<anyhow::Result<_>>()?;
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let Settings { temperature, limit, .. } = *settings;
    let sampling = Sampling { temperature, limit, pad: tokens.pad, end: tokens.end };
    sample(policy, &prompts, sampling, rng)?
        .into_iter()
        .map(|reply| Ok(Sampled { text: tokens.text(&reply.ids)?, reply }))
        .collect()
}

/// The batch that these scores make; `group` replies in a row share a prompt.
pub(super) fn experience(
    tokens: &Tokens,
    scenes: &[Scene],
    sampled: &[Sampled],
    scores: &[Score],
    group: usize,
) -> anyhow::Result<Experience> {
    let prompts: Vec<Vec<u32>> =
        scenes.iter().map(|scene| tokens.prompt(scene)).collect::<anyhow::Result<_>>()?;
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let replies: Vec<&[u32]> = sampled.iter().map(|sample| sample.reply.ids.as_slice()).collect();
    #[expect(clippy::cast_possible_truncation, reason = "the policy is trained in f32")]
    let column = |of: fn(&Score) -> Option<f64>| -> Vec<f32> {
        scores.iter().map(|score| of(score).map_or(f32::NAN, |x| x as f32)).collect()
    };
    Ok(Experience {
        dialogues: Dialogues::new(&prompts, &replies, tokens.pad)?,
        groups: (0..scenes.len()).map(|row| row / group).collect(),
        rewards: column(|score| score.reward),
        parts: [column(|score| score.rm), column(|score| score.judge), column(|score| score.rules)],
    })
}
