//! From a protocol's items to the score request and back. Every adapter scores through this file.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use guerdon_types::{
    Context, Finite, FusionConfig, Invalid, Message, Problem, ProblemCode, Rollout, RolloutResult,
    ScoreRequest, check_count,
};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use serde::Serialize;

use super::source_name::SourceName;
use super::url_options::{OnFailure, UrlOptions};
use crate::service::{ApiError, SHORT_BODY, ScoreHandle, ScoreService, compute};
use crate::text::{ForeignDialogue, of_messages};

/// The header with the number of texts whose chat template was not recognised.
const UNRECOGNISED: HeaderName = HeaderName::from_static("x-guerdon-unrecognised");

/// The memory of copied texts, in largest bodies.
const MAX_COPIED_BODIES: usize = 4;

/// The longest deadline of any protocol: sources that are not ready by then abstain.
const DEADLINE: Duration = Duration::from_secs(50);

/// The limits of a protocol's clients.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Protocol {
    /// The name of the client.
    pub(crate) client: &'static str,
    /// The shortest timeout of its clients.
    pub(crate) client_timeout: Duration,
    /// The answer for an item without a reward.
    pub(crate) on_failure: OnFailure,
}

impl Protocol {
    /// The time after which sources that are not ready abstain, so that the client still gets an
    /// answer.
    pub(crate) fn deadline(&self) -> Duration {
        DEADLINE.min(self.client_timeout - self.client_timeout / 5)
    }
}

/// A dialogue to score, or the reason why the item is not one.
#[derive(Debug)]
pub(crate) struct Item {
    dialogue: Result<ForeignDialogue, String>,
    context: Context,
}

impl Item {
    /// A dialogue read from a text.
    pub(crate) fn text(dialogue: ForeignDialogue, context: Context) -> Self {
        Self { dialogue: Ok(dialogue), context }
    }

    /// A dialogue sent as messages.
    pub(crate) fn messages(messages: Vec<Message>, context: Context, options: &UrlOptions) -> Self {
        Self::text(of_messages(messages, options.thoughts), context)
    }

    /// An item that is not a dialogue, with the reason. It does not affect the other items.
    pub(crate) fn broken(why: impl Into<String>) -> Self {
        Self { dialogue: Err(why.into()), context: Context::new() }
    }
}

/// The score of one item.
#[derive(Debug, Default)]
pub(crate) struct ItemScore {
    /// The fused reward. Without one, the caller's value for failures; `None` if that is `null`.
    pub(crate) reward: Option<f64>,
    /// The reason why there is no reward.
    pub(crate) failure: Option<String>,
    /// The result with its parts.
    pub(crate) result: Option<RolloutResult>,
    /// True if the turns were recognised in the text.
    pub(crate) recognised: bool,
    /// True if thoughts were dropped.
    pub(crate) thought: bool,
}

/// The scores of a request's items in their order, with the sources and the fusion that made them.
#[derive(Debug)]
pub(crate) struct ItemScores {
    pub(crate) items: Vec<ItemScore>,
    pub(crate) sources: Vec<SourceName>,
    pub(crate) fusion: FusionConfig,
}

impl ItemScores {
    /// `body` as the reply. A header counts the texts that were not recognised, since most
    /// protocols have no field for that.
    pub(crate) fn reply(&self, body: impl Serialize) -> Response {
        let unrecognised = self.items.iter().filter(|answer| !answer.recognised).count();
        let mut response = Json(body).into_response();
        response.headers_mut().insert(UNRECOGNISED, HeaderValue::from(unrecognised));
        response
    }

    /// The reward of each item.
    pub(crate) fn rewards(&self) -> Vec<Option<f64>> {
        self.items.iter().map(|answer| answer.reward).collect()
    }

    /// The number of tokens that the reward model read.
    pub(crate) fn tokens(&self) -> usize {
        let turns =
            self.items.iter().filter_map(|answer| answer.result.as_ref()).flat_map(|r| &r.turns);
        turns.filter_map(|turn| turn.rm.as_ref()).map(|rm| rm.tokens).sum()
    }
}

/// Everything in a request to an adapter except its body: the scoring service, which holds the
/// request's place among the concurrent ones, and the options in the URL.
#[derive(Debug)]
pub(crate) struct ScoreCall {
    pub(crate) service: Arc<dyn ScoreService>,
    pub(crate) options: UrlOptions,
    /// False if converting the body takes so long that other requests must not wait for it.
    is_short: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for ScoreCall {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let ScoreHandle(service) = ScoreHandle::from_request_parts(parts, state).await?;
        let options = UrlOptions::from_request_parts(parts, state).await?;
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let is_short = !parts.headers.contains_key(CONTENT_ENCODING)
            && length
                .and_then(|length| length.parse().ok())
                .is_some_and(|n: usize| n <= SHORT_BODY);
        Ok(Self { service, options, is_short })
    }
}

impl ScoreCall {
    /// Runs `work`, such as the conversion of a body, on a blocking thread if the body is not
    /// short.
    ///
    /// # Errors
    /// `internal`, if `work` panics.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce(&UrlOptions) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        if self.is_short {
            return Ok(work(&self.options));
        }
        let options = self.options.clone();
        compute(move || work(&options)).await
    }

    /// Refuses more items than a request may have, before each takes the memory of a dialogue.
    ///
    /// # Errors
    /// `too_large`.
    pub(crate) fn check_count(&self, count: usize) -> Result<(), Invalid> {
        check_count(count, self.service.limits().max_rollouts)
    }

    /// Refuses a text that would be copied for so many items that the copies take many times the
    /// memory of the largest body.
    ///
    /// # Errors
    /// `too_large`.
    pub(crate) fn check_copies(&self, text: &str, copies: usize) -> Result<(), Invalid> {
        let limit = self.service.limits().max_body_bytes.saturating_mul(MAX_COPIED_BODIES);
        if text.len().saturating_mul(copies) <= limit {
            return Ok(());
        }
        let detail = format!("a text of {} bytes is paired with {copies} others", text.len());
        Err(Invalid::new(ProblemCode::TooLarge, "", detail)
            .hint("send fewer items a request, or raise `limits.max_body_bytes`"))
    }

    /// Scores `items` with the options of the URL and the protocol.
    ///
    /// # Errors
    /// The options of the URL cannot be served, or an item has no reward and `on_failure` is
    /// `error`. The latter is a 5xx: some clients repeat a 4xx as well, and every client repeats a
    /// 5xx.
    pub(crate) async fn score(
        &self,
        protocol: &Protocol,
        items: Vec<Item>,
    ) -> Result<ItemScores, ApiError> {
        let options = &self.options;
        let (rollouts, mut answers) = to_rollouts(items, options);
        let request = ScoreRequest {
            rollouts,
            sources: options.sources(),
            profile: options.profile.clone(),
            deadline_ms: Some(options.deadline(protocol.deadline())),
            run: options.run.clone(),
            step: options.step,
            split: options.split.clone(),
            ..ScoreRequest::default()
        };
        let batch = self.service.open(request)?;
        // Taken from the batch, so that names and numbers come from one generation.
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
        apply_on_failure(&mut answers, protocol, options)?;
        Ok(ItemScores { items: answers, sources, fusion })
    }
}

/// The rollouts to score, and a score for each item. An item that is not a rollout already has its
/// failure.
fn to_rollouts(items: Vec<Item>, options: &UrlOptions) -> (Vec<Rollout>, Vec<ItemScore>) {
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

/// Applies `on_failure` to the items without a reward.
fn apply_on_failure(
    answers: &mut [ItemScore],
    protocol: &Protocol,
    options: &UrlOptions,
) -> Result<(), ApiError> {
    let (count, client) = (answers.len(), protocol.client);
    let failed = answers.iter_mut().enumerate().filter(|(_, answer)| answer.failure.is_some());
    for (index, answer) in failed {
        let why = answer.failure.as_deref().unwrap_or_default();
        tracing::info!(client, index, why, "an item could not be scored");
        match options.on_failure.unwrap_or(protocol.on_failure) {
            OnFailure::Error => {
                let detail = format!("item {index} of {count} could not be scored: {why}");
                return Err(Problem::new(ProblemCode::Unscored, detail)
                    .hint("to receive a number of your choice instead, add `?on_failure=value:X` to the URL")
                    .into());
            }
            OnFailure::Value(value) => answer.reward = Some(value.get()),
            OnFailure::Null => answer.reward = None,
        }
    }
    Ok(())
}
