//! Scores replies on a running guerdon.

use anyhow::{Context as _, ensure};
use guerdon_client::{Client, Finite, FusionPatch, Rollout, RolloutResult, ScoreRequest};

/// The score of one reply. A part is none if its source abstained or is not in use.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReplyScore {
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
    /// Set when one of them deducted points.
    pub failed: bool,
}

/// Scores rollouts, in their order.
///
/// # Errors
/// The errors of the client, and a batch in which no reply could be scored.
pub async fn score(
    client: &Client,
    rollouts: Vec<Rollout>,
    fusion: FusionPatch,
) -> anyhow::Result<Vec<ReplyScore>> {
    let request = ScoreRequest { rollouts, fusion: Some(fusion), ..ScoreRequest::default() };
    let scored = client.score(&request).await?;
    let scores: Vec<ReplyScore> = scored.results.iter().map(read).collect();
    if scores.iter().all(|score| score.reward.is_none()) {
        let why = scored.results.iter().find_map(|result| result.error.as_ref());
        let why = why.map_or_else(String::new, |problem| problem.detail.clone());
        ensure!(
            scores.is_empty(),
            "the server could score none of {} replies: {why}",
            scores.len()
        );
    }
    Ok(scores)
}

/// Connects to the server at `url`.
///
/// # Errors
/// A server that cannot be reached or is not ready.
pub async fn connect(url: &str, token: Option<String>) -> anyhow::Result<Client> {
    let builder = Client::builder(url);
    let client = match token {
        Some(token) => builder.token(token),
        None => builder,
    }
    .build()?;
    let ready = client.ready().await.with_context(|| {
        format!("cannot reach a guerdon server at {url}; start one with `make run`")
    })?;
    ensure!(ready, "the guerdon server at {url} is not ready yet");
    Ok(client)
}

fn read(result: &RolloutResult) -> ReplyScore {
    let turn = result.turns.last();
    let points = |points: Option<Finite>| points.map(Finite::get);
    let rules = turn.and_then(|turn| turn.rules.as_ref());
    ReplyScore {
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
