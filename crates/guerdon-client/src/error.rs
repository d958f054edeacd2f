//! The errors of a call: what happened, where, and what to do.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use guerdon_types::{Invalid, Problem, RolloutId};

/// The failure of a call. A rollout that could not be scored is not such a failure; its result has
/// the error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting of the client is invalid.
    #[error("`{field}` {detail}")]
    Config {
        /// The builder's method.
        field: &'static str,
        /// The fault of its value, and a valid example.
        detail: String,
    },

    /// The request is invalid. It was not sent.
    #[error("the request was not sent: {}{}", .0, HintNote(.0.hint.as_deref()))]
    Invalid(Box<Invalid>),

    /// The server refused the request. Pointers refer to the caller's request, not to the chunk.
    #[error("{url} answered {}{}: {}{}{}", .problem.status, TriesNote(*.tries), .problem.detail, PointerNote(.problem.pointer.as_deref()), HintNote(.problem.hint.as_deref()))]
    Problem {
        /// The URL, without secrets.
        url: String,
        /// The number of tries.
        tries: u32,
        /// The last answer.
        problem: Box<Problem>,
    },

    /// The reply is not from guerdon but from a proxy or another server.
    #[error("{url} answered {status}{} without a problem body, as a proxy or another server does: {body:?}; check the URL", TriesNote(*.tries))]
    Status {
        /// The URL, without secrets.
        url: String,
        /// The number of tries.
        tries: u32,
        /// The last HTTP status.
        status: u16,
        /// The beginning of the last body, or where a redirect pointed.
        body: String,
    },

    /// There was no reply, or an incomplete one.
    #[error("{url} could not be reached{}: {}; check that the server runs at this address", TriesNote(*.tries), Chain(.cause))]
    Transport {
        /// The URL, without secrets.
        url: String,
        /// The number of tries.
        tries: u32,
        /// The failure of the last try. Not a `source`: the message already has the whole chain.
        cause: reqwest::Error,
    },

    /// The reply has an unexpected form.
    #[error("{url} sent an unexpected reply: {detail}; check the versions of client and server")]
    Decode {
        /// The URL, without secrets.
        url: String,
        /// The fault, with its place.
        detail: String,
    },

    /// A stream ended before its summary line and could not go on. The results before are valid.
    #[error(
        "the stream from {url} was cut after {received} of {expected} results ({why}); score the missing ones again"
    )]
    Cut {
        /// The URL, without secrets.
        url: String,
        /// The results that arrived.
        received: usize,
        /// The results of a complete stream.
        expected: usize,
        /// The cause.
        why: String,
    },

    /// The versions of client and server are incompatible.
    #[error(
        "{url} runs guerdon {server}, which is incompatible with client {client}; use versions with the same `{agree}`"
    )]
    Version {
        /// The URL, without secrets.
        url: String,
        /// The server's version.
        server: String,
        /// This client's.
        client: &'static str,
        /// The part of the version that must be equal.
        agree: &'static str,
    },

    /// A rollout has no reward, and the caller's policy is
    /// [`UnscoredPolicy::Refuse`](crate::UnscoredPolicy::Refuse).
    #[error(
        "rollout `{id}` has no reward: {why}; score it again, or drop it with `UnscoredPolicy::Drop`"
    )]
    Unscored {
        /// The rollout.
        id: RolloutId,
        /// The server's reason.
        why: String,
    },

    /// The results belong to another request.
    #[error(
        "the request has {rollouts} rollouts, but there are {results} results; pass the request that was scored"
    )]
    Mismatch {
        /// The number of results.
        results: usize,
        /// The number of rollouts.
        rollouts: usize,
    },

    /// A file of a request queue cannot be read or written.
    #[error("request queue at {}: {detail}", .path.display())]
    Queue {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        detail: String,
    },

    /// A blocking call inside an async runtime.
    #[error(
        "`blocking::Client` was called from asynchronous code, which it would block; use `Client` there"
    )]
    InAsync,

    /// The call took longer than the client's timeout.
    #[error(
        "{url} did not answer within {after:?}{}; raise `timeout`, or send fewer rollouts per call",
        LastErrorNote(.last.as_deref())
    )]
    Deadline {
        /// The URL, without secrets.
        url: String,
        /// The client's timeout.
        after: Duration,
        /// The error of the last completed try, if there was one.
        last: Option<Box<Self>>,
    },
}

impl Error {
    /// The server's problem body, if the server refused the request.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem { problem, .. } => Some(problem),
            Self::Deadline { last: Some(last), .. } => last.problem(),
            _ => None,
        }
    }

    /// True if the same call may succeed later, because the server is down, busy or slow.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Deadline { .. } | Self::Cut { .. } => true,
            Self::Problem { problem, .. } => is_transient(problem.status),
            Self::Status { status, .. } => is_transient(*status),
            _ => false,
        }
    }

    pub(crate) fn with_tries(mut self, times: u32) -> Self {
        if let Self::Problem { tries, .. }
        | Self::Status { tries, .. }
        | Self::Transport { tries, .. } = &mut self
        {
            *tries = times;
        }
        self
    }
}

/// True for an HTTP status that a later attempt may not have.
pub(crate) const fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(Box::new(invalid))
    }
}

struct TriesNote(u32);

impl fmt::Display for TriesNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > 1 { write!(f, " ({} tries)", self.0) } else { Ok(()) }
    }
}

struct PointerNote<'a>(Option<&'a str>);

impl fmt::Display for PointerNote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |pointer| write!(f, " (at `{pointer}`)"))
    }
}

struct HintNote<'a>(Option<&'a str>);

impl fmt::Display for HintNote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

struct LastErrorNote<'a>(Option<&'a Error>);

impl fmt::Display for LastErrorNote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |last| write!(f, " (before that: {last})"))
    }
}

/// An error with all its causes. In hyper, "connection refused" is three levels down.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use guerdon_types::ProblemCode;

    use super::*;

    #[test]
    fn refusal_has_reason_pointer_and_hint() {
        let problem = Problem::new(ProblemCode::UnknownProfile, "there is no profile `hotle`")
            .pointer("/profile")
            .hint("did you mean `hotel`?");
        let error = Error::Problem {
            url: "http://h/v1/score".into(),
            tries: 1,
            problem: Box::new(problem),
        };
        assert_eq!(
            error.to_string(),
            "http://h/v1/score answered 422: there is no profile `hotle` (at `/profile`); did you mean `hotel`?"
        );
    }

    #[test]
    fn deadline_has_the_last_error() {
        let last =
            Error::Status { url: "u".into(), tries: 1, status: 502, body: "bad gateway".into() }
                .with_tries(3);
        let error = Error::Deadline {
            url: "u".into(),
            after: Duration::from_secs(9),
            last: Some(Box::new(last)),
        };
        let text = error.to_string();
        assert!(text.contains("within 9s") && text.contains("502 (3 tries)"), "{text}");
    }

    #[test]
    fn transient_statuses_are_listed() {
        let again: Vec<u16> = (300..600).filter(|status| is_transient(*status)).collect();
        assert_eq!(again, [408, 429, 500, 502, 503, 504]);
    }
}
