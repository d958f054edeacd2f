//! `POST /classify`: three servers of sequence classifiers serve this path, and clients of each may
//! be pointed here. The body decides the form: `text` is SGLang's, `input` with `raw_scores`
//! Infinity's, any other `input` or `messages` vLLM's.
//!
//! All three treat a reward model as a classifier with one label. Their default activations differ,
//! and this route follows each.

use axum::Extension;
use axum::response::Response;
use guerdon_types::{Invalid, Problem, ProblemCode, RequestId};
use serde::Deserialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::classifier::{PROTOCOL, text_items};
use super::{infinity, sglang, vllm};
use crate::score::{ScoreCall, UrlOptions};
use crate::service::{ApiError, JsonBody};

pub(super) fn routes() -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(classify))
}

/// A body in one of three forms.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
enum ClassifyRequest {
    /// SGLang's.
    Sglang(sglang::ClassifyText),
    /// Infinity's.
    Infinity(infinity::ClassifyInput),
    /// vLLM's.
    Vllm(vllm::ClassifyRequestBody),
}

/// Scores texts as vLLM, SGLang or Infinity classify them.
#[utoipa::path(post, path = "/classify", tag = "trainers", params(UrlOptions),
    request_body = ClassifyRequest, responses(
    (status = 200, description = "In the form of the server whose body was sent.", content(
        (vllm::ListReply<vllm::ClassifyEntry> = "application/json"),
    )),
    (status = "4XX", description = "The request as a whole is wrong.", body = Problem,
        content_type = "application/problem+json"),
    (status = 503, description = "Overloaded, or a text has no reward; see `on_failure`.",
        body = Problem, content_type = "application/problem+json"),
))]
async fn classify(
    call: ScoreCall,
    Extension(id): Extension<RequestId>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, ApiError> {
    match call.compute(|_| read(body)).await?? {
        ClassifyRequest::Sglang(mut request) => {
            let items = text_items(&call, request.text.take()).await?;
            let answers = call.score(&PROTOCOL, items).await?;
            Ok(answers.reply(sglang::classify_reply(&request, &answers, &id)))
        }
        ClassifyRequest::Infinity(mut request) => {
            let items = text_items(&call, request.input.take()).await?;
            let answers = call.score(&PROTOCOL, items).await?;
            Ok(answers.reply(infinity::classify_reply(&request, &answers, &id)))
        }
        ClassifyRequest::Vllm(mut request) => {
            let items = vllm::items(&call, &mut request).await?;
            let answers = call.score(&PROTOCOL, items).await?;
            Ok(answers.reply(vllm::classify_reply(request, &answers, &id)))
        }
    }
}

fn read(body: Value) -> Result<ClassifyRequest, Invalid> {
    serde_json::from_value(body).map_err(|_| {
        let detail = "the body is in none of the forms of vLLM, SGLang and Infinity";
        Invalid::new(ProblemCode::InvalidRequest, "", detail).hint(
            "send `input` (vLLM, Infinity), `messages` (vLLM) or `text` (SGLang): a text or a list of texts; tokens \
             of the client's model cannot be read here",
        )
    })
}
