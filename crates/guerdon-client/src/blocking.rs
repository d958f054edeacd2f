//! The same calls for code without a runtime. One thread of the client's own drives the network; any number of threads may
//! call.
//!
//! ```no_run
//! use guerdon_client::{ScoreRequest, StreamLine, blocking};
//!
//! # fn main() -> Result<(), guerdon_client::Error> {
//! # let request = ScoreRequest::default();
//! let client = blocking::Client::new(guerdon_client::Client::new("http://127.0.0.1:8787")?)?;
//! println!("{:?}", client.score(&request)?.rewards());
//! for line in client.stream(&request)? {
//!     match line? {
//!         StreamLine::Result(result) => println!("rollout {} is final", result.index),
//!         StreamLine::Summary(summary) => println!("{} results", summary.results),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;

use futures_util::StreamExt as _;
use guerdon_types::{Info, ScoreRequest, StreamLine};
use tokio::runtime::{Handle, Runtime};

use crate::{Error, ScoreStream, Scored};

/// A [`crate::Client`] whose calls wait. Clones are cheap and share connections, limits and the thread.
#[derive(Debug, Clone)]
pub struct Client {
    client: crate::Client,
    thread: Arc<Thread>,
}

/// The runtime, which must not wait for its thread when it is dropped: that may be in asynchronous code.
#[derive(Debug)]
struct Thread(Option<Runtime>);

impl Thread {
    fn wait<T>(&self, call: impl Future<Output = T>) -> Result<T, Error> {
        match &self.0 {
            // Waiting inside a runtime would panic there.
            Some(runtime) if Handle::try_current().is_err() => Ok(runtime.block_on(call)),
            _ => Err(Error::InAsync),
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Client {
    /// The blocking form of `client`.
    ///
    /// # Errors
    /// [`Error::Config`] if the thread cannot be started.
    pub fn new(client: crate::Client) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("guerdon-client")
            .enable_all()
            .build()
            .map_err(|error| Error::Config {
                field: "blocking",
                detail: format!("its thread cannot be started: {error}"),
            })?;
        Ok(Self { client, thread: Arc::new(Thread(Some(runtime))) })
    }

    /// See [`crate::Client::score`].
    ///
    /// # Errors
    /// As there, and [`Error::InAsync`].
    pub fn score(&self, request: &ScoreRequest) -> Result<Scored, Error> {
        self.wait(self.client.score(request))
    }

    /// See [`crate::Client::stream`].
    ///
    /// # Errors
    /// As there, and [`Error::InAsync`].
    pub fn stream(&self, request: &ScoreRequest) -> Result<Lines, Error> {
        let stream = self.wait(self.client.stream(request))?;
        Ok(Lines { stream, thread: Arc::clone(&self.thread) })
    }

    /// See [`crate::Client::info`].
    ///
    /// # Errors
    /// As there, and [`Error::InAsync`].
    pub fn info(&self) -> Result<Info, Error> {
        self.wait(self.client.info())
    }

    /// See [`crate::Client::ready`].
    ///
    /// # Errors
    /// As there, and [`Error::InAsync`].
    pub fn ready(&self) -> Result<bool, Error> {
        self.wait(self.client.ready())
    }

    fn wait<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.thread.wait(call)?
    }
}

/// Results as they become final; the last line is the summary. See [`ScoreStream`].
pub struct Lines {
    stream: ScoreStream,
    thread: Arc<Thread>,
}

impl Iterator for Lines {
    type Item = Result<StreamLine, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.thread.wait(self.stream.next()).unwrap_or_else(|error| Some(Err(error)))
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{StandIn, batch};

    #[test]
    fn a_loop_without_a_runtime_scores_and_streams_from_several_threads() {
        let servers = Runtime::new().unwrap();
        let server = servers.block_on(StandIn::start(vec![]));
        let client = Client::new(crate::Client::new(&server.url).unwrap()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let scored = client.score(&batch(&[""; 3])).unwrap();
                    assert_eq!(scored.rewards(), [Some(0.0), Some(1.0), Some(2.0)]);
                });
            }
        });
        let lines: Vec<_> =
            client.stream(&batch(&[""; 3])).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(lines.len(), 4, "three results and the summary");
    }

    #[tokio::test]
    async fn waiting_in_asynchronous_code_is_an_error_and_no_panic() {
        let client = Client::new(crate::Client::new("http://127.0.0.1:9").unwrap()).unwrap();
        assert!(matches!(client.ready(), Err(Error::InAsync)));
    }
}
