//! Replies scored by a running guerdon.

use anyhow::{Context as _, ensure};
use guerdon_client::{Client, Finite, FusionPatch, Rollout, RolloutResult, ScoreRequest};

/// What the server says of one reply. A part is none where its source abstained or is not in use.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Score {
    /// The fused reward.
    pub reward: Option<f64>,
    /// The reward model's calibrated score.
    pub rm: Option<f64>,
    /// The judge's points.
    pub judge: Option<f64>,
    /// The rules' points.
    pub rules: Option<f64>,
    /// The rules that hit, as `pack/rule`.
    pub hits: Vec<String>,
    /// Whether one of them took points.
    pub failed: bool,
}

/// Scores rollouts, in their order.
///
/// # Errors
/// No server, or a request that it refuses; and a batch of which it scored nothing, for nothing can be learned from that.
pub async fn score(
    client: &Client,
    rollouts: Vec<Rollout>,
    fusion: FusionPatch,
) -> anyhow::Result<Vec<Score>> {
    let request = ScoreRequest { rollouts, fusion: Some(fusion), ..ScoreRequest::default() };
    let scored = client.score(&request).await?;
    let scores: Vec<Score> = scored.results.iter().map(read).collect();
    if scores.iter().all(|score| score.reward.is_none()) {
        let why = scored.results.iter().find_map(|result| result.error.as_ref());
        let why = why.map_or_else(String::new, |problem| problem.detail.clone());
        ensure!(scores.is_empty(), "the server scored none of {} replies: {why}", scores.len());
    }
    Ok(scores)
}

/// A client of the server at `url`, if one answers there.
///
/// # Errors
/// No server there, or one that is not ready.
pub async fn connect(url: &str, token: Option<String>) -> anyhow::Result<Client> {
    let builder = Client::builder(url);
    let client = match token {
        Some(token) => builder.token(token),
        None => builder,
    }
    .build()?;
    let ready = client
        .ready()
        .await
        .with_context(|| format!("no guerdon at {url}; start one with `make run`"))?;
    ensure!(ready, "the guerdon at {url} is not ready yet");
    Ok(client)
}

fn read(result: &RolloutResult) -> Score {
    let turn = result.turns.last();
    let points = |points: Option<Finite>| points.map(Finite::get);
    let rules = turn.and_then(|turn| turn.rules.as_ref());
    Score {
        reward: points(result.reward),
        rm: points(turn.and_then(|turn| turn.rm.as_ref()).map(|part| part.score)),
        judge: points(turn.and_then(|turn| turn.judge.as_ref()).map(|part| part.points)),
        rules: points(rules.map(|part| part.points)),
        hits: rules.map_or_else(Vec::new, |part| {
            part.hits.iter().map(|hit| format!("{}/{}", hit.pack, hit.rule)).collect()
        }),
        failed: rules.is_some_and(|part| part.hits.iter().any(|hit| hit.points.get() < 0.0)),
    }
}
