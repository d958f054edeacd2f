//! Results as they become final. A stream that the server's restart cuts goes on: the missing
//! results are asked for again. An incomplete stream is an error.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::try_unfold;
use guerdon_types::{
    ConfigDigest, Expectation, GroupComparison, Invalid, ProblemCode, RolloutId, ScoreRequest,
    StreamLine, StreamSummary, StreamedResult, shared_id_errors,
};
use tokio::time::Instant;

use crate::chunk::{RolloutIndices, repoint, units};
use crate::client::{SCORE, repointed};
use crate::retry::{Deadline, Failures, RetryAdvice};
use crate::scored_batch::refuse;
use crate::stream_lines::{LineError, LineReader};
use crate::{Client, Error};

/// The lines of a streamed reply: one per result, then a summary. Returned by
/// [`Client::stream`](crate::Client::stream).
///
/// It ends after the summary or the first error. Dropping the stream closes the connection.
///
/// If the connection ends before the summary, as in a restart of the server, the missing results
/// are asked for again, with the retries of the client. Then all results still have one
/// configuration, and `usage` and `request_id` of the summary are those of the last reply. The
/// stream ends with [`Error::Cut`] and the number of results so far if no retry is left, the
/// timeout passed, another configuration serves now, or the server is too old to name its
/// configuration at the beginning of a stream.
pub struct ScoreStream(Pin<Box<dyn Stream<Item = Result<StreamLine, Error>> + Send>>);

impl ScoreStream {
    pub(crate) fn new(batch: StreamedBatch) -> Self {
        Self(Box::pin(try_unfold(Some(batch), async |batch| match batch {
            Some(batch) => batch.next().await.map(Some),
            None => Ok(None),
        })))
    }
}

impl Stream for ScoreStream {
    type Item = Result<StreamLine, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl fmt::Debug for ScoreStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScoreStream").finish_non_exhaustive()
    }
}

impl Client {
    /// Scores a batch in one HTTP request and returns each result as soon as it is final, in no
    /// fixed order. The last item is the summary.
    ///
    /// A stream is not split into chunks, so it has one set of versions, and the server's limit on
    /// rollouts applies. A stream that a restart of the server cuts goes on with the missing
    /// results, see [`ScoreStream`]. With several URLs, the whole stream goes to the server of its
    /// first rollout, and goes on at another one if that has the same configuration.
    ///
    /// # Errors
    /// As [`Client::score`] until the reply begins. Later errors are items that end the stream.
    pub async fn stream(&self, request: &ScoreRequest) -> Result<ScoreStream, Error> {
        request.check()?;
        let deadline = Deadline::new(self.timeout);
        let batch = StreamedBatch::start(self.clone(), request.clone(), deadline).await?;
        Ok(ScoreStream::new(batch))
    }

    /// Asks the servers of `order` for a streamed reply with the rollouts of `chunk`, made by the
    /// configuration `expect`. Returns when the reply begins.
    async fn lines(
        &self,
        request: &ScoreRequest,
        (order, chunk): (&[usize], &[usize]),
        expect: Option<ConfigDigest>,
        deadline: &Deadline,
    ) -> Result<LineReader, Error> {
        let expect = expect.map(Expectation::new);
        let body = self.body(request, chunk, expect)?;
        let call = self.post(&SCORE, body).lines();
        // Released when the reply begins, so that a loop that scores while it reads a stream cannot
        // deadlock.
        let _slot = self.slot(&call, deadline).await?;
        let http = &self.http;
        let reply = self.run(order, &call, deadline, |call| async move {
            let response = call.success(http).await?;
            Ok((response, call))
        });
        let (response, call) = reply.await.map_err(|error| repointed(error, chunk))?;
        Ok(LineReader::new(call, response, chunk.len()))
    }
}

/// A batch whose results arrive in one reply, or in several if the server restarts.
pub(crate) struct StreamedBatch {
    client: Client,
    request: ScoreRequest,
    deadline: Deadline,
    lines: LineReader,
    /// The order of the servers, also for the replies after the first.
    order: Vec<usize>,
    /// The rollouts of the current reply: indices into the request.
    asked: RolloutIndices,
    /// For each rollout of the request: its result was returned.
    received: Vec<bool>,
    /// The configuration of the first reply. `None` if the server did not name it.
    digest: Option<ConfigDigest>,
    /// The errors of rollouts that share their id with another one, once the first reply was cut: a
    /// part of the request may have only one of them.
    shared_ids: Option<HashMap<usize, Invalid>>,
    groups: GroupComparison,
    /// The failures since the last result.
    failures: Failures,
}

impl StreamedBatch {
    pub(crate) async fn start(
        client: Client,
        request: ScoreRequest,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let asked: RolloutIndices = (0..request.rollouts.len()).collect();
        let order = client.order(&request, &asked);
        let lines = client.lines(&request, (&order, &asked), None, &deadline).await?;
        Ok(Self {
            received: vec![false; asked.len()],
            digest: lines.digest(),
            shared_ids: None,
            groups: GroupComparison::default(),
            failures: Failures::default(),
            client,
            request,
            deadline,
            lines,
            order,
            asked,
        })
    }

    /// The next line, and the batch without it. No batch after the summary.
    async fn next(mut self) -> Result<(StreamLine, Option<Self>), Error> {
        loop {
            match self.next_line().await {
                Ok(StreamLine::Result(result)) => {
                    if let Some(result) = self.placed(*result) {
                        return Ok((StreamLine::Result(Box::new(result)), Some(self)));
                    }
                }
                Ok(StreamLine::Summary(summary)) => {
                    return Ok((StreamLine::Summary(Box::new(self.whole(*summary))), None));
                }
                Err(LineError::Final(error)) => return Err(error),
                Err(LineError::Cut { why, again }) => self.resume(why, again).await?,
            }
        }
    }

    /// The next line of the current reply. With several servers, a server that no longer answers
    /// ends its reply.
    async fn next_line(&mut self) -> Result<StreamLine, LineError> {
        let Client { servers, http, policy, probe, .. } = &self.client;
        let server = self.lines.server();
        let base = match servers.base(server) {
            Some(base) if !servers.is_single() => base,
            _ => return self.lines.next(&self.deadline).await,
        };
        tokio::select! {
            biased;
            line = self.lines.next(&self.deadline) => line,
            error = probe.silence(http, base) => {
                servers.note_failure(server, None, &policy.backoff);
                Err(LineError::Cut { why: error.to_string(), again: RetryAdvice::Away(None) })
            }
        }
    }

    /// The result with its place in the whole request. `None` if it was returned before: groups are
    /// asked for again as a whole.
    fn placed(&mut self, mut line: StreamedResult) -> Option<StreamedResult> {
        line.index = *self.asked.get(line.index)?;
        let received = self.received.get_mut(line.index)?;
        if std::mem::replace(received, true) {
            return None;
        }
        self.failures = Failures::default();
        let rollout = self.request.rollouts.get(line.index)?;
        if let Some(shared_ids) = &self.shared_ids {
            if rollout.id.is_none() {
                line.result.id = RolloutId::from(line.index.to_string());
            }
            if let Some(problem) = &mut line.result.error {
                repoint(problem, &self.asked);
            }
            // The server names the other rollout by its place in the part.
            if let Some(invalid) = shared_ids.get(&line.index) {
                refuse(&mut line.result, line.index, invalid.clone());
            }
        }
        if let Some(group) = &rollout.group {
            self.groups.add(line.index, group, &line.result);
        }
        Some(line)
    }

    /// The summary of the whole request.
    fn whole(self, mut summary: StreamSummary) -> StreamSummary {
        if self.shared_ids.is_some() {
            summary.results = self.received.len();
            summary.groups = self.groups.finish();
        }
        summary
    }

    /// Asks for the missing results.
    ///
    /// # Errors
    /// [`Error::Cut`] if there is no further try; otherwise the error of the last one.
    async fn resume(&mut self, why: String, again: RetryAdvice) -> Result<(), Error> {
        let error = self.cut(why);
        let Some(digest) = self.digest.clone() else { return Err(error) };
        let policy = &self.client.policy;
        let Some(wait) = policy.next_wait(&mut self.failures, again, &self.deadline) else {
            return Err(error);
        };
        policy.pause(&error, self.failures, wait).await;
        let ids = self.request.rollouts.iter().map(|rollout| rollout.id.as_ref());
        let shared_ids =
            self.shared_ids.get_or_insert_with(|| shared_id_errors(ids).into_iter().collect());
        self.asked = missing(&self.request, &self.received, shared_ids);
        let places = (self.order.as_slice(), self.asked.as_slice());
        let lines = self.client.lines(&self.request, places, Some(digest), &self.deadline);
        match lines.await {
            Ok(lines) => {
                self.lines = lines;
                Ok(())
            }
            Err(error) => Err(match error.problem() {
                Some(problem) if problem.code == ProblemCode::Conflict => self.cut(format!(
                    "the server came back with another configuration: {}",
                    problem.detail
                )),
                _ if Instant::now() >= self.deadline.at => self.cut(format!("then {error}")),
                _ => error,
            }),
        }
    }

    fn cut(&self, why: String) -> Error {
        Error::Cut {
            url: self.lines.url().to_owned(),
            received: self.received.iter().filter(|received| **received).count(),
            expected: self.received.len(),
            why,
        }
    }
}

/// The rollouts without a result. With them the others of their groups if advantages compare them,
/// and those that share their ids, so that the server refuses the same ones again.
fn missing(
    request: &ScoreRequest,
    received: &[bool],
    shared_ids: &HashMap<usize, Invalid>,
) -> RolloutIndices {
    let units = units(request);
    let is_missing =
        |unit: &RolloutIndices| unit.iter().any(|place| received.get(*place) == Some(&false));
    let is_shared = |unit: &RolloutIndices| unit.iter().any(|place| shared_ids.contains_key(place));
    let with_shared = units.iter().any(|unit| is_missing(unit) && is_shared(unit));
    let asked = |unit: &RolloutIndices| is_missing(unit) || (with_shared && is_shared(unit));
    units.into_iter().filter(asked).flatten().collect()
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use guerdon_types::Problem;

    use super::*;
    use guerdon_testing::{
        ServerReply, StandInServer, numbered_batch, score_response, stream_lines,
    };

    async fn read(
        script: Vec<ServerReply>,
        request: &ScoreRequest,
    ) -> (StandInServer, Vec<Result<StreamLine, Error>>) {
        let server = StandInServer::start(script).await;
        let stream = Client::new(server.url()).unwrap().stream(request).await.unwrap();
        (server, stream.collect().await)
    }

    /// The lines of the streamed reply to `request`.
    fn lines(request: &ScoreRequest) -> Vec<String> {
        stream_lines(score_response(request, 1, "sha256:a"))
    }

    fn places(items: &[Result<StreamLine, Error>]) -> Vec<usize> {
        let place = |item: &Result<StreamLine, Error>| match item {
            Ok(StreamLine::Result(line)) => Some(line.index),
            _ => None,
        };
        items.iter().filter_map(place).collect()
    }

    #[tokio::test]
    async fn results_arrive_in_any_order_and_the_summary_is_last() {
        let (server, items) =
            read(vec![ServerReply::rate_limited("0")], &numbered_batch(&[""; 3])).await;
        assert_eq!(places(&items), [2, 1, 0]);
        assert!(
            matches!(items.last(), Some(Ok(StreamLine::Summary(summary))) if summary.results == 3)
        );
        assert_eq!(items.len(), 4);
        assert_eq!(server.received()[1].headers["accept"], "application/x-ndjson");
        assert_eq!(server.received()[1].headers["accept-encoding"], "identity");
    }

    #[tokio::test]
    async fn lines_are_joined_across_network_packets() {
        let request = numbered_batch(&[""; 3]);
        let text = lines(&request).concat();
        let pieces = text
            .trim_end()
            .as_bytes()
            .chunks(7)
            .map(|piece| String::from_utf8(piece.to_vec()).unwrap());
        let (_server, items) = read(vec![ServerReply::Chunks(pieces.collect())], &request).await;
        assert_eq!(places(&items), [2, 1, 0]);
        assert!(matches!(items[3], Ok(StreamLine::Summary(_))));
    }

    #[tokio::test]
    async fn incomplete_stream_reports_the_number_of_results() {
        let request = numbered_batch(&[""; 3]);
        let whole = lines(&request);
        let half = vec![whole[0].clone(), whole[1].clone(), whole[2][..9].to_owned()];
        let scripts = [
            (ServerReply::BrokenChunks(half.clone()), "body"),
            (ServerReply::body(200, half.concat()), "in the middle of a line"),
            (ServerReply::body(200, whole[..2].concat()), "before the summary"),
            (
                ServerReply::body(200, [&whole[..2], &whole[3..]].concat().concat()),
                "before all results",
            ),
        ];
        for (script, why) in scripts {
            let (_server, items) = read(vec![script], &request).await;
            assert_eq!(places(&items), [2, 1]);
            let Some(Err(error @ Error::Cut { received: 2, expected: 3, .. })) = items.last()
            else {
                panic!("{why}: {items:?}")
            };
            assert!(error.to_string().contains(why), "{error}");
            assert_eq!(items.len(), 3, "nothing comes after an error");
        }
    }

    #[tokio::test]
    async fn repeated_result_is_refused() {
        let request = numbered_batch(&[""; 3]);
        let line = lines(&request)[0].clone();
        let (_server, items) = read(vec![ServerReply::body(200, line.repeat(2))], &request).await;
        let Some(Err(error @ Error::Decode { .. })) = items.last() else { panic!("{items:?}") };
        assert!(error.to_string().contains("two results for rollout 2"), "{error}");
    }

    #[tokio::test]
    async fn problem_line_in_a_stream_is_returned() {
        let request = numbered_batch(&[""; 2]);
        let problem = Problem::new(ProblemCode::Internal, "the device thread died");
        let text = lines(&request)[0].clone() + &serde_json::to_string(&problem).unwrap() + "\n";
        let (_server, items) = read(vec![ServerReply::body(200, text)], &request).await;
        assert!(matches!(&items[1], Err(error) if error.problem() == Some(&problem)), "{items:?}");
    }

    #[tokio::test]
    async fn line_that_cannot_be_parsed_is_quoted() {
        let (_server, items) =
            read(vec![ServerReply::body(200, "<html>\n")], &numbered_batch(&[""])).await;
        assert!(
            matches!(&items[0], Err(error @ Error::Decode { .. }) if error.to_string().contains("<html>"))
        );
    }

    #[tokio::test]
    async fn refusal_is_returned_instead_of_a_stream() {
        let problem = Problem::new(ProblemCode::UnknownProfile, "there is no such profile")
            .pointer("/profile");
        let server = StandInServer::start([ServerReply::problem(&problem)]).await;
        let error =
            Client::new(server.url()).unwrap().stream(&numbered_batch(&[""])).await.unwrap_err();
        assert_eq!(error.problem(), Some(&problem));
    }
}
