//! The wire format of chat completions as servers implement it. Replies are read as untyped JSON,
//! because servers differ: codes are numbers or text, errors are objects, lists or HTML pages, and
//! some errors have status 200.

mod lenient;

use std::time::{Duration, SystemTime};

use guerdon_queue::parse_reset;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::ask::expected::Alternatives;
use crate::ask::question::{AnswerSchema, RenderedQuestion};
use crate::ask::render::{self, ChatMessage};
use crate::config::{ResponseFormat, TokenLimit};

/// Builds the request body for one endpoint.
pub(crate) fn request(
    model: &str,
    question: &RenderedQuestion,
    max_tokens: u32,
    features: RequestFeatures,
    extra: &Map<String, Value>,
) -> Vec<u8> {
    let criteria = question.criteria();
    let schema = question.schema(&criteria, features.sealed);
    let is_json = question.letter().is_none() && question.formed().is_none();
    let probabilities = question.wants_probabilities();
    let mut messages = question.messages.clone();
    if let Some((form, closing)) = question.instructions(features.sealed) {
        render::add_instructions(&mut messages, &form, &closing);
    }
    let (kind, strict, bare) = match features.format {
        ResponseFormat::JsonSchema => ("json_schema", Some(schema), None),
        ResponseFormat::JsonObjectSchema => ("json_object", None, Some(schema)),
        ResponseFormat::JsonObject | ResponseFormat::Plain => ("json_object", None, None),
    };
    let json_schema = strict.map(|schema| NamedSchema { name: "verdict", strict: true, schema });
    let format = FormatField { kind, json_schema, schema: bare };
    let (old, new) = match features.token_limit {
        TokenLimit::MaxTokens => (Some(max_tokens), None),
        TokenLimit::MaxCompletionTokens => (None, Some(max_tokens)),
    };
    let body = RequestBody {
        extra,
        model,
        messages: &messages,
        max_tokens: old,
        max_completion_tokens: new,
        temperature: features.temperature.then_some(question.rubric.temperature),
        response_format: (features.format != ResponseFormat::Plain && is_json).then_some(format),
        logprobs: probabilities.then_some(true),
        top_logprobs: probabilities.then_some(20),
    };
    // Serializing JSON with string keys cannot fail.
    serde_json::to_vec(&body).unwrap_or_default()
}

#[derive(Serialize)]
struct RequestBody<'a> {
    model: &'a str,
    messages: &'a [ChatMessage],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<FormatField<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u32>,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct FormatField<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<NamedSchema<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<AnswerSchema<'a>>,
}

#[derive(Serialize)]
struct NamedSchema<'a> {
    name: &'static str,
    strict: bool,
    schema: AnswerSchema<'a>,
}

/// Features of a request that depend on the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestFeatures {
    pub(crate) format: ResponseFormat,
    pub(crate) token_limit: TokenLimit,
    pub(crate) temperature: bool,
    /// Set if the answer must repeat the name of the judged block.
    pub(crate) sealed: bool,
    /// Set if the model is asked to [reason less](crate::ask::reasoning).
    pub(crate) reduced_reasoning: bool,
}

/// A completion: a reply with status 200.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Completion {
    /// The content.
    pub(crate) text: String,
    /// The reasoning; some servers put constrained output there.
    pub(crate) reasoning: String,
    /// The tokens of the content, each with its most likely alternatives, if the request set
    /// `logprobs`.
    pub(crate) tokens: Vec<(String, Alternatives)>,
    pub(crate) finish_reason: String,
    pub(crate) refusal: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) prompt_tokens: u64,
    /// Prompt tokens that the endpoint served from its prefix cache.
    pub(crate) cached_tokens: u64,
    pub(crate) completion_tokens: u64,
    /// Completion tokens spent on reasoning, if the endpoint reports them.
    pub(crate) reasoning_tokens: u64,
    /// True if the endpoint reported usage that cannot be true. It is not counted then.
    pub(crate) implausible_usage: bool,
}

/// Tokens of a chat template around the messages.
const TEMPLATE_TOKENS: u64 = 1024;
/// The greatest multiple of the token limit that an answer is believed to have.
const MOST_OVERRUN: u64 = 16;
/// The longest name of a model that is reported.
const LONGEST_MODEL: usize = 200;

impl Completion {
    /// The content, or the reasoning if there is no content.
    pub(crate) fn words(&self) -> &str {
        if self.text.trim().is_empty() { &self.reasoning } else { &self.text }
    }

    /// True if the endpoint counted the tokens.
    pub(crate) const fn is_counted(&self) -> bool {
        self.prompt_tokens > 0 && !self.implausible_usage
    }

    /// Drops reported usage that cannot be true: more prompt tokens than the request has bytes, or
    /// far more tokens of the answer than its limit allows and its text has bytes.
    pub(crate) fn with_plausible_usage(mut self, request_bytes: u64, max_tokens: u32) -> Self {
        let written = (self.text.len() as u64).saturating_add(self.reasoning.len() as u64);
        let most = u64::from(max_tokens).saturating_mul(MOST_OVERRUN).saturating_add(written);
        let implausible = self.prompt_tokens > request_bytes.saturating_add(TEMPLATE_TOKENS)
            || self.completion_tokens > most;
        if implausible {
            (self.prompt_tokens, self.cached_tokens, self.completion_tokens) = (0, 0, 0);
            self.implausible_usage = true;
        }
        self
    }

    /// True if the model reasoned before it answered.
    pub(crate) fn reasoned(&self) -> bool {
        self.reasoning_tokens > 0
            || !self.reasoning.trim().is_empty()
            || self.text.trim_start().starts_with("<think>")
    }
}

/// An error reported by an endpoint, read from the known fields of its JSON body. Other text (an
/// HTML page, truncated JSON, an echo of the request) is only shown to people and never classified,
/// because it may quote the judged turn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct EndpointError {
    /// Identifiers of the error in lower case: its code, type, status, reasons and quota ids.
    pub(crate) codes: Vec<String>,
    /// Names of the request's fields that the error refers to, in lower case.
    pub(crate) fields: Vec<String>,
    /// The shortened error text, for people.
    pub(crate) message: String,
    /// The text of the error's message field in lower case, at most 4000 characters. Empty if there
    /// is no such field.
    pub(crate) text: String,
    /// The retry delay from the body, which Gemini sends.
    pub(crate) delay: Option<Duration>,
    /// True if a moderation flagged the question: OpenRouter's `metadata.reasons` or
    /// `metadata.flagged_input`.
    pub(crate) flagged: bool,
}

impl EndpointError {
    /// The HTTP status that a router put into the body.
    pub(crate) fn status(&self) -> Option<u16> {
        let statuses = self.codes.iter().filter_map(|code| code.parse::<u16>().ok());
        statuses.into_iter().find(|status| (400..600).contains(status))
    }
}

/// Reads a body of status 200: a completion, or an error that a router sent with status 200.
pub(crate) fn reply(body: &[u8]) -> Result<Completion, EndpointError> {
    let Ok(value) = lenient::from_slice(body) else { return Err(complaint(body)) };
    if value.get("error").is_some_and(|error| !error.is_null()) {
        return Err(complaint(body));
    }
    let Some(choice) = value.pointer("/choices/0").filter(|choice| choice.get("message").is_some())
    else {
        return Err(EndpointError {
            message: "the reply has no choices".to_owned(),
            ..complaint(body)
        });
    };
    let message = choice.get("message").unwrap_or(&Value::Null);
    let count = |pointer: &str| value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let finish_reason = choice.get("finish_reason").map(text).unwrap_or_default();
    if matches!(finish_reason.as_str(), "abort" | "error") {
        let message = format!("the endpoint aborted its answer (finish_reason `{finish_reason}`)");
        return Err(EndpointError {
            message,
            codes: vec!["502".to_owned()],
            ..EndpointError::default()
        });
    }
    let prompt_tokens = count("/usage/prompt_tokens");
    // The second is DeepSeek's.
    let cached = count("/usage/prompt_tokens_details/cached_tokens")
        .max(count("/usage/prompt_cache_hit_tokens"));
    let reasoning = message.get("reasoning").or_else(|| message.get("reasoning_content"));
    Ok(Completion {
        text: message.get("content").map(text).unwrap_or_default(),
        reasoning: reasoning.map(text).unwrap_or_default(),
        tokens: tokens(choice),
        finish_reason,
        refusal: message.get("refusal").map(text).filter(|refusal| !refusal.is_empty()),
        model: value
            .get("model")
            .and_then(Value::as_str)
            .map(|model| model.chars().take(LONGEST_MODEL).collect()),
        prompt_tokens,
        cached_tokens: cached.min(prompt_tokens),
        completion_tokens: count("/usage/completion_tokens"),
        // SGLang reports the second one.
        reasoning_tokens: count("/usage/completion_tokens_details/reasoning_tokens")
            .max(count("/usage/reasoning_tokens")),
        implausible_usage: false,
    })
}

fn tokens(choice: &Value) -> Vec<(String, Alternatives)> {
    let word =
        |value: &Value| value.get("token").and_then(Value::as_str).unwrap_or_default().to_owned();
    let alternatives = |token: &Value| {
        let list = token
            .get("top_logprobs")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        list.iter().filter_map(|one| Some((word(one), one.get("logprob")?.as_f64()?))).collect()
    };
    let list = choice.pointer("/logprobs/content").and_then(Value::as_array).map(Vec::as_slice);
    list.unwrap_or_default().iter().map(|token| (word(token), alternatives(token))).collect()
}

/// The text of a string, or the joined texts of a list of content parts.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part.get("text").and_then(Value::as_str).or_else(|| part.as_str()))
            .collect(),
        _ => String::new(),
    }
}

/// The content type of a reply, if it is not that of an API: a page, or a stream that was not asked
/// for.
pub(crate) fn foreign_content(headers: &HeaderMap) -> Option<&'static str> {
    let content = headers.get(CONTENT_TYPE)?.to_str().ok()?.to_ascii_lowercase();
    ["text/html", "text/event-stream"].into_iter().find(|kind| content.starts_with(kind))
}

/// Reads an error body. It may be an object, a list of one object, an object without an inner
/// `error`, plain text, an HTML page or empty.
pub(crate) fn complaint(body: &[u8]) -> EndpointError {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let value = match &value {
        Value::Array(items) => items.first().unwrap_or(&Value::Null),
        other => other,
    };
    let error = value.get("error").filter(|error| !error.is_string()).unwrap_or(value);
    let text = [error.get("message"), value.get("error"), error.get("detail")];
    let text = text.into_iter().flatten().find_map(Value::as_str);
    let shown = text.map_or_else(
        || {
            let raw = String::from_utf8_lossy(body);
            raw.split_whitespace().take(30).collect::<Vec<_>>().join(" ")
        },
        str::to_owned,
    );
    let details = array(error, "details");
    EndpointError {
        codes: codes(error, details),
        fields: fields(value, error, details),
        message: shown.chars().take(200).collect(),
        text: text.unwrap_or_default().chars().take(4000).collect::<String>().to_lowercase(),
        flagged: !array(error, "metadata/reasons").is_empty()
            || error.pointer("/metadata/flagged_input").is_some_and(Value::is_string),
        delay: details
            .iter()
            .find_map(|detail| detail.get("retryDelay")?.as_str())
            .and_then(|text| parse_reset(text, SystemTime::UNIX_EPOCH)),
    }
}

/// The identifiers in an error: `code` (OpenAI, vLLM, Azure), `type` (OpenAI, Anthropic,
/// llama.cpp), `status` (Gemini), Azure's inner code, and the reasons and quota ids of Google's
/// error details.
fn codes(error: &Value, details: &[Value]) -> Vec<String> {
    let own = ["/code", "/type", "/status", "/innererror/code"];
    let own = own.iter().filter_map(|pointer| error.pointer(pointer));
    let detailed = details.iter().flat_map(|detail| {
        let quotas = array(detail, "violations").iter().filter_map(|one| one.get("quotaId"));
        let limit = detail.pointer("/metadata/quota_limit");
        detail.get("reason").into_iter().chain(limit).chain(quotas)
    });
    own.chain(detailed).filter_map(identifier).collect()
}

/// The request fields that an error refers to: `param` (OpenAI), the field violations of Google's
/// error details, and the places in FastAPI's list of errors.
fn fields(value: &Value, error: &Value, details: &[Value]) -> Vec<String> {
    let violations = details.iter().flat_map(|detail| array(detail, "fieldViolations"));
    let violations = violations.filter_map(|violation| violation.get("field"));
    let places = array(value, "detail").iter().flat_map(|detail| array(detail, "loc"));
    error.get("param").into_iter().chain(violations).chain(places).filter_map(identifier).collect()
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let found = value.pointer(&format!("/{key}"));
    found.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A number or a single word without spaces. `None` for sentences.
fn identifier(value: &Value) -> Option<String> {
    let word = match value {
        Value::String(word) => word.to_lowercase(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let is_identifier_char =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '[' | ']');
    (!word.is_empty() && word.len() <= 100 && word.chars().all(is_identifier_char)).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_may_be_a_list_of_parts() {
        let body = br#"{"choices":[{"message":{"content":[{"type":"text","text":"{\"a\""},{"type":"text","text":":1}"}]},
            "finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#;
        let reply = reply(body).unwrap();
        assert_eq!(reply.text, r#"{"a":1}"#);
        assert_eq!((reply.prompt_tokens, reply.completion_tokens), (7, 2));
    }

    #[test]
    fn blank_lines_before_the_reply_are_skipped() {
        assert!(reply(b"\n\n\n{\"choices\":[{\"message\":{\"content\":null}}]}").is_ok());
    }

    #[test]
    fn error_with_status_200_is_recognized() {
        let error =
            reply(br#"{"error":{"code":429,"message":"slow down"},"choices":null}"#).unwrap_err();
        assert_eq!((error.status(), error.message.as_str()), (Some(429), "slow down"));
        assert_eq!(reply(b"{}").unwrap_err().message, "the reply has no choices");
    }

    #[test]
    fn error_body_may_be_an_object_a_list_plain_text_or_empty() {
        let gemini = br#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"quota",
            "details":[{"@type":"RetryInfo","retryDelay":"45.5s"}]}}]"#;
        let read = complaint(gemini);
        assert_eq!((read.status(), read.delay), (Some(429), Some(Duration::from_millis(45_500))));
        assert_eq!(read.codes, ["429", "resource_exhausted"]);
        assert_eq!(complaint(br#"{"object":"error","message":"no","code":400}"#).message, "no");
        assert_eq!(complaint(br#"{"error":"plain"}"#).message, "plain");
        assert_eq!(complaint(b"<html>Bad Gateway</html>").message, "<html>Bad Gateway</html>");
        assert_eq!(complaint(b"").message, "");
        assert_eq!(
            complaint(b"<html>Bad Gateway</html>").text,
            "",
            "text outside the message field is not classified"
        );
    }

    #[test]
    fn identifiers_are_read_from_their_fields_only() {
        let echo = br#"{"detail":[{"type":"missing","loc":["body","messages",0,"name"],
            "msg":"json_schema","input":{"code":"insufficient_quota","param":"temperature"}}]}"#;
        let read = complaint(echo);
        assert_eq!(read.fields, ["body", "messages", "0", "name"]);
        assert!(read.codes.is_empty() && read.text.is_empty(), "{read:?}");
        let sentence = br#"{"error":{"code":"the reply says insufficient_quota","message":"no"}}"#;
        assert!(complaint(sentence).codes.is_empty());
        let google = br#"{"error":{"code":429,"details":[{"reason":"RATE_LIMIT_EXCEEDED"},
            {"violations":[{"quotaId":"RequestsPerDay"}]},{"fieldViolations":[{"field":"json_schema"}]}]}}"#;
        let read = complaint(google);
        assert_eq!(read.codes, ["429", "rate_limit_exceeded", "requestsperday"]);
        assert_eq!(read.fields, ["json_schema"]);
    }
}
