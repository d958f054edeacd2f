//! Classes of failed attempts. The class of a refusal follows from its status and from the
//! identifiers in its known fields.

use guerdon_types::{AbstainReason, AbstainWhy};
use reqwest::StatusCode;

use crate::call::wire::EndpointError;
use crate::store::event::CallOutcome;

/// Class of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    RateLimited,
    /// No money or no daily quota left; waiting does not help.
    QuotaGone,
    /// The endpoint refuses the account, the model or the path.
    Denied,
    /// The endpoint failed; it may recover.
    Transient,
    /// It was not reached, or broke off, or took too long.
    Unreachable,
    BadRequest,
    TooLong,
    /// A filter before the model refused the question.
    Filtered,
}

impl Class {
    /// True if it refuses the account, and waiting does not help.
    pub(crate) const fn is_denial(self) -> bool {
        matches!(self, Self::QuotaGone | Self::Denied)
    }

    pub(crate) const fn can_be_repeated(self) -> bool {
        matches!(self, Self::RateLimited | Self::Transient | Self::Unreachable)
    }

    /// True if the address itself may be at fault, and not only the question.
    pub(crate) const fn is_of_the_address(self) -> bool {
        matches!(self, Self::QuotaGone | Self::Denied | Self::Transient | Self::Unreachable)
    }

    pub(crate) const fn why(self) -> AbstainWhy {
        match self {
            Self::RateLimited => AbstainWhy::RateLimited,
            Self::Unreachable => AbstainWhy::Unreachable,
            Self::QuotaGone | Self::Denied | Self::Transient | Self::BadRequest => {
                AbstainWhy::EndpointError
            }
            Self::TooLong => AbstainWhy::TooLong,
            Self::Filtered => AbstainWhy::Refused,
        }
    }

    /// The reason of an abstention, beyond [`Class::why`].
    pub(crate) const fn reason(self) -> Option<AbstainReason> {
        match self {
            Self::QuotaGone => Some(AbstainReason::QuotaGone),
            Self::Denied => Some(AbstainReason::Denied),
            Self::Transient => Some(AbstainReason::EndpointFailed),
            Self::BadRequest => Some(AbstainReason::BadRequest),
            Self::RateLimited | Self::Unreachable | Self::TooLong | Self::Filtered => None,
        }
    }

    /// The outcome of an attempt that failed with this class.
    pub(crate) const fn outcome(self) -> CallOutcome {
        match self {
            Self::RateLimited => CallOutcome::RateLimited,
            Self::QuotaGone => CallOutcome::QuotaGone,
            Self::Denied => CallOutcome::Denied,
            Self::Transient => CallOutcome::Transient,
            Self::Unreachable => CallOutcome::Unreachable,
            Self::BadRequest => CallOutcome::BadRequest,
            Self::TooLong => CallOutcome::TooLong,
            Self::Filtered => CallOutcome::Filtered,
        }
    }
}

/// A refusal that a server documents.
struct KnownRefusal {
    /// The HTTP status; 0 for any.
    status: u16,
    /// An identifier in lower case: a code, type, status or reason.
    code: &'static str,
    class: Class,
    /// The server, and the page of its documentation.
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers and for the test of the table"))]
    source: &'static str,
}

const fn known(
    status: u16,
    code: &'static str,
    class: Class,
    source: &'static str,
) -> KnownRefusal {
    KnownRefusal { status, code, class, source }
}

/// Refusals whose status alone says too little. The first row that fits decides.
const KNOWN: [KnownRefusal; 48] = [
    // The question does not fit into the context.
    known(0, "context_length_exceeded", Class::TooLong, "OpenAI, Error codes; Groq, Errors"),
    known(0, "string_above_max_length", Class::TooLong, "OpenAI, Error codes"),
    known(0, "exceed_context_size_error", Class::TooLong, "llama.cpp, tools/server README"),
    known(413, "request_too_large", Class::TooLong, "Anthropic, Errors; Groq, Errors"),
    // One request with more tokens than the quota of a minute: no wait helps.
    known(413, "rate_limit_exceeded", Class::TooLong, "Groq, Errors"),
    known(0, "context_window_exceeded", Class::TooLong, "LiteLLM, Exception mapping"),
    known(0, "contextwindowexceedederror", Class::TooLong, "LiteLLM, Exception mapping"),
    // A filter before the model refused the question.
    known(0, "content_filter", Class::Filtered, "Azure OpenAI, Content filtering"),
    known(0, "responsibleaipolicyviolation", Class::Filtered, "Azure OpenAI, Content filtering"),
    known(0, "content_policy_violation", Class::Filtered, "OpenAI, Error codes"),
    known(0, "contentpolicyviolationerror", Class::Filtered, "LiteLLM, Exception mapping"),
    known(0, "data_inspection_failed", Class::Filtered, "DashScope, Error codes"),
    known(0, "datainspectionfailed", Class::Filtered, "DashScope, Error codes"),
    // No money, or no quota that comes back soon.
    known(0, "insufficient_quota", Class::QuotaGone, "OpenAI, Error codes"),
    known(0, "billing_hard_limit_reached", Class::QuotaGone, "OpenAI, Error codes"),
    known(0, "billing_not_active", Class::QuotaGone, "OpenAI, Error codes"),
    known(0, "billing_error", Class::QuotaGone, "Anthropic, Errors"),
    known(0, "exceeded_current_quota_error", Class::QuotaGone, "Moonshot, Error codes"),
    known(0, "insufficient_user_quota", Class::QuotaGone, "one-api, relay errors"),
    known(0, "budget_exceeded", Class::QuotaGone, "LiteLLM, Budgets and rate limits"),
    known(0, "exceededbudget", Class::QuotaGone, "LiteLLM, Budgets and rate limits"),
    known(0, "arrearage", Class::QuotaGone, "DashScope, Error codes"),
    known(0, "insufficient_balance", Class::QuotaGone, "DeepSeek, Error codes"),
    known(429, "1113", Class::QuotaGone, "Zhipu, Error codes"),
    // The account, the model or the path is refused.
    known(0, "invalid_api_key", Class::Denied, "OpenAI, Error codes"),
    known(0, "account_deactivated", Class::Denied, "OpenAI, Error codes"),
    known(0, "api_key_invalid", Class::Denied, "Gemini, Troubleshooting"),
    known(0, "api_key_service_blocked", Class::Denied, "Gemini, Troubleshooting"),
    known(0, "unauthenticated", Class::Denied, "Gemini, Troubleshooting"),
    known(0, "permission_denied", Class::Denied, "Gemini, Troubleshooting"),
    known(0, "authentication_error", Class::Denied, "Anthropic, Errors; llama.cpp, server"),
    known(0, "permission_error", Class::Denied, "Anthropic, Errors"),
    known(0, "model_not_found", Class::Denied, "OpenAI, Error codes; Groq, Errors"),
    known(0, "model_decommissioned", Class::Denied, "Groq, Deprecations"),
    known(0, "deploymentnotfound", Class::Denied, "Azure OpenAI, Troubleshooting"),
    known(0, "not_found_error", Class::Denied, "Anthropic, Errors; llama.cpp, server"),
    known(404, "notfounderror", Class::Denied, "vLLM, OpenAI-compatible server"),
    known(0, "key_model_access_denied", Class::Denied, "LiteLLM, Virtual keys"),
    known(0, "team_model_access_denied", Class::Denied, "LiteLLM, Virtual keys"),
    // Too many requests at once.
    known(0, "rate_limit_exceeded", Class::RateLimited, "OpenAI, Error codes; Groq, Errors"),
    known(0, "rate_limit_error", Class::RateLimited, "Anthropic, Errors"),
    known(0, "overloaded_error", Class::RateLimited, "Anthropic, Errors"),
    known(0, "engine_overloaded_error", Class::RateLimited, "Moonshot, Error codes"),
    known(0, "throttling_error", Class::RateLimited, "LiteLLM, Exception mapping"),
    known(0, "throttling.ratequota", Class::RateLimited, "DashScope, Error codes"),
    known(429, "resource_exhausted", Class::RateLimited, "Gemini, Troubleshooting"),
    known(503, "resource_exhausted", Class::RateLimited, "Gemini, Troubleshooting"),
    known(498, "capacity_exceeded", Class::RateLimited, "Groq, Errors (flex capacity)"),
];

/// Texts of a question that does not fit, of servers that have no code for it: vLLM and
/// llama-cpp-python, SGLang, Anthropic. They decide only the name of the question's own reason.
pub(super) const TOO_LONG_TEXTS: [&str; 5] = [
    "maximum context length",
    "model's context length",
    "context length (",
    "exceed_context_size",
    "prompt is too long",
];

/// Request fields that an error about the length of the prompt names: vLLM.
const LENGTH_FIELDS: [&str; 2] = ["input_tokens", "input_text"];

/// The class of a refusal, never by its text.
pub(super) fn of(status: StatusCode, complaint: &EndpointError) -> Class {
    // A router may put the real status into the body.
    let effective = complaint.status().unwrap_or(status.as_u16());
    let has = |code: &str| complaint.codes.iter().any(|known| known == code);
    // Gemini's quota ids of a day's quota: `GenerateRequestsPerDayPerProjectPerModel`.
    let of_a_day = || complaint.codes.iter().any(|code| code.contains("perday"));
    if effective == 402 || (effective == 429 && of_a_day()) {
        return Class::QuotaGone;
    }
    if complaint.flagged {
        return Class::Filtered;
    }
    let fits = |row: &&KnownRefusal| {
        (row.status == 0 || row.status == effective || row.status == status.as_u16())
            && has(row.code)
    };
    // A success, or a server's failure, is not turned into a refusal of the account by its body.
    let failed = effective >= 500;
    if let Some(row) = KNOWN.iter().find(fits).filter(|row| !failed || !row.class.is_denial()) {
        return row.class;
    }
    if effective == 400 && complaint.fields.iter().any(|f| LENGTH_FIELDS.contains(&f.as_str())) {
        return Class::TooLong;
    }
    match effective {
        429 | 498 | 529 => Class::RateLimited,
        408 | 409 | 425 => Class::Transient,
        401 | 403 | 404 | 405 | 407 | 410 | 300..=399 => Class::Denied,
        400..=499 => Class::BadRequest,
        _ => Class::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::wire;

    fn class(status: u16, body: &str) -> Class {
        of(StatusCode::from_u16(status).unwrap(), &wire::complaint(body.as_bytes()))
    }

    #[test]
    fn classes_follow_status_and_codes() {
        for (status, body, expected) in [
            (200, r#"{"error": {"code": "429"}}"#, Class::RateLimited),
            (200, r#"{"error": {"code": 402}}"#, Class::QuotaGone),
            (402, "", Class::QuotaGone),
            (429, r#"{"error": {"type": "insufficient_quota"}}"#, Class::QuotaGone),
            (400, r#"{"error": {"code": "context_length_exceeded"}}"#, Class::TooLong),
            (400, r#"{"error": {"code": 400, "param": "input_tokens"}}"#, Class::TooLong),
            (400, r#"{"error": {"code": "content_filter"}}"#, Class::Filtered),
            (403, r#"{"error": {"code": 403, "metadata": {"reasons": ["x"]}}}"#, Class::Filtered),
            (503, r#"{"error": {"message": "loading model"}}"#, Class::Transient),
            (503, r#"{"error": {"status": "RESOURCE_EXHAUSTED"}}"#, Class::RateLimited),
            (500, r#"{"error": {"type": "permission_error"}}"#, Class::Transient),
            (529, r#"{"error": {"type": "overloaded_error"}}"#, Class::RateLimited),
            (404, r#"{"error": "no such model"}"#, Class::Denied),
            (401, "", Class::Denied),
            (302, "", Class::Denied),
            (
                400,
                r#"{"error": {"code": 400, "details": [{"reason": "API_KEY_INVALID"}]}}"#,
                Class::Denied,
            ),
            (
                422,
                r#"{"detail": [{"type": "missing", "input": "insufficient_quota"}]}"#,
                Class::BadRequest,
            ),
            (200, "{}", Class::Transient),
            (200, r#"{"error": {"type": "server_error"}}"#, Class::Transient),
            (
                413,
                r#"{"error": {"code": "rate_limit_exceeded", "type": "tokens"}}"#,
                Class::TooLong,
            ),
            (
                429,
                r#"{"error": {"code": "rate_limit_exceeded", "type": "tokens"}}"#,
                Class::RateLimited,
            ),
        ] {
            assert_eq!(class(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_word_for_any_failure_leaves_the_class_to_the_status() {
        for status in 200..600 {
            for word in ["server_error", "api_error", "internal_error", "error"] {
                let body = format!(r#"{{"error": {{"type": "{word}", "message": "m"}}}}"#);
                assert_eq!(class(status, &body), class(status, "{}"), "{status} {word}");
            }
        }
    }

    #[test]
    fn every_row_is_lower_case_unique_and_has_a_source() {
        for (index, row) in KNOWN.iter().enumerate() {
            assert!(!row.source.is_empty() && row.code == row.code.to_lowercase(), "{}", row.code);
            let same = |other: &&KnownRefusal| {
                other.code == row.code && (other.status == row.status || other.status == 0)
            };
            assert!(KNOWN[..index].iter().find(same).is_none(), "{} is there twice", row.code);
        }
    }

    #[test]
    fn every_server_of_the_table_is_named() {
        for server in [
            "OpenAI",
            "Azure",
            "Anthropic",
            "Gemini",
            "vLLM",
            "llama.cpp",
            "LiteLLM",
            "Groq",
            "DeepSeek",
            "DashScope",
            "Moonshot",
        ] {
            assert!(KNOWN.iter().any(|row| row.source.contains(server)), "{server}");
        }
    }
}
