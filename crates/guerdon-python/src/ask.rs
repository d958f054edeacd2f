//! What a client can be asked, and the answer as JSON text.

use guerdon_client::{
    Client, Error, Invalid, ProblemCode, RequestId, RolloutResult, ScoreRequest, Scored, Usage,
    Versions,
};
use serde::Serialize;
use serde_path_to_error::{Path, Segment};

/// A question with its body read.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Score these rollouts.
    Score(Box<ScoreRequest>),
    /// What is the server?
    Info,
    /// May it be asked to score?
    Ready,
}

impl Ask {
    /// Reads the question `what` with its `body`, empty where it has none.
    ///
    /// # Errors
    /// [`Error::Invalid`] with a JSON pointer to what is wrong with the body.
    pub(crate) fn read(what: &str, body: &str) -> Result<Self, Error> {
        match what {
            "info" => Ok(Self::Info),
            "ready" => Ok(Self::Ready),
            _ => Ok(Self::Score(Box::new(request(body)?))),
        }
    }

    /// Asks it.
    ///
    /// # Errors
    /// As the client's calls; [`Error::Invalid`] also for an answer that cannot be written, which no server
    /// gives.
    pub(crate) async fn answer(self, client: &Client) -> Result<String, Error> {
        match self {
            Self::Score(request) => {
                let scored = client.score(&request).await?;
                written(&Reply::from(&scored))
            }
            Self::Info => written(&client.info().await?),
            Self::Ready => written(&client.ready().await?),
        }
    }
}

/// Reads a request.
///
/// # Errors
/// [`Invalid`] with a JSON pointer to what is wrong.
pub(crate) fn request(body: &str) -> Result<ScoreRequest, Invalid> {
    let mut deserializer = serde_json::Deserializer::from_str(body);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let detail = error.inner().to_string();
        // Line and column are those of a text that the caller never saw.
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

/// What is to be said, as JSON text.
///
/// # Errors
/// [`Error::Invalid`] if it cannot be written, which no server's answer is.
pub(crate) fn written(answer: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(answer).map_err(|error| {
        let detail = format!("the answer cannot be written as JSON: {error}");
        Invalid::new(ProblemCode::Internal, "", detail).into()
    })
}

/// [`Scored`] as text.
#[derive(Debug, Serialize)]
struct Reply<'a> {
    results: &'a [RolloutResult],
    versions: &'a [Versions],
    version_of: &'a [usize],
    request_ids: &'a [RequestId],
    usage: &'a Usage,
}

impl<'a> From<&'a Scored> for Reply<'a> {
    fn from(scored: &'a Scored) -> Self {
        Self {
            results: &scored.results,
            versions: &scored.versions,
            version_of: &scored.version_of,
            request_ids: &scored.request_ids,
            usage: &scored.usage,
        }
    }
}
