//! Failed calls: their class, which follows from the status and never from an error's text.

use std::time::Duration;

use guerdon_queue::{LoadSignal, Refusal};
use guerdon_types::{AbstainReason, AbstainWhy};
use reqwest::StatusCode;

use super::transport::HttpFailure;
use crate::ask::Silence;

/// No address is waited for longer than this; one that asks for more is given up.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// The largest number of characters of an error body in a message.
const MAX_QUOTE: usize = 200;

/// The class of a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallClass {
    /// Refused for load.
    RateLimited,
    /// The path or the account is refused, or the reply is a redirect.
    Denied,
    /// The other side failed.
    Transient,
    /// The address was not reached, or the connection broke.
    Unreachable,
    /// The content of the request was refused.
    BadRequest,
    /// The reply is too long.
    LongReply,
    /// The request's deadline passed.
    Late,
    /// A fault of guerdon.
    Internal,
}

impl CallClass {
    /// The class as the `error.type` of a span.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Denied => "denied",
            Self::Transient => "transient",
            Self::Unreachable => "unreachable",
            Self::BadRequest => "bad_request",
            Self::LongReply => "long_reply",
            Self::Late => "deadline",
            Self::Internal => "internal",
        }
    }
}

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallFault {
    pub(super) class: CallClass,
    reason: Option<AbstainReason>,
    detail: String,
    /// The delay that the address asked for.
    delay: Option<Duration>,
}

impl CallFault {
    fn new(class: CallClass, detail: impl Into<String>) -> Self {
        Self { class, reason: None, detail: detail.into(), delay: None }
    }

    pub(crate) fn internal(detail: &str) -> Self {
        Self::new(CallClass::Internal, detail)
    }

    /// From a reply that is no success.
    pub(super) fn answered(status: StatusCode, delay: Option<Duration>, body: &[u8]) -> Self {
        let class = match status.as_u16() {
            429 | 498 | 529 => CallClass::RateLimited,
            408 | 409 | 425 | 500.. => CallClass::Transient,
            300..=399 | 401 | 403 | 404 | 405 | 407 | 410 => CallClass::Denied,
            400..=499 => CallClass::BadRequest,
            _ => CallClass::Transient,
        };
        let reason = match class {
            CallClass::Denied => Some(AbstainReason::Denied),
            CallClass::Transient => Some(AbstainReason::EndpointFailed),
            CallClass::BadRequest => Some(AbstainReason::BadRequest),
            _ => None,
        };
        let text = String::from_utf8_lossy(body.get(..4 * MAX_QUOTE).unwrap_or(body));
        let text = guerdon_text::cut(text.trim(), MAX_QUOTE);
        let detail = match (status.is_redirection(), text.is_empty()) {
            (true, _) => {
                format!(
                    "HTTP {status}: redirects to other hosts are not followed; set `url` to the final address"
                )
            }
            (_, true) => format!("HTTP {status}"),
            (_, false) => format!("HTTP {status}: {text}"),
        };
        Self { class, reason, detail, delay: delay.map(|delay| delay.min(LONGEST_WAIT)) }
    }

    /// From an attempt that brought no reply.
    pub(super) fn undelivered(error: HttpFailure) -> Self {
        let unreachable = |reason, what: &str| Self {
            reason: Some(reason),
            ..Self::new(CallClass::Unreachable, what)
        };
        match error {
            HttpFailure::NotReached => {
                Self::new(CallClass::Unreachable, "the address could not be reached")
            }
            HttpFailure::UnknownHost => {
                unreachable(AbstainReason::UnknownHost, "the host is not known")
            }
            HttpFailure::RefusedConnection => {
                unreachable(AbstainReason::ConnectionRefused, "the host refused the connection")
            }
            HttpFailure::Tls => unreachable(
                AbstainReason::Tls,
                "the TLS handshake failed; check the certificate and the scheme of the URL",
            ),
            HttpFailure::ConnectTimeout => {
                unreachable(AbstainReason::ConnectTimeout, "connecting took too long")
            }
            HttpFailure::BrokeOff => {
                unreachable(AbstainReason::BrokeOff, "the connection broke off")
            }
            HttpFailure::TooLong { limit } => Self::new(
                CallClass::LongReply,
                format!("the reply is longer than `max_reply_bytes` ({limit} bytes)"),
            ),
        }
    }

    /// From an attempt without a reply within the time limit.
    pub(super) fn timed_out(limit: Duration) -> Self {
        let detail = format!("no whole reply within {limit:?}");
        Self { reason: Some(AbstainReason::TimedOut), ..Self::new(CallClass::Unreachable, detail) }
    }

    /// From an attempt that the request's deadline ended.
    pub(super) fn late() -> Self {
        Self::new(CallClass::Late, "the request's deadline passed before there was an answer")
    }

    /// From an admission that was refused.
    pub(super) fn refused(refusal: Refusal) -> Self {
        match refusal {
            Refusal::PausedTooLong => Self::new(
                CallClass::RateLimited,
                "every address asked for a pause beyond the request's deadline",
            ),
            Refusal::TooLate => {
                Self::new(CallClass::Late, "the queue takes longer than the request's deadline")
            }
            Refusal::Down(_) => Self::new(CallClass::Unreachable, "no address is up"),
        }
    }

    /// True if the content of the request may be the cause, so that a part of it may be accepted.
    pub(crate) fn is_of_content(&self) -> bool {
        matches!(self.class, CallClass::BadRequest | CallClass::LongReply)
    }

    /// True if a retry can help.
    pub(super) fn is_retried(&self) -> bool {
        matches!(self.class, CallClass::Transient | CallClass::Unreachable)
    }

    /// The fault as a sign of the state of its address.
    pub(super) fn signal(&self) -> LoadSignal {
        match self.class {
            CallClass::RateLimited => LoadSignal::Refused(self.delay),
            CallClass::Unreachable if self.reason == Some(AbstainReason::TimedOut) => {
                LoadSignal::TimedOut
            }
            CallClass::Transient | CallClass::Unreachable => {
                self.delay.map_or(LoadSignal::Failed, LoadSignal::FailedFor)
            }
            CallClass::Denied => LoadSignal::Suspect,
            CallClass::BadRequest
            | CallClass::LongReply
            | CallClass::Late
            | CallClass::Internal => LoadSignal::Unknown,
        }
    }

    /// The abstention that follows from the fault.
    pub(crate) fn into_silence(self) -> Silence {
        let why = match self.class {
            CallClass::RateLimited => AbstainWhy::RateLimited,
            CallClass::Denied | CallClass::Transient | CallClass::BadRequest => {
                AbstainWhy::EndpointError
            }
            CallClass::Unreachable => AbstainWhy::Unreachable,
            CallClass::LongReply => AbstainWhy::Malformed,
            CallClass::Late => AbstainWhy::Deadline,
            CallClass::Internal => AbstainWhy::Internal,
        };
        Silence::new(why, self.detail).because(self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_follows_the_status() {
        for (status, class) in [
            (302, CallClass::Denied),
            (400, CallClass::BadRequest),
            (401, CallClass::Denied),
            (404, CallClass::Denied),
            (413, CallClass::BadRequest),
            (422, CallClass::BadRequest),
            (425, CallClass::Transient),
            (429, CallClass::RateLimited),
            (500, CallClass::Transient),
            (503, CallClass::Transient),
            (529, CallClass::RateLimited),
        ] {
            let fault = CallFault::answered(StatusCode::from_u16(status).unwrap(), None, b"no");
            assert_eq!(fault.class, class, "{status}");
        }
    }

    #[test]
    fn quote_of_a_body_is_bounded() {
        let fault =
            CallFault::answered(StatusCode::BAD_REQUEST, None, "\u{e9}".repeat(9_999).as_bytes());
        assert!(fault.into_silence().detail.chars().count() < 300);
    }
}
