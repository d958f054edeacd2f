//! RFC 9457 problem bodies. The HTTP status and the title of each [`ProblemCode`] are defined here
//! and nowhere else.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{RequestId, Vocabulary, Word};

/// The kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProblemCode {
    /// The body is not JSON, or not valid UTF-8.
    MalformedJson,
    /// The body is JSON, but not a valid request.
    InvalidRequest,
    /// A rollout has no assistant turn to score.
    NoAssistantTurn,
    /// The profile does not exist.
    UnknownProfile,
    /// The profile has no such source.
    UnknownSource,
    /// The fusion needs a source that the request left out.
    FusionNeedsSource,
    /// The body or the number of rollouts is over the limit.
    TooLarge,
    /// This rollout is over a limit; the others of its batch are not affected.
    RolloutTooLarge,
    /// A source that the fusion needs abstained, so this rollout has no reward.
    Unscored,
    /// A veto took this rollout out of its group, so it has no reward. With the fusion `screen` only.
    Screened,
    /// The token is missing or unknown.
    Unauthorized,
    /// The token lacks the scope of this route.
    Forbidden,
    /// The body did not arrive in time.
    RequestTimeout,
    /// The request expects another configuration than the one that serves.
    Conflict,
    /// The path does not exist.
    NotFound,
    /// The path does not accept this method.
    MethodNotAllowed,
    /// The content type or the content encoding is not supported.
    UnsupportedMediaType,
    /// This client sends too many requests.
    RateLimited,
    /// The server has too many requests at the moment.
    Overloaded,
    /// The server is starting or stopping.
    NotReady,
    /// The new configuration, packs or prompts have errors; the old ones stay in use.
    ReloadFailed,
    /// A fault of guerdon; the server's log has the details.
    Internal,
}

impl ProblemCode {
    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::MalformedJson => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::Conflict => 409,
            Self::TooLarge | Self::RolloutTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::InvalidRequest
            | Self::NoAssistantTurn
            | Self::UnknownProfile
            | Self::UnknownSource
            | Self::FusionNeedsSource
            | Self::Screened
            | Self::ReloadFailed => 422,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::Unscored | Self::Overloaded | Self::NotReady => 503,
        }
    }

    /// A short, fixed title.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::MalformedJson => "The body is not JSON",
            Self::InvalidRequest => "The request is not valid",
            Self::NoAssistantTurn => "The rollout has no assistant turn to score",
            Self::UnknownProfile => "The profile does not exist",
            Self::UnknownSource => "The source does not exist",
            Self::FusionNeedsSource => "The fusion needs a source that was left out",
            Self::TooLarge => "The request is too large",
            Self::RolloutTooLarge => "The rollout is too large",
            Self::Unscored => "The rollout could not be scored",
            Self::Screened => "The rollout was screened",
            Self::Unauthorized => "A valid token is required",
            Self::Forbidden => "The request is not allowed",
            Self::RequestTimeout => "The body did not arrive in time",
            Self::Conflict => "Another configuration serves",
            Self::NotFound => "The path does not exist",
            Self::MethodNotAllowed => "The method is not allowed",
            Self::UnsupportedMediaType => "The content type is not supported",
            Self::RateLimited => "Too many requests",
            Self::Overloaded => "The server is overloaded",
            Self::NotReady => "The server is not ready",
            Self::ReloadFailed => "The reload failed",
            Self::Internal => "Internal error",
        }
    }

    /// The code as it is written in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::InvalidRequest => "invalid_request",
            Self::NoAssistantTurn => "no_assistant_turn",
            Self::UnknownProfile => "unknown_profile",
            Self::UnknownSource => "unknown_source",
            Self::FusionNeedsSource => "fusion_needs_source",
            Self::TooLarge => "too_large",
            Self::RolloutTooLarge => "rollout_too_large",
            Self::Unscored => "unscored",
            Self::Screened => "screened",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::RequestTimeout => "request_timeout",
            Self::Conflict => "conflict",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::NotReady => "not_ready",
            Self::ReloadFailed => "reload_failed",
            Self::Internal => "internal",
        }
    }
}

impl Vocabulary for ProblemCode {
    fn as_str(self) -> &'static str {
        self.as_str()
    }
}

/// An RFC 9457 problem body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Problem {
    /// A URI for the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short, fixed title.
    pub title: String,
    /// The HTTP status. Per-rollout errors have one too.
    pub status: u16,
    /// The details of this occurrence.
    pub detail: String,
    /// The path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The machine-readable name. A later server may send one that this version does not know.
    #[cfg_attr(feature = "openapi", schema(value_type = ProblemCode))]
    pub code: Word<ProblemCode>,
    /// The remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// An RFC 6901 JSON pointer into the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// The id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
}

impl Problem {
    /// A problem of the kind `code`.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:guerdon:problem:{}", code.as_str()),
            title: code.title().into(),
            status: code.status(),
            detail: detail.into(),
            instance: None,
            code: code.into(),
            hint: None,
            pointer: None,
            request_id: None,
        }
    }

    /// Adds a remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the pointer into the request.
    #[must_use]
    pub fn pointer(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }
}

/// An invalid value in a request, with its place and a remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail} (at `{pointer}`)")]
#[non_exhaustive]
pub struct Invalid {
    /// The kind of problem.
    pub code: ProblemCode,
    /// A JSON pointer to the invalid value.
    pub pointer: String,
    /// The fault.
    pub detail: String,
    /// The remedy.
    pub hint: Option<String>,
}

/// The longest pointer and detail of a fault, in characters. They may quote a request, which may be
/// as long as the largest body.
const MAX_CHARS: usize = 1_000;

/// The first [`MAX_CHARS`] characters of `text`.
fn short(text: String) -> String {
    match guerdon_text::cut(&text, MAX_CHARS) {
        Cow::Owned(short) => short,
        Cow::Borrowed(_) => text,
    }
}

impl Invalid {
    /// A fault at `pointer`. Pointer and detail are cut to 1,000 characters.
    pub fn new(code: ProblemCode, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let (pointer, detail) = (short(pointer.into()), short(detail.into()));
        Self { code, pointer, detail, hint: None }
    }

    /// Adds a remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same fault with `parent` in front of its pointer.
    #[must_use]
    pub fn below(mut self, parent: &str) -> Self {
        self.pointer.insert_str(0, parent);
        self
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let mut problem = Self::new(invalid.code, invalid.detail).pointer(invalid.pointer);
        problem.hint = invalid.hint;
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_ends_with_the_code() {
        let problem =
            Problem::new(ProblemCode::NoAssistantTurn, "no turn").pointer("/rollouts/0/messages");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["type"], "urn:guerdon:problem:no_assistant_turn");
        assert_eq!(json["code"], "no_assistant_turn");
        assert_eq!(json["status"], 422);
        assert!(json.get("hint").is_none());
    }
}
