//! Events of attempts and cached answers, for metrics and the audit log.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use guerdon_types::Usage;
use serde::Serialize;

/// One attempt, or one question answered without an attempt.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CallEvent {
    /// Result of the attempt.
    pub outcome: CallOutcome,
    /// From sending to the last byte of the reply; zero for a cached answer.
    pub duration: Duration,
    /// Time that the attempt waited for the endpoint's limits.
    pub waited: Duration,
    /// Number of the attempt on its question, from 1; 0 for a cached answer.
    pub attempt: u32,
    /// Set if the answer came from the cache, or from a call that another question had started.
    pub cached: bool,
    /// Cost of this attempt.
    pub usage: Usage,
}

/// Result of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CallOutcome {
    /// The reply was read.
    Ok,
    /// The answer was known; nothing was sent.
    Cached,
    /// The endpoint refused a request feature, which is left out from now on.
    Weakened,
    /// The attempt was given up because a hedge answered first.
    Hedged,
    /// The judge model refused to answer.
    Refused,
    /// The answer was cut off at its token limit.
    Truncated,
    /// The answer holds verdicts that disagree.
    Ambiguous,
    /// The answer could not be read.
    Malformed,
    /// The endpoint refused for load.
    RateLimited,
    /// The account has no money or quota left.
    QuotaGone,
    /// The endpoint refused the account, the model or the path.
    Denied,
    /// The endpoint answered a question of guerdon's own, which checks it.
    Checked,
    /// The endpoint failed and may recover.
    Transient,
    /// The endpoint was not reached, or did not answer in time.
    Unreachable,
    /// The endpoint refused the request.
    BadRequest,
    /// The question does not fit into the model's context.
    TooLong,
    /// A filter before the model refused the question.
    Filtered,
}

impl CallOutcome {
    /// The word used in metric labels and in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Cached => "cached",
            Self::Weakened => "weakened",
            Self::Hedged => "hedged",
            Self::Refused => "refused",
            Self::Truncated => "truncated",
            Self::Ambiguous => "ambiguous",
            Self::Malformed => "malformed",
            Self::RateLimited => "rate_limited",
            Self::QuotaGone => "quota_gone",
            Self::Denied => "denied",
            Self::Checked => "checked",
            Self::Transient => "transient",
            Self::Unreachable => "unreachable",
            Self::BadRequest => "bad_request",
            Self::TooLong => "too_long",
            Self::Filtered => "filtered",
        }
    }
}

impl fmt::Display for CallOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The words of a judge, for authors. They may quote the dialogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JudgeReply {
    /// The prompt that was asked.
    pub prompt: String,
    /// The number of the sample.
    pub sample: u32,
    /// The number of the attempt on its question, from 1.
    pub attempt: u32,
    /// The result of the attempt.
    pub outcome: CallOutcome,
    /// The reply, cut to 16 KiB.
    pub reply: String,
    /// The reasons before the levels, if the rubric asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasons: Option<String>,
}

/// Receives the words of every reply. Must not block.
pub(crate) type ReplyObserver = Arc<dyn Fn(JudgeReply) + Send + Sync>;

/// Receives an event for every attempt and every cached answer. Must not block.
pub(crate) type CallObserver = Arc<dyn Fn(&CallEvent) + Send + Sync>;
