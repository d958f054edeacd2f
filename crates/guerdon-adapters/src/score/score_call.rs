//! From a foreign request's items to the one engine and back: every adapter asks here, and none asks elsewhere.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use guerdon_types::{
    Context, Finite, FusionConfig, Message, Problem, ProblemCode, Rollout, RolloutResult,
    ScoreRequest,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::source_name::SourceName;
use super::url_options::{OnFailure, UrlOptions};
use crate::service::{ApiError, ScoreHandle, ScoreService};
use crate::text::ForeignDialogue;

/// How many of a request's texts were taken whole because their template is not known.
const UNRECOGNISED: HeaderName = HeaderName::from_static("x-guerdon-unrecognised");

/// Sources that are not ready by then abstain, however long a client would wait.
const DEADLINE: Duration = Duration::from_secs(50);

/// What a client of a protocol can bear.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Protocol {
    /// Who speaks it.
    pub(crate) client: &'static str,
    /// How long the least patient of its clients waits for one reply.
    pub(crate) client_waits: Duration,
    /// What is answered for an item that could not be scored.
    pub(crate) on_failure: OnFailure,
}

impl Protocol {
    /// When sources that are not ready abstain, so that the client still gets an answer.
    pub(crate) fn deadline(&self) -> Duration {
        DEADLINE.min(self.client_waits - self.client_waits / 5)
    }
}

/// One thing to score, or why it cannot be one.
#[derive(Debug)]
pub(crate) struct Item {
    dialogue: Result<ForeignDialogue, String>,
    context: Context,
}

impl Item {
    /// A dialogue whose turns were read from a text.
    pub(crate) fn text(dialogue: ForeignDialogue, context: Context) -> Self {
        Self { dialogue: Ok(dialogue), context }
    }

    /// A dialogue that came as messages.
    pub(crate) fn messages(messages: Vec<Message>, context: Context) -> Self {
        Self::text(ForeignDialogue { messages, recognised: true, thought: false }, context)
    }

    /// Something that is no dialogue, and why. It loses the other items nothing.
    pub(crate) fn broken(why: impl Into<String>) -> Self {
        Self { dialogue: Err(why.into()), context: Context::new() }
    }
}

/// What came of one item.
#[derive(Debug, Default)]
pub(crate) struct ItemScore {
    /// The fused reward; what the caller chose if it could not be made; `None` if that is `null`.
    pub(crate) reward: Option<f64>,
    /// Why the reward could not be made.
    pub(crate) failure: Option<String>,
    /// The parts.
    pub(crate) result: Option<RolloutResult>,
    /// Whether the turns were found in the text.
    pub(crate) recognised: bool,
    /// Whether a `<think>` block was dropped.
    pub(crate) thought: bool,
}

/// What came of a request: one answer an item, in its order, and what made them.
#[derive(Debug)]
pub(crate) struct ItemScores {
    pub(crate) items: Vec<ItemScore>,
    pub(crate) sources: Vec<SourceName>,
    pub(crate) fusion: FusionConfig,
}

impl ItemScores {
    /// `body` as the reply; a header counts the texts that were not recognised, for protocols without room for it.
    pub(crate) fn reply(&self, body: impl Serialize) -> Response {
        let unrecognised = self.items.iter().filter(|answer| !answer.recognised).count();
        let mut response = Json(body).into_response();
        response.headers_mut().insert(UNRECOGNISED, HeaderValue::from(unrecognised));
        response
    }

    pub(crate) fn rewards(&self) -> Vec<Option<f64>> {
        self.items.iter().map(|answer| answer.reward).collect()
    }

    /// Tokens that the reward model read.
    pub(crate) fn tokens(&self) -> usize {
        let turns =
            self.items.iter().filter_map(|answer| answer.result.as_ref()).flat_map(|r| &r.turns);
        turns.filter_map(|turn| turn.rm.as_ref()).map(|rm| rm.tokens).sum()
    }
}

/// What every request to an adapter brings besides its body: extracted together, so that no adapter forgets one.
#[derive(Debug)]
pub(crate) struct ScoreCall {
    pub(crate) service: Arc<dyn ScoreService>,
    pub(crate) options: UrlOptions,
    _permit: OwnedSemaphorePermit,
}

impl<S: Send + Sync> FromRequestParts<S> for ScoreCall {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let ScoreHandle(service) = ScoreHandle::from_request_parts(parts, state).await?;
        let options = UrlOptions::from_request_parts(parts, state).await?;
        Ok(Self { options, _permit: service.admit()?, service })
    }
}

impl ScoreCall {
    /// Scores `items` with the options of the URL and the protocol.
    ///
    /// # Errors
    /// What the URL asks for cannot be served; or an item could not be scored and the policy is to fail with it: a 5xx,
    /// since there are clients that retry a 4xx just the same, and none that does not retry a 5xx.
    pub(crate) async fn score(
        &self,
        protocol: &Protocol,
        items: Vec<Item>,
    ) -> Result<ItemScores, ApiError> {
        let options = &self.options;
        let (rollouts, mut answers) = opened(items, options);
        let request = ScoreRequest {
            rollouts,
            sources: options.sources(),
            profile: options.profile.clone(),
            deadline_ms: Some(options.deadline(protocol.deadline())),
            ..ScoreRequest::default()
        };
        let batch = self.service.open(request)?;
        // Of the batch itself, so that names and numbers come from one generation.
        let (sources, fusion) = (batch.sources(), batch.fusion());
        let results = batch.collect().await;
        let scored = answers.iter_mut().filter(|answer| answer.failure.is_none());
        for (answer, result) in scored.zip(results) {
            answer.reward = result.reward.map(Finite::get);
            answer.failure = match (&result.reward, &result.error) {
                (Some(_), _) => None,
                (None, Some(problem)) => Some(problem.detail.clone()),
                (None, None) => Some("no reward could be made".to_owned()),
            };
            answer.result = Some(result);
        }
        settle(&mut answers, protocol, options)?;
        Ok(ItemScores { items: answers, sources, fusion })
    }
}

/// The rollouts to score, and an answer for each item; that of an item which is no rollout says so already.
fn opened(items: Vec<Item>, options: &UrlOptions) -> (Vec<Rollout>, Vec<ItemScore>) {
    let mut rollouts = Vec::with_capacity(items.len());
    let answer = |Item { dialogue, context }: Item| {
        let ForeignDialogue { messages, recognised, thought } = match dialogue {
            Ok(dialogue) => dialogue,
            Err(why) => return ItemScore { failure: Some(why), ..ItemScore::default() },
        };
        let rollout = Rollout { messages, score: options.turns(), context, ..Rollout::default() };
        let failure = rollout.turns_to_score().err().map(|invalid| invalid.detail);
        if failure.is_none() {
            rollouts.push(rollout);
        }
        ItemScore { failure, recognised, thought, ..ItemScore::default() }
    };
    let answers = items.into_iter().map(answer).collect();
    (rollouts, answers)
}

/// ItemScores for what could not be scored, as the policy says.
fn settle(
    answers: &mut [ItemScore],
    protocol: &Protocol,
    options: &UrlOptions,
) -> Result<(), ApiError> {
    let (count, client) = (answers.len(), protocol.client);
    let failed = answers.iter_mut().enumerate().filter(|(_, answer)| answer.failure.is_some());
    for (index, answer) in failed {
        let why = answer.failure.as_deref().unwrap_or_default();
        tracing::info!(client, index, why, "An item could not be scored.");
        match options.on_failure.unwrap_or(protocol.on_failure) {
            OnFailure::Error => {
                let detail = format!("item {index} of {count} could not be scored: {why}");
                return Err(Problem::new(ProblemCode::Unscored, detail)
                    .hint("to have a number of yours in its place, add `?on_failure=value:X` to the URL")
                    .into());
            }
            OnFailure::Value(value) => answer.reward = Some(value.get()),
            OnFailure::Null => answer.reward = None,
        }
    }
    Ok(())
}
