//! Results as they become final: newline-delimited JSON, read line by line. An incomplete stream is
//! an error.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::try_unfold;
use guerdon_types::{Problem, StreamLine};
use reqwest::Response;
use tokio::time::timeout_at;

use crate::Error;
use crate::call::{Call, excerpt};
use crate::error::Chain;
use crate::retry::Deadline;

/// The lines of a streamed reply: one per result, then a summary. Returned by
/// [`Client::stream`](crate::Client::stream).
///
/// It ends after the summary or the first error. If the connection ends before the summary, the
/// last item is [`Error::Cut`] with the number of results so far. Dropping the stream closes the
/// connection.
pub struct ScoreStream(Pin<Box<dyn Stream<Item = Result<StreamLine, Error>> + Send>>);

impl ScoreStream {
    pub(crate) fn new(call: Call, response: Response, deadline: Deadline, expected: usize) -> Self {
        let lines = LineReader {
            call,
            response,
            deadline,
            expected,
            received: 0,
            buffer: Vec::new(),
            searched: 0,
        };
        Self(Box::pin(try_unfold(Some(lines), async |lines| match lines {
            Some(lines) => lines.next().await.map(Some),
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

struct LineReader {
    call: Call,
    response: Response,
    deadline: Deadline,
    expected: usize,
    received: usize,
    buffer: Vec<u8>,
    /// The bytes of `buffer` that were already searched for a line break. Without it, the search of
    /// a long line would be quadratic.
    searched: usize,
}

impl LineReader {
    /// The next line, and the reader of the lines after it. `None` after the summary.
    async fn next(mut self) -> Result<(StreamLine, Option<Self>), Error> {
        loop {
            while let Some(line) = self.take_line() {
                if !line.trim_ascii().is_empty() {
                    let line = self.read(&line)?;
                    return self.count(line);
                }
            }
            match timeout_at(self.deadline.at, self.response.chunk()).await {
                Ok(Ok(Some(bytes))) => self.buffer.extend_from_slice(&bytes),
                Ok(Ok(None)) => return self.end(),
                Ok(Err(error)) => return Err(self.cut(Chain(&error.without_url()).to_string())),
                Err(_) => {
                    return Err(self
                        .cut(format!("the client's timeout of {:?} passed", self.deadline.after)));
                }
            }
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let Some(at) = self.buffer.iter().skip(self.searched).position(|byte| *byte == b'\n')
        else {
            self.searched = self.buffer.len();
            return None;
        };
        let rest = self.buffer.split_off(self.searched + at + 1);
        self.searched = 0;
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    /// Handles the end of the body. The rest of the buffer may be a summary without a line break.
    fn end(mut self) -> Result<(StreamLine, Option<Self>), Error> {
        let rest = std::mem::take(&mut self.buffer);
        match serde_json::from_slice(&rest) {
            Ok(line @ StreamLine::Summary(_)) => self.count(line),
            _ if rest.trim_ascii().is_empty() => {
                Err(self.cut("the body ended before the summary".into()))
            }
            _ => Err(self.cut("the body ended in the middle of a line".into())),
        }
    }

    fn read(&self, line: &[u8]) -> Result<StreamLine, Error> {
        serde_json::from_slice(line).map_err(|error| {
            match serde_json::from_slice::<Problem>(line) {
                Ok(problem) => self.call.problem(problem),
                Err(_) => self.call.decode(format!(
                    "a line of the stream cannot be parsed ({error}): {:?}",
                    excerpt(line)
                )),
            }
        })
    }

    fn count(mut self, line: StreamLine) -> Result<(StreamLine, Option<Self>), Error> {
        match &line {
            StreamLine::Summary(_) if self.received == self.expected => Ok((line, None)),
            StreamLine::Summary(_) => Err(self.cut("the summary came before all results".into())),
            StreamLine::Result(result) if result.index < self.expected => {
                self.received += 1;
                Ok((line, Some(self)))
            }
            StreamLine::Result(result) => {
                let detail = format!("a result for rollout {} of {}", result.index, self.expected);
                Err(self.call.decode(detail))
            }
        }
    }

    fn cut(&self, why: String) -> Error {
        Error::Cut {
            url: self.call.shown.clone(),
            received: self.received,
            expected: self.expected,
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use guerdon_types::{ProblemCode, ScoreRequest};

    use super::*;
    use crate::Client;
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
