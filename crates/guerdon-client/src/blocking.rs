//! The same calls for code without an async runtime. The client has one thread for the network; any
//! number of threads may call it.
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

use crate::{Error, ScoreStream, ScoredBatch};

/// A [`crate::Client`] whose calls block. Clones are cheap and share connections, limits and the
/// thread.
#[derive(Debug, Clone)]
pub struct Client {
    client: crate::Client,
    thread: Arc<NetworkThread>,
}

/// The runtime. Its drop must not wait for the thread, because it may run in asynchronous code.
#[derive(Debug)]
struct NetworkThread(Option<Runtime>);

impl NetworkThread {
    fn wait<T>(&self, call: impl Future<Output = T>) -> Result<T, Error> {
        match &self.0 {
            // `block_on` inside a runtime would panic.
            Some(runtime) if Handle::try_current().is_err() => Ok(runtime.block_on(call)),
            _ => Err(Error::InAsync),
        }
    }
}

impl Drop for NetworkThread {
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
                detail: format!("cannot start its thread: {error}"),
            })?;
        Ok(Self { client, thread: Arc::new(NetworkThread(Some(runtime))) })
    }

    /// See [`crate::Client::score`].
    ///
    /// # Errors
    /// As there, and [`Error::InAsync`].
    pub fn score(&self, request: &ScoreRequest) -> Result<ScoredBatch, Error> {
        self.wait(self.client.score(request))
    }

    /// See [`crate::Client::stream`].
    ///
    /// # Errors
    /// As there, and [`Error::InAsync`].
    pub fn stream(&self, request: &ScoreRequest) -> Result<BlockingStream, Error> {
        let stream = self.wait(self.client.stream(request))?;
        Ok(BlockingStream { stream, thread: Arc::clone(&self.thread) })
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
pub struct BlockingStream {
    stream: ScoreStream,
    thread: Arc<NetworkThread>,
}

impl Iterator for BlockingStream {
    type Item = Result<StreamLine, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.thread.wait(self.stream.next()).unwrap_or_else(|error| Some(Err(error)))
    }
}

impl std::fmt::Debug for BlockingStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockingStream").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guerdon_testing::{StandInServer, numbered_batch};

    #[test]
    fn several_threads_score_and_stream_without_a_runtime() {
        let servers = Runtime::new().unwrap();
        let server = servers.block_on(StandInServer::start([]));
        let client = Client::new(crate::Client::new(server.url()).unwrap()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let scored = client.score(&numbered_batch(&[""; 3])).unwrap();
                    assert_eq!(scored.rewards(), [Some(0.0), Some(1.0), Some(2.0)]);
                });
            }
        });
        let lines: Vec<_> =
            client.stream(&numbered_batch(&[""; 3])).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(lines.len(), 4, "three results and the summary");
    }

    #[tokio::test]
    async fn blocking_call_in_asynchronous_code_is_an_error() {
        let client = Client::new(crate::Client::new("http://127.0.0.1:9").unwrap()).unwrap();
        assert!(matches!(client.ready(), Err(Error::InAsync)));
    }
}
