//! `POST /reward`, reward-kit's remote reward function, and `POST /evaluate`, eval-protocol's. Both
//! send messages and a ground truth and expect an `EvaluateResult`.
//!
//! The score of a metric must be in `[0, 1]`: the sigmoid of the reward model's score, and `(points
//! / bound + 1) / 2` for points, so that 0.5 is neutral. A rollout without a reward is an error in
//! reward-kit's protocol, because its client ignores `is_score_valid`. eval-protocol's client reads
//! the field.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::response::Response;
use guerdon_types::{Context, Problem, SourceKind, SourceRole, TurnResult};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::score::{
    Item, ItemScore, ItemScores, OnFailure, Protocol, ScoreCall, SourceName, UrlOptions, sigmoid,
};
use crate::service::{ApiError, JsonBody};
use crate::text::{ForeignMessage, facts, read};

/// The client sets no timeout; gateways commonly wait a minute.
pub(super) const REWARD_KIT: Protocol = Protocol {
    client: "reward-kit",
    client_timeout: Duration::from_secs(60),
    on_failure: OnFailure::Error,
};

/// The same as [`REWARD_KIT`], except that a reply can mark a score as invalid.
pub(super) const EVAL_PROTOCOL: Protocol =
    Protocol { client: "eval-protocol", on_failure: OnFailure::Null, ..REWARD_KIT };

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(reward)).routes(routes!(evaluate))
}

/// A dialogue and its context.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct EvaluateRequest {
    /// The dialogue; its last assistant turn is scored.
    messages: Vec<ForeignMessage>,
    /// An object, or a text that is a JSON object, is the rollout's context; any other value is the
    /// entry `ground_truth` of the context. A list is ignored: reward-kit sends the first messages
    /// of the dialogue if there is no ground truth.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    ground_truth: Value,
    /// Further entries of the context, from eval-protocol.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    kwargs: Map<String, Value>,
    /// Further entries of the context, from reward-kit.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    facts: Map<String, Value>,
}

/// The `EvaluateResult` of both protocols.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct EvaluateResult {
    /// The fused reward.
    score: f64,
    /// `false` if there is no score; see `error`.
    is_score_valid: bool,
    /// The parts of the reward, in words.
    reason: String,
    /// The score of each source.
    metrics: BTreeMap<String, MetricResult>,
    /// The reward of each scored turn; with `?score=all`, of every assistant turn.
    step_outputs: Vec<StepOutput>,
    /// The reason why there is no score.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The score of one source.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct MetricResult {
    /// A number in `[0, 1]`.
    score: f64,
    /// `false` if the source abstained.
    is_score_valid: bool,
    /// The value of `is_score_valid`, under the name that reward-kit's client reads.
    success: bool,
    reason: String,
}

/// One turn's reward.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct StepOutput {
    /// The turn's index in the messages.
    step_index: usize,
    base_reward: f64,
    /// The number of each source.
    metrics: BTreeMap<String, f64>,
    reason: String,
}

/// Scores a dialogue as a reward-kit reward function does.
#[utoipa::path(post, path = "/reward", tag = "trainers", params(UrlOptions),
    request_body = EvaluateRequest, responses(
    (status = 200, body = EvaluateResult),
    (status = "4XX", description = "The request as a whole is wrong.", body = Problem,
        content_type = "application/problem+json"),
    (status = 503, description = "Overloaded, or the dialogue has no reward; see `on_failure`.",
        body = Problem, content_type = "application/problem+json"),
))]
async fn reward(
    call: ScoreCall,
    JsonBody(request): JsonBody<EvaluateRequest>,
) -> Result<Response, ApiError> {
    answer(&call, &REWARD_KIT, request).await
}

/// Scores a dialogue as an eval-protocol evaluator does.
#[utoipa::path(post, path = "/evaluate", tag = "trainers", params(UrlOptions),
    request_body = EvaluateRequest, responses(
    (status = 200, body = EvaluateResult),
    (status = "4XX", description = "The request as a whole is wrong.", body = Problem,
        content_type = "application/problem+json"),
    (status = 503, description = "Overloaded.", body = Problem,
        content_type = "application/problem+json"),
))]
async fn evaluate(
    call: ScoreCall,
    JsonBody(request): JsonBody<EvaluateRequest>,
) -> Result<Response, ApiError> {
    answer(&call, &EVAL_PROTOCOL, request).await
}

async fn answer(
    call: &ScoreCall,
    protocol: &Protocol,
    request: EvaluateRequest,
) -> Result<Response, ApiError> {
    let EvaluateRequest { messages, ground_truth, kwargs, facts: mut context } = request;
    context.extend(kwargs);
    context.extend(ground_truth_context(ground_truth));
    let item = Item::messages(read(messages), context, &call.options);
    let answers = call.score(protocol, vec![item]).await?;
    Ok(answers.reply(answers.items.first().map(|answer| evaluate_result(answer, &answers))))
}

fn ground_truth_context(ground_truth: Value) -> Context {
    match ground_truth {
        Value::Array(_) => Context::new(),
        ground_truth => facts("ground_truth", ground_truth),
    }
}

fn evaluate_result(answer: &ItemScore, answers: &ItemScores) -> EvaluateResult {
    let turns = answer.result.as_ref().map_or(&[][..], |result| &result.turns);
    let last = turns.last();
    let step = |turn: &TurnResult| {
        let numbers = answers
            .sources
            .iter()
            .filter_map(|source| Some((source.id.to_string(), source.value(turn)?)));
        Some(StepOutput {
            step_index: turn.index,
            base_reward: turn.reward?.get(),
            metrics: numbers.collect(),
            reason: reason(turn, &answers.sources),
        })
    };
    let unscored = || answer.failure.clone().unwrap_or_default();
    EvaluateResult {
        score: answer.reward.unwrap_or(0.0),
        is_score_valid: answer.failure.is_none(),
        reason: last.map_or_else(unscored, |turn| reason(turn, &answers.sources)),
        metrics: answers
            .sources
            .iter()
            .map(|source| (source.id.to_string(), metric(source, last, answers.fusion.bound.get())))
            .collect(),
        step_outputs: turns.iter().filter_map(step).collect(),
        error: answer.failure.clone(),
    }
}

fn metric(source: &SourceName, turn: Option<&TurnResult>, bound: f64) -> MetricResult {
    let value = turn.and_then(|turn| source.value(turn));
    let score = value.map(|value| match source.kind.default_role() {
        SourceRole::Base => sigmoid(value),
        _ => f64::midpoint(value.clamp(-bound, bound) / bound, 1.0),
    });
    let reason = turn.map_or_else(|| "not scored".to_owned(), |turn| source.describe(turn));
    MetricResult {
        score: score.unwrap_or(0.0),
        is_score_valid: score.is_some(),
        success: score.is_some(),
        reason,
    }
}

fn reason(turn: &TurnResult, sources: &[SourceName]) -> String {
    let parts = sources.iter().map(|source| format!("{}: {}", source.id, source.describe(turn)));
    parts.collect::<Vec<_>>().join("; ")
}

impl SourceName {
    /// The source's result for a turn, in words.
    fn describe(&self, turn: &TurnResult) -> String {
        let mut words: Vec<String> =
            self.value(turn).map(|value| format!("{value}")).into_iter().collect();
        let named = turn.parts.get(&self.id);
        match self.kind {
            _ if named.is_some() => {
                let components = named.iter().flat_map(|part| &part.components);
                words.extend(components.map(|(name, number)| format!("{name} {number}")));
            }
            SourceKind::Judge => {
                words.extend(turn.judge.iter().flat_map(|part| &part.criteria).map(|criterion| {
                    format!("{}/{} {}", criterion.prompt, criterion.id, criterion.points)
                }))
            }
            SourceKind::Rules => words.extend(
                turn.rules
                    .iter()
                    .flat_map(|part| &part.hits)
                    .map(|hit| format!("{}/{} {}", hit.pack, hit.rule, hit.points)),
            ),
            _ => {}
        }
        let abstained = turn.abstained.iter().filter(|abstained| abstained.source == self.id);
        words.extend(abstained.map(|abstained| format!("abstained: {}", abstained.detail)));
        words.join(", ")
    }
}
