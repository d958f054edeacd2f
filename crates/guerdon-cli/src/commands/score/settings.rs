//! The settings of a run: flags, and those of an input that is a whole request.

use std::path::Path;

use anyhow::Context as _;
use guerdon_client::optim::RolloutEstimator;
use guerdon_server::config::{Environment as _, ProcessEnvironment};
use guerdon_server::secrets::{SecretPlace, resolve};
use guerdon_types::{AdvantagesRequest, Expectation, ProfileName, ScoreRequest, SourceId};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::cli::ScoreArgs;

/// The request without its rollouts. Flags win over `given`, the settings in the input.
pub(super) fn template(
    score: &ScoreArgs,
    given: Option<&ScoreRequest>,
) -> anyhow::Result<ScoreRequest> {
    let given = given.cloned().unwrap_or_default();
    let fusion =
        score.fusion.as_deref().map(serde_json::from_str).transpose().context("--fusion")?;
    let sources =
        (!score.sources.is_empty()).then(|| score.sources.iter().map(SourceId::from).collect());
    let advantages = score.advantages.clone().map(AdvantagesRequest::new);
    Ok(ScoreRequest {
        rollouts: Vec::new(),
        sources: sources.or(given.sources),
        fusion: fusion.or(given.fusion),
        profile: score.profile.as_deref().map(ProfileName::from).or(given.profile),
        advantages: advantages.or(given.advantages),
        ..given
    })
}

/// The condition that the server still has the configuration of `versions`; `None` if the server
/// reports no digest.
pub(super) fn expectation(versions: &Value) -> Option<Expectation> {
    serde_json::from_value(serde_json::json!({ "digest": versions.get("digest")? })).ok()
}

/// The estimator of the advantages, if any are asked for.
pub(super) fn estimator(template: &ScoreRequest) -> anyhow::Result<Option<RolloutEstimator>> {
    let parsed = template.advantages.as_ref().map(|asked| asked.estimator.parse());
    parsed.transpose().context("advantages.estimator")
}

/// The server's bearer token.
pub(super) fn token(score: &ScoreArgs) -> anyhow::Result<Option<String>> {
    let Some(file) = &score.token_file else {
        return Ok(ProcessEnvironment.var("GUERDON_TOKEN"));
    };
    let what = format!("--token-file {}", file.display());
    let place = SecretPlace { what: &what, env: None, file: Some(file) };
    let token = resolve(place, Path::new(""), &ProcessEnvironment)?;
    Ok(token.map(|token| token.expose_secret().to_owned()))
}
