//! The replies of every look, with their scores: `samples.jsonl`.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::rollouts::SampledReply;
use crate::scene::Scene;
use crate::score::ReplyScore;

/// Replies of a look that are logged.
const LOGGED: usize = 3;

/// A held-out reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LookSample {
    /// The number of the update after which it was sampled; 0 is the imitation policy.
    pub update: usize,
    /// The number of the prompt, the same at every look.
    pub prompt: usize,
    /// The partner's line that it answers.
    pub line: String,
    /// The reply.
    pub reply: String,
    /// Its reward.
    pub reward: Option<f64>,
    /// The reward model's score.
    pub rm: Option<f64>,
    /// The rules' points.
    pub rules: Option<f64>,
    /// The rules that hit.
    pub hits: Vec<String>,
    /// Its perplexity under the imitation policy, in nats per token.
    pub nats_per_token: Option<f64>,
}

/// The samples of a look.
pub(super) fn of_look(
    update: usize,
    scenes: &[Scene],
    sampled: &[SampledReply],
    scores: &[ReplyScore],
    nats: &[f64],
) -> Vec<LookSample> {
    let all = scenes.iter().zip(sampled).zip(scores).zip(nats).enumerate();
    all.map(|(prompt, (((scene, sample), score), nats))| LookSample {
        update,
        prompt,
        line: scene.messages.last().map_or_else(String::new, |message| message.content.clone()),
        reply: sample.text.clone(),
        reward: score.reward,
        rm: score.rm,
        rules: score.rules,
        hits: score.hits.clone(),
        nats_per_token: Some(*nats).filter(|nats| nats.is_finite()),
    })
    .collect()
}

/// The first samples of a look, as lines of a log.
pub(super) fn lines(samples: &[LookSample]) -> Vec<String> {
    let line = |sample: &LookSample| {
        let nats = sample.nats_per_token.map_or(String::new(), |nats| format!(" ({nats:.2} nats)"));
        format!("            | {:?} -> {:?}{nats}", sample.line, sample.reply)
    };
    samples.iter().take(LOGGED).map(line).collect()
}

/// Writes the samples of a look into the file, in place of those of the same and later updates, so
/// that a resumed run has each look once.
///
/// # Errors
/// A file that cannot be read or written.
pub(super) fn save(file: &Path, update: usize, samples: &[LookSample]) -> anyhow::Result<()> {
    let mut all = load(file)?;
    all.retain(|sample| sample.update < update);
    all.extend(samples.iter().cloned());
    let mut text = String::new();
    for sample in &all {
        text.push_str(&serde_json::to_string(sample)?);
        text.push('\n');
    }
    crate::files::write(file, text.as_bytes())
}

/// Reads `samples.jsonl`; a missing file counts as empty.
///
/// # Errors
/// A line that is not a sample.
pub fn load(file: &Path) -> anyhow::Result<Vec<LookSample>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = crate::files::read(file)?;
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line)
            .with_context(|| format!("{}:{} is not a sample", file.display(), number + 1))
    };
    text.lines().enumerate().map(parse).collect()
}
