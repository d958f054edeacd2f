//! `POST /get_reward`: OpenRLHF's reward server, for every version of its client since 2024, and
//! align-anything, which sends prompts and responses separately.
//!
//! The client stacks every list into a tensor without a `try`: a `null`, a text or a missing name
//! ends the training run. It repeats a 4xx as it does a 5xx, so an item without a reward is never a
//! 4xx. Versions before 0.11.2 send empty batches to all but one of several servers.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::response::Response;
use guerdon_types::{Invalid, Problem, ProblemCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::score::{
    Item, ItemScores, OnFailure, Protocol, ScoreCall, UrlOptions, numbers, sigmoid,
};
use crate::service::{ApiError, JsonBody};
use crate::text::{continued, facts, split};

/// OpenRLHF waits 180 s, align-anything 100 s.
pub(super) const PROTOCOL: Protocol = Protocol {
    client: "OpenRLHF",
    client_timeout: Duration::from_secs(100),
    on_failure: OnFailure::Error,
};

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(get_reward))
}

/// Texts to score: `query`, or `prompts` and `responses`. Lists of equal length.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default)]
struct GetRewardRequest {
    /// Prompt and response as one text each, with the chat template's markers.
    #[schema(value_type = Option<Vec<String>>)]
    query: Option<Vec<Value>>,
    /// The prompts.
    #[schema(value_type = Option<Vec<String>>)]
    prompts: Option<Vec<Value>>,
    /// The responses, if there is no `query`.
    #[schema(value_type = Option<Vec<String>>)]
    responses: Option<Vec<Value>>,
    /// The dataset's labels. An object, or a text that is a JSON object, is the rollout's context;
    /// any other label is the entry `label` of the context.
    #[schema(value_type = Option<Vec<Object>>)]
    labels: Option<Vec<Value>>,
}

/// Lists with one number for each item.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct GetRewardReply {
    /// The fused rewards.
    #[schema(value_type = Vec<f64>)]
    rewards: Vec<Option<f64>>,
    /// The sigmoids of the rewards, in `[0, 1]`. OpenRLHF filters groups by them.
    #[schema(value_type = Vec<f64>)]
    scores: Vec<Option<f64>>,
    /// The parts by name: each source's number and `<source>_abstained`, and `failed`,
    /// `recognised`, `thought`. Every reply of a profile has the same names.
    extra_logs: BTreeMap<String, Vec<f64>>,
}

/// Scores as OpenRLHF's `serve_rm` does.
#[utoipa::path(post, path = "/get_reward", tag = "trainers", params(UrlOptions),
    request_body = GetRewardRequest, responses(
    (status = 200, body = GetRewardReply),
    (status = "4XX", description = "The request as a whole is wrong.", body = Problem,
        content_type = "application/problem+json"),
    (status = 503, description = "Overloaded, or an item has no reward; see `on_failure`.",
        body = Problem, content_type = "application/problem+json"),
))]
async fn get_reward(
    call: ScoreCall,
    JsonBody(request): JsonBody<GetRewardRequest>,
) -> Result<Response, ApiError> {
    let texts = request.query.as_ref().or(request.responses.as_ref());
    call.check_count(texts.map_or(0, Vec::len))?;
    let items = call.compute(|options| items(request, options)).await??;
    let answers = call.score(&PROTOCOL, items).await?;
    Ok(answers.reply(reply(&answers)))
}

fn items(request: GetRewardRequest, options: &UrlOptions) -> Result<Vec<Item>, Invalid> {
    let GetRewardRequest { query, prompts, responses, labels } = request;
    let (name, texts) = match (query, responses) {
        (Some(query), _) => ("query", query),
        (None, Some(responses)) => ("responses", responses),
        (None, None) => {
            return Err(Invalid::new(
                ProblemCode::InvalidRequest,
                "",
                "the body has neither `query` nor `responses`",
            )
            .hint("send `query`, a list of texts; or `prompts` and `responses`"));
        }
    };
    for (other, list) in [("prompts", &prompts), ("labels", &labels)] {
        let length = list.as_ref().map_or(texts.len(), Vec::len);
        if length != texts.len() {
            let detail = format!("`{other}` has {length} items and `{name}` {}", texts.len());
            return Err(Invalid::new(ProblemCode::InvalidRequest, format!("/{other}"), detail)
                .hint("send lists of equal length"));
        }
    }
    let mut prompts = prompts.unwrap_or_default().into_iter();
    let mut labels = labels.unwrap_or_default().into_iter();
    let item = |text: Value| {
        let (prompt, label) = (prompts.next(), labels.next().unwrap_or_default());
        let context = facts("label", label);
        let prompt = prompt.as_ref().and_then(Value::as_str);
        match (text.as_str(), name) {
            (None, _) => Item::broken(format!("an item of `{name}` is not a text")),
            (Some(query), "query") => Item::text(split(query, prompt, options.thoughts), context),
            (Some(response), _) => Item::text(
                continued(prompt.unwrap_or_default(), response, options.thoughts),
                context,
            ),
        }
    };
    Ok(texts.into_iter().map(item).collect())
}

fn reply(answers: &ItemScores) -> GetRewardReply {
    let rewards = answers.rewards();
    // An empty batch has the same names as others.
    let empty = numbers(&crate::score::ItemScore::default(), &answers.sources);
    let mut extra_logs: BTreeMap<String, Vec<f64>> =
        empty.into_keys().map(|name| (name, Vec::with_capacity(rewards.len()))).collect();
    for answer in &answers.items {
        for (name, number) in numbers(answer, &answers.sources) {
            extra_logs.entry(name).or_default().push(number);
        }
    }
    GetRewardReply {
        scores: rewards.iter().map(|reward| reward.map(sigmoid)).collect(),
        rewards,
        extra_logs,
    }
}
