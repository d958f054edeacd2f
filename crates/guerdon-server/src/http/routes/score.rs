//! `POST /v1/score`: the reply as one JSON object, or with `Accept: application/x-ndjson` one line
//! for each result as it becomes final.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _, stream};
use guerdon_adapters::{compute, json_bytes, json_reply};
use guerdon_types::{
    Problem, RequestId, ScoreRequest, ScoreResponse, StreamLine, StreamSummary, StreamedResult,
    Usage,
};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::engine::batch::{Batch, BatchResults};
use crate::engine::group_report::GroupReport;
use crate::engine::recording::{Recording, SentResult};
use crate::engine::request_profiles::{RequestProfiles, RequestVersions};
use crate::engine::scored_rollout::ScoredRollout;
use crate::http::extract::ScoreBody;
use crate::http::problem::ApiError;
use crate::http::request_context::RequestContext;
use crate::http::state::App;

/// The largest number of turns whose reply is written on the thread of the request, about 1 ms of
/// work.
const TURNS_WRITTEN_HERE: usize = 512;

/// The header of a streamed reply with `versions.digest`, which otherwise comes last. A client whose
/// stream is cut expects the same configuration for the missing results.
const DIGEST: HeaderName = HeaderName::from_static("x-guerdon-digest");

const NDJSON: &str = "application/x-ndjson";

/// The header of a client that reads keys of the second edition of the API in every reply.
const ACCEPT_EDITION: HeaderName = HeaderName::from_static("x-guerdon-accept");

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(score))
}

/// Scores rollouts.
///
/// The profile's sources score every turn concurrently, and their signals are fused into one
/// reward. The reply has every part, every abstention and every version behind the reward. A
/// rollout that cannot be scored has `reward: null` and an `error`; the other rollouts of the
/// request are scored.
#[utoipa::path(post, path = "/v1/score", tag = "scoring", request_body = ScoreRequest, params(
    ("x-guerdon-accept" = Option<String>, Header, description = "`2`: every turn has `parts`, the part of each source by name. Without it, only the turns of profiles with `sources` have them."),
    ("x-guerdon-expect" = Option<String>, Header, description = "The digest of the configuration that must serve; works on every scoring route. Another one is answered with 409."),
    ("x-guerdon-run" = Option<String>, Header, description = "A label for the ledger, if the request has no `run`; works on every scoring route, as the next two do."),
    ("x-guerdon-step" = Option<u64>, Header, description = "Likewise, for `step`."),
    ("x-guerdon-split" = Option<String>, Header, description = "Likewise, for `split`."),
), responses(
    (status = 200, description = "Rewards with their parts; `application/x-ndjson` streams `StreamLine`s.", content(
        (ScoreResponse = "application/json"),
        (StreamLine = "application/x-ndjson"),
    ), headers(
        ("x-guerdon-digest" = Option<String>, description = "Of a stream: `versions.digest`, before the first line."),
    )),
    (status = "4XX", description = "The request as a whole is wrong; `pointer` is the place.", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "Another configuration serves than the request expects.", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Overloaded; see Retry-After.", body = Problem, content_type = "application/problem+json"),
))]
async fn score(
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    context: RequestContext,
    ScoreBody(request): ScoreBody,
) -> Result<Response, ApiError> {
    let accepts = |header: &HeaderValue| header.to_str().is_ok_and(|text| text.trim() == "2");
    let batch =
        context.open_reporting(request, headers.get(ACCEPT_EDITION).is_some_and(accepts))?;
    let streamed = headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|a| a.contains(NDJSON));
    if streamed {
        let digest = HeaderValue::try_from(batch.scorer().digest().to_string());
        let body = Body::from_stream(lines(request_id, batch, context));
        let mut response = ([(CONTENT_TYPE, NDJSON)], body).into_response();
        if let Ok(digest) = digest {
            response.headers_mut().insert(DIGEST, digest);
        }
        return Ok(response);
    }
    let (profiles, recording) = (batch.profiles(), batch.recording());
    let BatchResults { results, groups, usage, costs } = batch.collect().await;
    let turns: usize = results.iter().map(|result| result.turns.len()).sum();
    let RequestVersions { first, further } = profiles.versions();
    let response = ScoreResponse::new(request_id, results, first, usage)
        .with_groups(groups)
        .with_profiles(further);
    let (json, results) = if turns <= TURNS_WRITTEN_HERE {
        (json_bytes(&response), response.results)
    } else {
        compute(move || (json_bytes(&response), response.results)).await?
    };
    if let Some(recording) = recording {
        recording.record_all(results, costs).await;
    }
    Ok(json_reply(json?))
}

/// Result lines, then the summary. The context, and with it the request's place, is held until the
/// last line, or until the caller hangs up.
fn lines(
    request_id: RequestId,
    batch: Batch,
    context: RequestContext,
) -> impl Stream<Item = Result<Bytes, serde_json::Error>> + Send + 'static {
    struct Lines<S> {
        results: S,
        groups: Option<GroupReport>,
        summary: Option<StreamSummary>,
        profiles: Arc<RequestProfiles>,
        recording: Option<Recording>,
        _context: RequestContext,
    }
    let summary = StreamSummary {
        request_id,
        results: 0,
        groups: Vec::new(),
        versions: batch.versions(),
        profiles: BTreeMap::new(),
        usage: Usage::default(),
    };
    let (profiles, groups) = (batch.profiles(), Some(batch.group_report()));
    let recording = batch.recording();
    let results = Box::pin(batch.run());
    let summary = Some(summary);
    let state = Lines { results, groups, summary, profiles, recording, _context: context };
    stream::unfold(state, async |mut state| {
        let summary = state.summary.as_mut()?;
        let line = match state.results.next().await {
            Some(scored) => {
                summary.results += 1;
                summary.usage.add(&scored.usage);
                if let Some(groups) = &mut state.groups {
                    groups.add(&scored);
                }
                let ScoredRollout { index, result, usage } = scored;
                let line = StreamLine::Result(Box::new(StreamedResult { index, result }));
                let bytes = line_bytes(&line);
                if let (Some(recording), StreamLine::Result(line)) = (&mut state.recording, line) {
                    recording.record(SentResult { index, result: line.result, usage }).await;
                }
                return Some((bytes, state));
            }
            None => {
                let mut summary = state.summary.take()?;
                let RequestVersions { first, further } = state.profiles.versions();
                (summary.versions, summary.profiles) = (first, further);
                summary.groups = state.groups.take().map(GroupReport::finish).unwrap_or_default();
                StreamLine::Summary(Box::new(summary))
            }
        };
        Some((line_bytes(&line), state))
    })
}

fn line_bytes(line: &StreamLine) -> Result<Bytes, serde_json::Error> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(Bytes::from(bytes))
}
