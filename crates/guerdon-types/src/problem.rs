//! RFC 9457 problem bodies. The only file with status codes: what goes wrong is named by [`ProblemCode`], and the
//! code knows its status and title.

use serde::{Deserialize, Serialize};

use crate::{RequestId, Vocabulary, Word};

/// What went wrong, from a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProblemCode {
    /// The body is not JSON, or not valid UTF-8.
    MalformedJson,
    /// The body is JSON of the wrong shape, or breaks a law of the wire.
    InvalidRequest,
    /// A rollout has no assistant turn to score.
    NoAssistantTurn,
    /// The profile does not exist.
    UnknownProfile,
    /// The profile has no such source.
    UnknownSource,
    /// The fusion cannot work with the sources that were asked for.
    FusionNeedsSource,
    /// The body or the number of rollouts is beyond the limit.
    TooLarge,
    /// This rollout is beyond a limit; the others of its batch are not affected.
    RolloutTooLarge,
    /// A source that the fusion needs abstained, so this rollout has no reward.
    Unscored,
    /// No token, or not one that is known.
    Unauthorized,
    /// A known token without the scope.
    Forbidden,
    /// There is nothing at this path.
    NotFound,
    /// There is something at this path, but not for this method.
    MethodNotAllowed,
    /// The body is not JSON by its content type.
    UnsupportedMediaType,
    /// Too many requests from this client.
    RateLimited,
    /// Too many requests for this server at the moment.
    Overloaded,
    /// The server is starting or stopping.
    NotReady,
    /// The new configuration, packs or prompts are broken; the old ones go on serving.
    ReloadFailed,
    /// A fault of guerdon's own; the log has more.
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
            Self::TooLarge | Self::RolloutTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::InvalidRequest
            | Self::NoAssistantTurn
            | Self::UnknownProfile
            | Self::UnknownSource
            | Self::FusionNeedsSource
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
            Self::NoAssistantTurn => "There is no assistant turn to score",
            Self::UnknownProfile => "There is no such profile",
            Self::UnknownSource => "There is no such source",
            Self::FusionNeedsSource => "The fusion needs a source that was left out",
            Self::TooLarge => "The request is too large",
            Self::RolloutTooLarge => "The rollout is too large",
            Self::Unscored => "The rollout could not be scored",
            Self::Unauthorized => "A token is needed",
            Self::Forbidden => "The token does not allow this",
            Self::NotFound => "There is nothing here",
            Self::MethodNotAllowed => "Not with this method",
            Self::UnsupportedMediaType => "The content type is not supported",
            Self::RateLimited => "Too many requests",
            Self::Overloaded => "The server is overloaded",
            Self::NotReady => "The server is not ready",
            Self::ReloadFailed => "The reload failed",
            Self::Internal => "Internal error",
        }
    }

    /// The code as it is written on the wire.
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
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
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
    /// A URI that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short, fixed title.
    pub title: String,
    /// The HTTP status, also on a per-rollout error.
    pub status: u16,
    /// What went wrong, this time.
    pub detail: String,
    /// The path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The machine-readable name. A later server may give one that this version does not know.
    #[cfg_attr(feature = "openapi", schema(value_type = ProblemCode))]
    pub code: Word<ProblemCode>,
    /// What to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// An RFC 6901 JSON pointer to the place in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// The request.
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

    /// Adds what to change.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the place in the request.
    #[must_use]
    pub fn pointer(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }
}

/// A value that breaks a law of the wire: what, where, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail} (at `{pointer}`)")]
#[non_exhaustive]
pub struct Invalid {
    /// The kind.
    pub code: ProblemCode,
    /// A JSON pointer.
    pub pointer: String,
    /// What is wrong.
    pub detail: String,
    /// What to change.
    pub hint: Option<String>,
}

impl Invalid {
    /// Something wrong at `pointer`.
    pub fn new(code: ProblemCode, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { code, pointer: pointer.into(), detail: detail.into(), hint: None }
    }

    /// Adds what to change.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, seen from a parent: its pointer goes in front.
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
    fn the_written_code_is_the_end_of_the_type() {
        let problem =
            Problem::new(ProblemCode::NoAssistantTurn, "no turn").pointer("/rollouts/0/messages");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["type"], "urn:guerdon:problem:no_assistant_turn");
        assert_eq!(json["code"], "no_assistant_turn");
        assert_eq!(json["status"], 422);
        assert!(json.get("hint").is_none());
    }
}
