//! The client behind `guerdon.Client` and `guerdon.AsyncClient`.
//!
//! Each client has its own runtime. A runtime does not survive a fork, and trainers fork: a child
//! process that uses an inherited client gets a new runtime and new connections. An awaited call is
//! a task on that runtime; on completion its callback passes the result to the caller's event loop.

use std::fmt::Display;
use std::time::Duration;

use guerdon_client::{ClientBuilder, Error};
use parking_lot::Mutex;
use pyo3::prelude::{Py, PyAny, PyAnyMethods, PyResult, Python, pyclass, pymethods};
use pyo3::{FromPyObject, PyErr};
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
    /// Retries of a request; `None` for as many as fit in `timeout`.
    retries: Option<i64>,
    /// Seconds: the wait before the first retry, at most.
    backoff: f64,
    /// Seconds: the longest wait.
    backoff_cap: f64,
    /// Seconds: the shortest wait.
    backoff_floor: f64,
    /// Rollouts in one request.
    chunk: i64,
    /// Requests in flight.
    concurrency: i64,
}

impl ClientLimits {
    /// Enters the limits in the client's settings.
    fn enter(self, settings: ClientBuilder) -> PyResult<ClientBuilder> {
        let settings = settings
            .timeout(seconds("timeout", self.timeout, "60")?)
            .backoff(
                seconds("backoff", self.backoff, "0.2")?,
                seconds("backoff_cap", self.backoff_cap, "5")?,
            )
            .backoff_floor(seconds("backoff_floor", self.backoff_floor, "0.05")?)
            .chunk(count("chunk", self.chunk, "256")?)
            .concurrency(count("concurrency", self.concurrency, "8")?);
        Ok(match self.retries {
            Some(retries) => settings.retries(count("retries", retries, "5")?),
            None => settings,
        })
    }
}

fn seconds(field: &'static str, value: f64, example: &str) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|error| setting_error(field, value, error, &format!("seconds, such as {example}")))
}

fn count<T: TryFrom<i64, Error: Display>>(
    field: &'static str,
    value: i64,
    example: &str,
) -> PyResult<T> {
    T::try_from(value).map_err(|error| {
        setting_error(field, value, error, &format!("a whole number, such as {example}"))
    })
}

fn setting_error(
    field: &'static str,
    value: impl Display,
    error: impl Display,
    expected: &str,
) -> PyErr {
    let detail = format!("is {value} ({error}); give {expected}");
    client_error(&Error::Config { field, detail })
}

/// Writes a failure that is retried to the log of Python: after three failures of a call, and then
/// each time that their number has doubled.
fn log_retry(error: &Error, tries: u32, wait: Duration) {
    if tries < 4 || !tries.is_power_of_two() {
        return;
    }
    // Attaching fails while the interpreter shuts down. A log that cannot be written is no reason
    // to fail a call.
    let _ = Python::try_attach(|py| {
        let logger = py.import("logging")?.call_method1("getLogger", ("guerdon",))?;
        let text = format!("{error}; trying again in {wait:.1?} until the call's timeout");
        logger.call_method1("warning", ("%s", text)).map(drop)
    });
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
        let settings = guerdon_client::Client::builder(url).on_retry(log_retry);
        let mut settings = limits.enter(settings)?;
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
