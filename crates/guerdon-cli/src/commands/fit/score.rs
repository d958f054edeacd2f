//! Scores the rollouts of a reference set in this process.

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use guerdon_types::{
    FusionMethod, FusionPatch, ProfileName, Rollout, RolloutResult, ScoreRequest, SourceId,
};

use crate::cli::FitArgs;
use crate::commands::local::LocalEngine;
use crate::commands::setup::runtime;

/// Rollouts of one request.
const REQUEST: usize = 256;

/// The rollouts with their results, in order. Nothing is loaded without rollouts.
pub(super) fn scored(
    args: &FitArgs,
    rollouts: Vec<Rollout>,
) -> anyhow::Result<Vec<(Rollout, RolloutResult)>> {
    if rollouts.is_empty() {
        return Ok(Vec::new());
    }
    let source = args.configuration.source()?;
    runtime()?.block_on(async {
        let engine = LocalEngine::load(source).await?;
        let results = all(&engine, args, rollouts).await;
        engine.close().await;
        results
    })
}

async fn all(
    engine: &LocalEngine,
    args: &FitArgs,
    rollouts: Vec<Rollout>,
) -> anyhow::Result<Vec<(Rollout, RolloutResult)>> {
    let mut scored = Vec::with_capacity(rollouts.len());
    for chunk in rollouts.chunks(REQUEST) {
        // A weighted sum needs no source in particular, and the reward is not read.
        let fusion = FusionPatch { method: Some(FusionMethod::WeightedSum), ..Default::default() };
        let request = ScoreRequest {
            rollouts: chunk.to_vec(),
            sources: args.source.as_deref().map(|source| vec![SourceId::from(source)]),
            profile: args.profile.as_deref().map(ProfileName::from),
            fusion: Some(fusion),
            ..ScoreRequest::default()
        };
        let opened = engine.stream::<std::convert::Infallible>(request);
        let mut results: Vec<(usize, RolloutResult)> = match opened {
            Ok(stream) => stream.map(|Ok(result)| result).collect().await,
            Err(invalid) => bail!("{}", guerdon_types::Problem::from(invalid).detail),
        };
        results.sort_unstable_by_key(|(index, _)| *index);
        for (index, result) in results {
            let rollout = chunk.get(index).context("a result of no rollout")?;
            scored.push((rollout.clone(), result));
        }
    }
    Ok(scored)
}
