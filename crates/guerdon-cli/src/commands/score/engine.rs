//! The engine that scores: in this process, or a server's.

use anyhow::{Context as _, bail};
use futures_util::{StreamExt as _, future};
use guerdon_client::Client;
use guerdon_types::{Info, Invalid, Problem, ProblemCode, ScoreRequest, StreamLine};
use serde_json::Value;

use super::settings::token;
use crate::cli::ScoreArgs;
use crate::commands::local::{LocalEngine, ResultItems};

/// An engine.
pub(super) enum ScoringEngine {
    Local(LocalEngine),
    Remote(Box<Client>),
}

/// The failure of a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    #[error(transparent)]
    Client(Box<guerdon_client::Error>),
    #[error("{}{}", .0, help(.0))]
    Refused(Invalid),
}

fn help(invalid: &Invalid) -> String {
    invalid.hint.as_ref().map(|hint| format!("\n  help: {hint}")).unwrap_or_default()
}

impl From<guerdon_client::Error> for EngineError {
    fn from(error: guerdon_client::Error) -> Self {
        Self::Client(Box::new(error))
    }
}

impl EngineError {
    /// Returns true if the same request may succeed later.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Client(error) if error.is_transient())
    }

    /// Returns true if there was no server after all retries.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Client(error) if matches!(**error, guerdon_client::Error::Transport { .. }))
    }

    /// Returns true if the reply began and was cut.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self, Self::Client(error) if matches!(**error, guerdon_client::Error::Cut { .. }))
    }

    /// The problem of a request with too many or too large rollouts.
    pub(super) fn too_large(&self) -> Option<Problem> {
        match self {
            Self::Client(error) => {
                error.problem().filter(|problem| problem.code == ProblemCode::TooLarge).cloned()
            }
            Self::Refused(invalid) => {
                (invalid.code == ProblemCode::TooLarge).then(|| invalid.clone().into())
            }
        }
    }
}

impl ScoringEngine {
    pub(super) async fn new(score: &ScoreArgs) -> anyhow::Result<Self> {
        if score.local {
            return Ok(Self::Local(LocalEngine::load(score.configuration.source()?).await?));
        }
        // A mistyped address is reported within seconds.
        let mut builder = Client::builder(&score.url).retries(5);
        if let Some(token) = token(score)? {
            builder = builder.token(token);
        }
        Ok(Self::Remote(Box::new(builder.build()?)))
    }

    /// The versions that make the rewards of `template`, without the number of the generation: it
    /// counts the reloads of one process. `None` if the server does not report them.
    ///
    /// # Errors
    /// There is no server, or it has no such profile or source.
    pub(super) async fn versions(&self, template: &ScoreRequest) -> anyhow::Result<Option<Value>> {
        let info = match self {
            Self::Local(local) => local.info(),
            Self::Remote(client) => match client.info().await {
                Ok(info) => info,
                Err(error) if is_missing(&error) => return Ok(None),
                Err(error) => return Err(error.into()),
            },
        };
        check_names(&info, template)?;
        let name = template.profile.as_ref().unwrap_or(&info.default_profile);
        let profile = info.profiles.get(name.as_str()).context("the server has no profile")?;
        let mut versions = serde_json::to_value(&profile.versions)?;
        if let Some(digest) = versions.get("digest") {
            return Ok(Some(serde_json::json!({"profile": name, "digest": digest})));
        }
        if let Value::Object(versions) = &mut versions {
            versions.remove("generation");
        }
        Ok(Some(versions))
    }

    pub(super) async fn stream(
        &self,
        request: &ScoreRequest,
    ) -> Result<ResultItems<EngineError>, EngineError> {
        match self {
            Self::Local(local) => local.stream(request.clone()).map_err(EngineError::Refused),
            Self::Remote(client) => {
                let lines = client.stream(request).await?;
                Ok(lines
                    .filter_map(|line| {
                        future::ready(match line {
                            Ok(StreamLine::Result(streamed)) => {
                                Some(Ok((streamed.index, streamed.result)))
                            }
                            Ok(StreamLine::Summary(_)) => None,
                            Err(error) => Some(Err(error.into())),
                        })
                    })
                    .boxed())
            }
        }
    }

    pub(super) async fn close(&self) {
        if let Self::Local(local) = self {
            local.close().await;
        }
    }
}

/// Returns true if the server has no such route.
fn is_missing(error: &guerdon_client::Error) -> bool {
    match error {
        guerdon_client::Error::Problem { problem, .. } => problem.code == ProblemCode::NotFound,
        guerdon_client::Error::Status { status, .. } => *status == ProblemCode::NotFound.status(),
        _ => false,
    }
}

/// Refuses a profile or a source that the server does not have.
fn check_names(info: &Info, template: &ScoreRequest) -> anyhow::Result<()> {
    let name = template.profile.as_ref().unwrap_or(&info.default_profile);
    let Some(profile) = info.profiles.get(name.as_str()) else {
        let known = info.profiles.keys().map(String::as_str);
        bail!(
            "there is no profile {}{}",
            guerdon_text::quote(name.as_str()),
            choices(name.as_str(), known)
        );
    };
    for source in template.sources.iter().flatten() {
        if !profile.sources.iter().any(|one| one.id == *source) {
            let known = profile.sources.iter().map(|one| one.id.as_str());
            bail!(
                "profile {} has no source {}{}",
                guerdon_text::quote(name.as_str()),
                guerdon_text::quote(source.as_str()),
                choices(source.as_str(), known)
            );
        }
    }
    Ok(())
}

fn choices<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let nearest = guerdon_text::did_you_mean(name, known.iter().copied());
    let help = nearest.unwrap_or_else(|| format!("choose one of {}", known.join(", ")));
    format!("\n  help: {help}")
}
