//! What can go wrong between a training loop and its reward server: what, where, and what to change.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use guerdon_types::{Invalid, Problem, RolloutId};

/// Why a call gave no reply. A rollout that could not be scored is no error of this kind: it is in its result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client was set up with a value that cannot work.
    #[error("`{field}` {detail}")]
    Config {
        /// The builder's method.
        field: &'static str,
        /// What is wrong with it, and what would do.
        detail: String,
    },

    /// The request breaks a law of the wire; nothing was sent.
    #[error("the request was not sent: {}{}", .0, Hint(.0.hint.as_deref()))]
    Invalid(Box<Invalid>),

    /// The server refused, and says why. Pointers are those of the request as the caller made it, not of the chunk.
    #[error("{url} answered {}{}: {}{}{}", .problem.status, Tries(*.tries), .problem.detail, At(.problem.pointer.as_deref()), Hint(.problem.hint.as_deref()))]
    Problem {
        /// What was asked.
        url: String,
        /// How often it was asked.
        tries: u32,
        /// The last answer.
        problem: Box<Problem>,
    },

    /// Something answered that does not speak guerdon: a proxy, or another server.
    #[error("{url} answered {status}{} without a problem body, so it may be a proxy or another server: {body:?}; check the URL", Tries(*.tries))]
    Status {
        /// What was asked.
        url: String,
        /// How often it was asked.
        tries: u32,
        /// The last HTTP status.
        status: u16,
        /// The beginning of the last body, or where a redirect pointed.
        body: String,
    },

    /// There was no answer, or not all of it.
    #[error("{url} could not be reached{}: {}; is the server up, and is this its address?", Tries(*.tries), Chain(.cause))]
    Transport {
        /// What was asked.
        url: String,
        /// How often it was asked.
        tries: u32,
        /// Why, the last time. Not a `source`: the message tells the whole chain, and reports would tell it twice.
        cause: reqwest::Error,
    },

    /// The answer is not what was asked for.
    #[error("{url} answered, but {detail}; client and server may be of different versions")]
    Decode {
        /// What was asked.
        url: String,
        /// What does not fit, and where.
        detail: String,
    },

    /// A stream ended before its summary line; the results that came before are good.
    #[error(
        "the stream from {url} was cut after {received} of {expected} results ({why}); score the missing ones again"
    )]
    Cut {
        /// What was asked.
        url: String,
        /// Results that came.
        received: usize,
        /// Results that were asked for.
        expected: usize,
        /// How it ended.
        why: String,
    },

    /// Client and server are of versions that do not speak the same wire.
    #[error(
        "{url} is guerdon {server}, and this client is {client}: they do not speak the same wire; use versions that agree in `{agree}`"
    )]
    Version {
        /// What was asked.
        url: String,
        /// The server's version.
        server: String,
        /// This client's.
        client: &'static str,
        /// The part of the version that has to be the same.
        agree: &'static str,
    },

    /// A rollout has no reward, and the caller would have none left out.
    #[error(
        "rollout `{id}` has no reward: {why}; score it again, or drop it with `Abstaining::Drop`"
    )]
    Unscored {
        /// Which.
        id: RolloutId,
        /// Why, in the server's words.
        why: String,
    },

    /// Results of another request.
    #[error(
        "there are {results} results for a request of {rollouts} rollouts; give the request that was scored"
    )]
    Mismatch {
        /// How many results there are.
        results: usize,
        /// How many rollouts there are.
        rollouts: usize,
    },

    /// A file of the offline queue cannot be read or written.
    #[error("the offline queue at {}: {detail}", .path.display())]
    Queue {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        detail: String,
    },

    /// A blocking call where a runtime is already at work.
    #[error(
        "`blocking::Client` was called from asynchronous code, which it would bring to a halt; use `Client` there"
    )]
    InAsync,

    /// The call took longer than the client's timeout.
    #[error(
        "{url} did not answer within {after:?}{}; raise `timeout`, or send fewer rollouts a call",
        Last(.last.as_deref())
    )]
    Deadline {
        /// What was asked.
        url: String,
        /// The client's timeout.
        after: Duration,
        /// What went wrong the last time before, if anything did.
        last: Option<Box<Self>>,
    },
}

impl Error {
    /// The server's own words, if it is the server that refused.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem { problem, .. } => Some(problem),
            Self::Deadline { last: Some(last), .. } => last.problem(),
            _ => None,
        }
    }

    /// Whether the same call may succeed later: the server is away, busy or slow. Nothing has to be changed for it.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Deadline { .. } | Self::Cut { .. } => true,
            Self::Problem { problem, .. } => crate::retry::may_pass(problem.status),
            Self::Status { status, .. } => crate::retry::may_pass(*status),
            _ => false,
        }
    }

    pub(crate) fn tried(mut self, times: u32) -> Self {
        if let Self::Problem { tries, .. }
        | Self::Status { tries, .. }
        | Self::Transport { tries, .. } = &mut self
        {
            *tries = times;
        }
        self
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(Box::new(invalid))
    }
}

struct Tries(u32);

impl fmt::Display for Tries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > 1 { write!(f, " ({} tries)", self.0) } else { Ok(()) }
    }
}

struct At<'a>(Option<&'a str>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |pointer| write!(f, " (at `{pointer}`)"))
    }
}

struct Hint<'a>(Option<&'a str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

struct Last<'a>(Option<&'a Error>);

impl fmt::Display for Last<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |last| write!(f, " (before that: {last})"))
    }
}

/// An error with its causes: hyper hides "connection refused" three levels down.
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
    fn a_refusal_says_what_where_and_what_to_change() {
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
    fn a_deadline_tells_what_went_wrong_before_it() {
        let last =
            Error::Status { url: "u".into(), tries: 1, status: 502, body: "bad gateway".into() }
                .tried(3);
        let error = Error::Deadline {
            url: "u".into(),
            after: Duration::from_secs(9),
            last: Some(Box::new(last)),
        };
        let text = error.to_string();
        assert!(text.contains("within 9s") && text.contains("502 (3 tries)"), "{text}");
    }
}
