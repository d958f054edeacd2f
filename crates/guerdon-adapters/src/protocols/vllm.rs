//! vLLM's form of `POST /classify`, which verl's reward loop sends to its reward model. The reward
//! is returned as its sigmoid unless `use_activation` is false; verl sets it to false and reads
//! `data[-1].probs[-1]`. Older versions of vLLM call the field `activation`.
//!
//! `POST /pooling` takes the same body and returns a vector of one number. (A process reward
//! model's vector, one number per token, is not served: guerdon scores turns.)

use axum::Extension;
use axum::response::Response;
use guerdon_types::{Context, Problem, RequestId};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::classifier::{LABEL, PROTOCOL, Texts, now, text_items};
use crate::score::{Item, ItemScores, ScoreCall, UrlOptions, sigmoid};
use crate::service::{ApiError, JsonBody};
use crate::text::{ForeignMessage, read};

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(pooling))
}

/// vLLM's body.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
pub(super) struct ClassifyRequestBody {
    #[serde(default)]
    model: Option<String>,
    #[serde(flatten)]
    input: ClassifyInputOrChat,
    /// `false` returns raw rewards. Default: their sigmoids.
    #[serde(default, alias = "activation", alias = "softmax")]
    use_activation: Option<bool>,
}

/// The input: texts, or one conversation.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(
    untagged,
    expecting = "expected `input`, a text or a list of texts, or `messages`, one conversation; tokens of the \
                 client's model cannot be read here"
)]
enum ClassifyInputOrChat {
    Input {
        /// Texts with the chat template's markers.
        input: Texts,
    },
    Chat {
        /// One conversation.
        messages: Vec<ForeignMessage>,
    },
}

/// vLLM's reply. The entries of `data` differ between routes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ListReply<T> {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    data: Vec<T>,
    usage: TokenUsage,
}

/// One text's classification.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ClassifyEntry {
    index: usize,
    label: &'static str,
    /// One number: the reward, or its sigmoid.
    #[schema(value_type = Vec<f64>)]
    probs: [Option<f64>; 1],
    num_classes: usize,
}

/// One text's vector.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct PoolingEntry {
    index: usize,
    object: &'static str,
    /// One number: the reward, or its sigmoid.
    #[schema(value_type = Vec<f64>)]
    data: [Option<f64>; 1],
}

/// Tokens that the reward model read.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct TokenUsage {
    prompt_tokens: usize,
    total_tokens: usize,
    completion_tokens: usize,
}

impl TokenUsage {
    pub(super) fn of(answers: &ItemScores) -> Self {
        let tokens = answers.tokens();
        Self { prompt_tokens: tokens, total_tokens: tokens, completion_tokens: 0 }
    }
}

impl<T> ListReply<T> {
    pub(super) fn new(
        id: String,
        model: Option<String>,
        answers: &ItemScores,
        data: Vec<T>,
    ) -> Self {
        let usage = TokenUsage::of(answers);
        Self { id, object: "list", created: now(), model: model_name(model), data, usage }
    }
}

/// The longest model's name that a reply repeats, in characters.
const MAX_MODEL_CHARS: usize = 256;

/// The model's name for the reply: the name in the request, which selects nothing, or `guerdon`.
pub(super) fn model_name(model: Option<String>) -> String {
    let model = model.unwrap_or_else(|| "guerdon".to_owned());
    guerdon_text::cut(&model, MAX_MODEL_CHARS).into_owned()
}

/// Builds one entry per item with `entry(index, number)`. The number is the sigmoid of the reward,
/// or the reward if `use_activation` is false.
pub(super) fn entries<T>(
    answers: &ItemScores,
    use_activation: Option<bool>,
    entry: impl Fn(usize, Option<f64>) -> T,
) -> Vec<T> {
    let activate = use_activation.unwrap_or(true);
    let number = |reward: Option<f64>| if activate { reward.map(sigmoid) } else { reward };
    answers
        .rewards()
        .into_iter()
        .enumerate()
        .map(|(index, reward)| entry(index, number(reward)))
        .collect()
}

/// Scores texts in vLLM's pooling format: each vector holds one number, the reward.
#[utoipa::path(post, path = "/pooling", tag = "trainers", params(UrlOptions),
    request_body = ClassifyRequestBody, responses(
    (status = 200, body = ListReply<PoolingEntry>),
    (status = "4XX", description = "The request as a whole is wrong.", body = Problem,
        content_type = "application/problem+json"),
    (status = 503, description = "Overloaded, or a text has no reward; see `on_failure`.",
        body = Problem, content_type = "application/problem+json"),
))]
async fn pooling(
    call: ScoreCall,
    Extension(id): Extension<RequestId>,
    JsonBody(mut request): JsonBody<ClassifyRequestBody>,
) -> Result<Response, ApiError> {
    let items = items(&call, &mut request).await?;
    let answers = call.score(&PROTOCOL, items).await?;
    let entry = |index, number| PoolingEntry { index, object: "pooling", data: [number] };
    let data = entries(&answers, request.use_activation, entry);
    Ok(answers.reply(ListReply::new(format!("pool-{id}"), request.model, &answers, data)))
}

/// Takes the input out of the body and returns its dialogues.
pub(super) async fn items(
    call: &ScoreCall,
    request: &mut ClassifyRequestBody,
) -> Result<Vec<Item>, ApiError> {
    match &mut request.input {
        ClassifyInputOrChat::Input { input } => text_items(call, input.take()).await,
        ClassifyInputOrChat::Chat { messages } => {
            let messages = std::mem::take(messages);
            call.compute(move |options| {
                vec![Item::messages(read(messages), Context::new(), options)]
            })
            .await
        }
    }
}

pub(super) fn classify_reply(
    request: ClassifyRequestBody,
    answers: &ItemScores,
    id: &RequestId,
) -> ListReply<ClassifyEntry> {
    let entry =
        |index, number| ClassifyEntry { index, label: LABEL, probs: [number], num_classes: 1 };
    let data = entries(answers, request.use_activation, entry);
    ListReply::new(format!("classify-{id}"), request.model, answers, data)
}
