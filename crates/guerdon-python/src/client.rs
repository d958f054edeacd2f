//! The client behind `guerdon.Client` and `guerdon.AsyncClient`.
//!
//! Each client has its own runtime. A runtime does not survive a fork, and trainers fork: a child
//! process that uses an inherited client gets a new runtime and new connections. An awaited call is
//! a task on that runtime; on completion its callback passes the result to the caller's event loop.

use std::time::Duration;

use guerdon_client::{ClientBuilder, Error};
use parking_lot::Mutex;
use pyo3::FromPyObject;
use pyo3::prelude::{Py, PyAny, PyResult, Python, pyclass, pymethods};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::calls::{ClientCall, parse_request};
use crate::errors::{client_error, internal_error};
use crate::stream::Stream;
use crate::tasks::{PyTask, call_back, wait_for};

/// A client of a reward server, exported to Python as `Client`.
#[pyclass(frozen, name = "Client", module = "guerdon._guerdon")]
pub(crate) struct PyClient {
    settings: ClientBuilder,
    live: Mutex<Option<ProcessClient>>,
}

/// The limits of a client, read from a dictionary.
#[derive(Clone, Copy, Debug, FromPyObject)]
#[pyo3(from_item_all)]
struct ClientLimits {
    /// Seconds for a whole call.
    timeout: f64,
    /// Retries of a request.
    retries: u32,
    /// Rollouts in one request.
    chunk: usize,
    /// Requests in flight.
    concurrency: usize,
}

/// The runtime and the client of one process.
struct ProcessClient {
    process: u32,
    runtime: Runtime,
    client: guerdon_client::Client,
}

#[pymethods]
impl PyClient {
    #[new]
    #[pyo3(signature = (url, profile, key, limits, expect_digest))]
    fn new(
        url: &str,
        profile: Option<String>,
        key: Option<String>,
        limits: ClientLimits,
        expect_digest: Option<String>,
    ) -> PyResult<Self> {
        let ClientLimits { timeout, retries, chunk, concurrency } = limits;
        let timeout = Duration::try_from_secs_f64(timeout).map_err(|error| {
            let detail = format!("is {timeout} ({error}); give seconds, such as 60");
            client_error(&Error::Config { field: "timeout", detail })
        })?;
        let mut settings = guerdon_client::Client::builder(url)
            .timeout(timeout)
            .retries(retries)
            .chunk(chunk)
            .concurrency(concurrency);
        if let Some(profile) = profile {
            settings = settings.profile(profile);
        }
        if let Some(key) = key {
            settings = settings.token(key);
        }
        if let Some(digest) = expect_digest {
            settings = settings.expect_digest(digest);
        }
        let live = ProcessClient::start(&settings)?;
        Ok(Self { settings, live: Mutex::new(Some(live)) })
    }

    /// Runs a call and blocks, with the interpreter's lock released.
    fn ask(&self, py: Python<'_>, what: &str, body: &str) -> PyResult<String> {
        let ask =
            py.detach(|| ClientCall::read(what, body)).map_err(|error| client_error(&error))?;
        let (handle, client) = self.live()?;
        wait_for(py, &handle, async move { ask.answer(&client).await })
    }

    /// Starts a call and returns at once. `done(answer, error)` is called on a thread of the
    /// client's runtime, with one of the two `None`.
    fn start(&self, py: Python<'_>, what: &str, body: &str, done: Py<PyAny>) -> PyResult<PyTask> {
        let ask =
            py.detach(|| ClientCall::read(what, body)).map_err(|error| client_error(&error))?;
        let (handle, client) = self.live()?;
        Ok(call_back(&handle, async move { ask.answer(&client).await }, done))
    }

    /// Starts a stream and blocks until the reply begins.
    fn stream(&self, py: Python<'_>, body: &str) -> PyResult<Stream> {
        let request =
            py.detach(|| parse_request(body)).map_err(|error| client_error(&error.into()))?;
        let (handle, client) = self.live()?;
        let lines = wait_for(py, &handle, async move { client.stream(&request).await })?;
        Ok(Stream::new(handle, lines))
    }

    /// Starts a stream and returns at once. `done(stream, error)` is called when the reply begins.
    fn start_stream(&self, py: Python<'_>, body: &str, done: Py<PyAny>) -> PyResult<PyTask> {
        let request =
            py.detach(|| parse_request(body)).map_err(|error| client_error(&error.into()))?;
        let (handle, client) = self.live()?;
        let here = handle.clone();
        let begun = async move { Ok(Stream::new(here, client.stream(&request).await?)) };
        Ok(call_back(&handle, begun, done))
    }
}

impl PyClient {
    /// The runtime and the client of this process.
    fn live(&self) -> PyResult<(Handle, guerdon_client::Client)> {
        let mut live = self.live.lock();
        if live.as_ref().is_some_and(|live| live.process != std::process::id()) {
            // A fork does not copy the threads of the parent's runtime; dropping it would wait for
            // them.
            std::mem::forget(live.take());
        }
        let current = match live.take() {
            Some(current) => current,
            None => ProcessClient::start(&self.settings)?,
        };
        let current = live.insert(current);
        Ok((current.runtime.handle().clone(), current.client.clone()))
    }
}

/// Closes connections without waiting for threads: one that waits for the interpreter's lock would
/// deadlock.
impl Drop for PyClient {
    fn drop(&mut self) {
        let live = self.live.lock().take();
        match live {
            Some(live) if live.process == std::process::id() => live.runtime.shutdown_background(),
            orphaned => std::mem::forget(orphaned),
        }
    }
}

impl ProcessClient {
    fn start(settings: &ClientBuilder) -> PyResult<Self> {
        let client = settings.clone().build().map_err(|error| client_error(&error))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("guerdon")
            .enable_all()
            .build()
            .map_err(|error| {
                internal_error(format!("the client cannot start a thread: {error}"))
            })?;
        Ok(Self { process: std::process::id(), runtime, client })
    }
}
