//! The wire of chat completions, as servers really speak it: replies are walked as JSON, not bound to strict types, since
//! codes come as numbers or text, errors as objects, lists or pages, and some with status 200.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::{ResponseFormat, TokenLimit};
use crate::expected::{self, Alternatives};
use crate::limit::headers;
use crate::question::Worded;
use crate::render::ChatMessage;
use crate::schema::Schema;

/// What is said to one endpoint. `offer` is what it is believed to accept.
pub(crate) fn request(
    model: &str,
    question: &Worded,
    max_tokens: u32,
    offer: Offer,
    extra: &Map<String, Value>,
) -> Vec<u8> {
    let criteria = question.criteria();
    let schema = Schema { criteria: &criteria, sealed: offer.sealed };
    let letter = question.letter();
    let mut messages = question.messages.clone();
    if let Some(last) = messages.last_mut() {
        last.content.push_str("\n\n");
        last.content.push_str(&match letter {
            Some(criterion) => expected::words(criterion, &question.tag),
            None => schema.words(&question.tag),
        });
    }
    let (kind, strict, bare) = match offer.format {
        ResponseFormat::JsonSchema => ("json_schema", Some(schema), None),
        ResponseFormat::JsonObjectSchema => ("json_object", None, Some(schema)),
        ResponseFormat::JsonObject | ResponseFormat::Plain => ("json_object", None, None),
    };
    let json_schema = strict.map(|schema| Named { name: "verdict", strict: true, schema });
    let format = Format { kind, json_schema, schema: bare };
    let (old, new) = match offer.token_limit {
        TokenLimit::MaxTokens => (Some(max_tokens), None),
        TokenLimit::MaxCompletionTokens => (None, Some(max_tokens)),
    };
    let body = Body {
        extra,
        model,
        messages: &messages,
        max_tokens: old,
        max_completion_tokens: new,
        temperature: offer.temperature.then_some(question.rubric.temperature),
        response_format: (offer.format != ResponseFormat::Plain && letter.is_none())
            .then_some(format),
        logprobs: letter.map(|_| true),
        top_logprobs: letter.map(|_| 20),
    };
    // JSON with text keys always has a text.
    serde_json::to_vec(&body).unwrap_or_default()
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: &'a [ChatMessage],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u32>,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct Format<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<Named<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<Schema<'a>>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'static str,
    strict: bool,
    schema: Schema<'a>,
}

/// What an endpoint is believed to accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) format: ResponseFormat,
    pub(crate) token_limit: TokenLimit,
    pub(crate) temperature: bool,
    /// Whether the answer must carry the judged block's name.
    pub(crate) sealed: bool,
    /// Whether the model is asked to [reason less](crate::reasoning).
    pub(crate) eased: bool,
}

/// What came back with status 200.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Reply {
    /// What the model wrote.
    pub(crate) text: String,
    /// What it wrote elsewhere: a server may put constrained output there.
    pub(crate) reasoning: String,
    /// Its tokens, each with what might have stood there instead; only if that was asked for.
    pub(crate) tokens: Vec<(String, Alternatives)>,
    pub(crate) finish_reason: String,
    pub(crate) refusal: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) prompt_tokens: u64,
    /// Those of them that the endpoint knew already.
    pub(crate) cached_tokens: u64,
    pub(crate) completion_tokens: u64,
    /// Those of them that the model spent on reasoning, if the endpoint tells.
    pub(crate) reasoning_tokens: u64,
}

impl Reply {
    /// Whether the model reasoned before it answered.
    pub(crate) fn reasoned(&self) -> bool {
        self.reasoning_tokens > 0
            || !self.reasoning.trim().is_empty()
            || self.text.trim_start().starts_with("<think>")
    }
}

/// What an endpoint says went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Complaint {
    pub(crate) code: String,
    pub(crate) message: String,
    /// A delay that stands in the body, as Gemini's does.
    pub(crate) delay: Option<Duration>,
    /// The whole body in lower case, cut, to look for names in.
    pub(crate) haystack: String,
}

/// Reads a body of status 200: a reply, or the complaint that some routers hide in one.
pub(crate) fn reply(body: &[u8]) -> Result<Reply, Complaint> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return Err(complaint(body)) };
    if value.get("error").is_some_and(|error| !error.is_null()) {
        return Err(complaint(body));
    }
    let Some(choice) = value.pointer("/choices/0").filter(|choice| choice.get("message").is_some())
    else {
        return Err(Complaint {
            message: "the reply has no choices".to_owned(),
            ..complaint(body)
        });
    };
    let message = choice.get("message").unwrap_or(&Value::Null);
    let count = |pointer: &str| value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let finish_reason = choice.get("finish_reason").map(text).unwrap_or_default();
    if matches!(finish_reason.as_str(), "abort" | "error") {
        let message =
            format!("the endpoint broke its answer off (finish_reason `{finish_reason}`)");
        return Err(Complaint { message, code: "502".to_owned(), ..Complaint::default() });
    }
    let prompt_tokens = count("/usage/prompt_tokens");
    let cached = count("/usage/prompt_tokens_details/cached_tokens");
    let reasoning = message.get("reasoning").or_else(|| message.get("reasoning_content"));
    Ok(Reply {
        text: message.get("content").map(text).unwrap_or_default(),
        reasoning: reasoning.map(text).unwrap_or_default(),
        tokens: tokens(choice),
        finish_reason,
        refusal: message.get("refusal").map(text).filter(|refusal| !refusal.is_empty()),
        model: value.get("model").and_then(Value::as_str).map(str::to_owned),
        prompt_tokens,
        cached_tokens: cached.min(prompt_tokens),
        completion_tokens: count("/usage/completion_tokens"),
        // The second is SGLang's.
        reasoning_tokens: count("/usage/completion_tokens_details/reasoning_tokens")
            .max(count("/usage/reasoning_tokens")),
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

/// Text as it is, or the texts of content parts joined.
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

/// Reads an error body: an object, a list of one, flat, plain text, a page, or nothing.
pub(crate) fn complaint(body: &[u8]) -> Complaint {
    let raw = String::from_utf8_lossy(body);
    let haystack: String = raw.chars().take(4000).collect::<String>().to_lowercase();
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let value = match &value {
        Value::Array(items) => items.first().unwrap_or(&Value::Null),
        other => other,
    };
    let error = value.get("error").filter(|error| !error.is_string()).unwrap_or(value);
    let word = |key: &str| match error.get(key) {
        Some(Value::String(word)) => Some(word.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let message = word("message")
        .or_else(|| value.get("error").and_then(Value::as_str).map(str::to_owned))
        .or_else(|| word("detail"))
        .unwrap_or_else(|| raw.split_whitespace().take(30).collect::<Vec<_>>().join(" "));
    Complaint {
        code: word("code").or_else(|| word("type")).or_else(|| word("status")).unwrap_or_default(),
        message: message.chars().take(200).collect(),
        delay: error
            .get("details")
            .and_then(Value::as_array)
            .and_then(|details| {
                details.iter().find_map(|detail| detail.get("retryDelay")?.as_str())
            })
            .and_then(|text| headers::duration(text, SystemTime::UNIX_EPOCH)),
        haystack,
    }
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
    fn blank_lines_before_the_reply_are_a_keep_alive() {
        assert!(reply(b"\n\n\n{\"choices\":[{\"message\":{\"content\":null}}]}").is_ok());
    }

    #[test]
    fn an_error_may_hide_in_a_success() {
        let hidden =
            reply(br#"{"error":{"code":429,"message":"slow down"},"choices":null}"#).unwrap_err();
        assert_eq!((hidden.code.as_str(), hidden.message.as_str()), ("429", "slow down"));
        assert_eq!(reply(b"{}").unwrap_err().message, "the reply has no choices");
    }

    #[test]
    fn an_error_body_may_be_an_object_a_list_flat_text_or_nothing() {
        let gemini = br#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"quota",
            "details":[{"@type":"RetryInfo","retryDelay":"45.5s"}]}}]"#;
        let read = complaint(gemini);
        assert_eq!((read.code.as_str(), read.delay), ("429", Some(Duration::from_millis(45_500))));
        assert_eq!(complaint(br#"{"object":"error","message":"no","code":400}"#).message, "no");
        assert_eq!(complaint(br#"{"error":"plain"}"#).message, "plain");
        assert_eq!(complaint(b"<html>Bad Gateway</html>").message, "<html>Bad Gateway</html>");
        assert_eq!(complaint(b"").message, "");
    }
}
