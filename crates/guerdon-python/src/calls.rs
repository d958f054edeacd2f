//! The calls of a client, with arguments and results as JSON text.

use guerdon_client::{
    Client, Error, IncomparableGroup, Invalid, ProblemCode, RequestId, RolloutResult, ScoreRequest,
    ScoredBatch, UnscoredPolicy, Usage, Versions,
};
use serde::{Deserialize, Serialize};
use serde_path_to_error::{Path, Segment};

/// A request to a route of a trainer's protocol.
#[derive(Debug, Deserialize)]
pub(crate) struct RouteRequest {
    /// The route, without a leading slash.
    path: String,
    /// Pairs for the query of the URL.
    query: Vec<(String, String)>,
    /// The JSON text to send.
    body: String,
}

/// A call with its parsed arguments.
#[derive(Debug)]
pub(crate) enum ClientCall {
    /// Scores rollouts.
    Score(Box<ScoreRequest>),
    /// Posts to another route of the server.
    Post(Box<RouteRequest>),
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
            "post" => serde_json::from_str(body).map(Self::Post).map_err(|error| {
                Invalid::new(ProblemCode::InvalidRequest, "", error.to_string()).into()
            }),
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
                to_json(&ScoreReply::new(&scored, &request)?)
            }
            Self::Post(post) => client.post_json(&post.path, &post.query, post.body).await,
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
    group_of: Vec<usize>,
}

impl<'a> ScoreReply<'a> {
    fn new(scored: &'a ScoredBatch, request: &ScoreRequest) -> Result<Self, Error> {
        let feedback = scored.feedback::<f64>(request, UnscoredPolicy::Drop)?;
        Ok(Self {
            results: &scored.results,
            versions: &scored.versions,
            version_of: &scored.version_of,
            request_ids: &scored.request_ids,
            usage: &scored.usage,
            groups: &scored.groups,
            comparable: scored.comparable(request),
            group_of: feedback.groups,
        })
    }
}
