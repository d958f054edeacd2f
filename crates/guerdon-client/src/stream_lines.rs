//! One streamed reply: newline-delimited JSON, read line by line.

use guerdon_types::{ConfigDigest, Problem, StreamLine};
use reqwest::Response;
use tokio::time::timeout_at;

use crate::Error;
use crate::call::{Call, excerpt};
use crate::error::Chain;
use crate::retry::{Deadline, RetryAdvice};

/// The header of a streamed reply with the digest of the configuration that serves it.
const DIGEST: &str = "x-guerdon-digest";

/// The reason why a reply has no further line.
#[derive(Debug)]
pub(crate) enum LineError {
    /// The reply ended before its summary.
    Cut { why: String, again: RetryAdvice },
    /// The reply is wrong.
    Final(Error),
}

/// A reply that is read line by line.
pub(crate) struct LineReader {
    call: Call,
    response: Response,
    /// For each rollout of the reply: its result arrived.
    received: Vec<bool>,
    buffer: Vec<u8>,
    /// The bytes of `buffer` that were already searched for a line break. Without it, the search of
    /// a long line would be quadratic.
    searched: usize,
}

impl LineReader {
    /// Reads the reply to a request with `expected` rollouts.
    pub(crate) fn new(call: Call, response: Response, expected: usize) -> Self {
        Self { call, response, received: vec![false; expected], buffer: Vec::new(), searched: 0 }
    }

    /// The URL without secrets.
    pub(crate) fn url(&self) -> &str {
        &self.call.shown
    }

    /// The place of the server in the client's list.
    pub(crate) const fn server(&self) -> usize {
        self.call.server
    }

    /// The configuration that serves the reply, if the server names it.
    pub(crate) fn digest(&self) -> Option<ConfigDigest> {
        self.response.headers().get(DIGEST)?.to_str().ok()?.parse().ok()
    }

    /// The next line.
    pub(crate) async fn next(&mut self, deadline: &Deadline) -> Result<StreamLine, LineError> {
        loop {
            while let Some(line) = self.take_line() {
                if !line.trim_ascii().is_empty() {
                    let line = self.read(&line).map_err(LineError::Final)?;
                    return self.count(line);
                }
            }
            match timeout_at(deadline.at, self.response.chunk()).await {
                Ok(Ok(Some(bytes))) => self.buffer.extend_from_slice(&bytes),
                Ok(Ok(None)) => return self.end(),
                Ok(Err(error)) => {
                    let why = Chain(&error.without_url()).to_string();
                    return Err(LineError::Cut { why, again: RetryAdvice::Away(None) });
                }
                Err(_) => {
                    let why = format!("the client's timeout of {:?} passed", deadline.after);
                    return Err(LineError::Cut { why, again: RetryAdvice::Never });
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
    fn end(&mut self) -> Result<StreamLine, LineError> {
        let rest = std::mem::take(&mut self.buffer);
        let why = match serde_json::from_slice(&rest) {
            Ok(line @ StreamLine::Summary(_)) => return self.count(line),
            _ if rest.trim_ascii().is_empty() => "the body ended before the summary",
            _ => "the body ended in the middle of a line",
        };
        Err(fault(why))
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

    fn count(&mut self, line: StreamLine) -> Result<StreamLine, LineError> {
        let wrong = |detail| Err(LineError::Final(self.call.decode(detail)));
        match &line {
            StreamLine::Summary(_) if self.received.iter().all(|received| *received) => Ok(line),
            StreamLine::Summary(_) => Err(fault("the summary came before all results")),
            StreamLine::Result(result) => match self.received.get_mut(result.index) {
                Some(received) if !*received => {
                    *received = true;
                    Ok(line)
                }
                Some(_) => wrong(format!("two results for rollout {}", result.index)),
                None => wrong(format!(
                    "a result for rollout {} of {}",
                    result.index,
                    self.received.len()
                )),
            },
        }
    }
}

/// A reply that ended too early without a break of the connection, as behind some proxies.
fn fault(why: &str) -> LineError {
    LineError::Cut { why: why.to_owned(), again: RetryAdvice::Fault(None) }
}
