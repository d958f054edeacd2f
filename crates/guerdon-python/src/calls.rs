//! The calls of a client, with arguments and results as JSON text.

use guerdon_client::{
    Client, Error, IncomparableGroup, Invalid, ProblemCode, RequestId, RolloutResult, ScoreRequest,
    ScoredBatch, Usage, Versions,
};
use serde::Serialize;
use serde_path_to_error::{Path, Segment};

/// A call with its parsed arguments.
#[derive(Debug)]
pub(crate) enum ClientCall {
    /// Scores rollouts.
    Score(Box<ScoreRequest>),
    /// Fetches the server's profiles, versions and limits.
    Info,
    /// Asks whether the server is ready to score.
    Ready,
}

impl ClientCall {
    /// Parses the call named `what` with its `body`, which is empty for calls without arguments.
    ///
    /// # Errors
    /// [`Error::Invalid`] with a JSON pointer to the error in the body.
    pub(crate) fn read(what: &str, body: &str) -> Result<Self, Error> {
        match what {
            "info" => Ok(Self::Info),
            "ready" => Ok(Self::Ready),
            _ => Ok(Self::Score(Box::new(parse_request(body)?))),
        }
    }

    /// Runs the call.
    ///
    /// # Errors
    /// The errors of the client's calls, and [`Error::Invalid`] for a result that cannot be written
    /// as JSON, which does not occur with a guerdon server.
    pub(crate) async fn answer(self, client: &Client) -> Result<String, Error> {
        match self {
            Self::Score(request) => {
                let scored = client.score(&request).await?;
                let comparable = scored.comparable(&request);
                to_json(&ScoreReply::new(&scored, comparable))
            }
            Self::Info => to_json(&client.info().await?),
            Self::Ready => to_json(&client.ready().await?),
        }
    }
}

/// Parses a request.
///
/// # Errors
/// [`Invalid`] with a JSON pointer to the error.
pub(crate) fn parse_request(body: &str) -> Result<ScoreRequest, Invalid> {
    let mut deserializer = serde_json::Deserializer::from_str(body);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let detail = error.inner().to_string();
        // Line and column refer to generated text that the caller cannot see.
        let detail = detail.rsplit_once(" at line ").map_or(detail.as_str(), |(detail, _)| detail);
        Invalid::new(ProblemCode::InvalidRequest, pointer(error.path()), detail)
            .hint("openapi/guerdon.v1.json has every field")
    })
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => {}
        }
    }
    pointer
}

/// Writes a value as JSON text.
///
/// # Errors
/// [`Error::Invalid`] if it cannot be written, which does not occur for a server's replies.
pub(crate) fn to_json(answer: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(answer).map_err(|error| {
        let detail = format!("the reply cannot be written as JSON: {error}");
        Invalid::new(ProblemCode::Internal, "", detail).into()
    })
}

/// The fields of [`ScoredBatch`] that are passed to Python.
#[derive(Debug, Serialize)]
struct ScoreReply<'a> {
    results: &'a [RolloutResult],
    versions: &'a [Versions],
    version_of: &'a [usize],
    request_ids: &'a [RequestId],
    usage: &'a Usage,
    groups: &'a [IncomparableGroup],
    comparable: Vec<bool>,
}

impl<'a> ScoreReply<'a> {
    fn new(scored: &'a ScoredBatch, comparable: Vec<bool>) -> Self {
        Self {
            results: &scored.results,
            versions: &scored.versions,
            version_of: &scored.version_of,
            request_ids: &scored.request_ids,
            usage: &scored.usage,
            groups: &scored.groups,
            comparable,
        }
    }
}
