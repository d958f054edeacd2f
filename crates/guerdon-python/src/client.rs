//! The client behind `guerdon.Client` and `guerdon.AsyncClient`.
//!
//! It has a runtime of its own instead of one for the process: a runtime does not survive a fork, and
//! trainers fork. A child that uses a client it was born with gets a new runtime and new connections. An
//! awaited call is a task on that runtime that calls Python back when it is done; the callback hands the
//! answer to the caller's event loop, whichever that is.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use guerdon_client::{ClientBuilder, Error};
use pyo3::prelude::{Py, PyAny, PyResult, Python, pyclass, pymethods};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::ask::{Ask, request};
use crate::errors::{broken, raised};
use crate::running::{Task, call_back, wait_for};
use crate::stream::Stream;

/// A reward server, as Python sees it.
#[pyclass(frozen, module = "guerdon._guerdon")]
pub(crate) struct Client {
    settings: ClientBuilder,
    live: Mutex<Option<Live>>,
}

/// What belongs to one process.
struct Live {
    process: u32,
    runtime: Runtime,
    client: guerdon_client::Client,
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (url, profile, key, limits))]
    fn new(
        url: &str,
        profile: Option<String>,
        key: Option<String>,
        limits: (f64, u32, usize, usize),
    ) -> PyResult<Self> {
        let (timeout, retries, chunk, concurrency) = limits;
        let timeout = Duration::try_from_secs_f64(timeout).map_err(|error| {
            let detail = format!("is {timeout} ({error}); give seconds, such as 60");
            raised(&Error::Config { field: "timeout", detail })
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
        let live = Live::start(&settings)?;
        Ok(Self { settings, live: Mutex::new(Some(live)) })
    }

    /// Asks and waits, without the interpreter's lock.
    fn ask(&self, py: Python<'_>, what: &str, body: &str) -> PyResult<String> {
        let ask = py.detach(|| Ask::read(what, body)).map_err(|error| raised(&error))?;
        let (handle, client) = self.live()?;
        wait_for(py, &handle, async move { ask.answer(&client).await })
    }

    /// Asks and returns at once; `done(answer, error)` is called on a thread of the client's, with one of
    /// them `None`.
    fn start(&self, py: Python<'_>, what: &str, body: &str, done: Py<PyAny>) -> PyResult<Task> {
        let ask = py.detach(|| Ask::read(what, body)).map_err(|error| raised(&error))?;
        let (handle, client) = self.live()?;
        Ok(call_back(&handle, async move { ask.answer(&client).await }, done))
    }

    /// Asks for a stream and waits until it begins.
    fn stream(&self, py: Python<'_>, body: &str) -> PyResult<Stream> {
        let request = py.detach(|| request(body)).map_err(|error| raised(&error.into()))?;
        let (handle, client) = self.live()?;
        let lines = wait_for(py, &handle, async move { client.stream(&request).await })?;
        Ok(Stream::new(handle, lines))
    }

    /// The same; `done(stream, error)` is called with it.
    fn start_stream(&self, py: Python<'_>, body: &str, done: Py<PyAny>) -> PyResult<Task> {
        let request = py.detach(|| request(body)).map_err(|error| raised(&error.into()))?;
        let (handle, client) = self.live()?;
        let here = handle.clone();
        let begun = async move { Ok(Stream::new(here, client.stream(&request).await?)) };
        Ok(call_back(&handle, begun, done))
    }
}

impl Client {
    /// The runtime and the client of this process.
    fn live(&self) -> PyResult<(Handle, guerdon_client::Client)> {
        let mut live = self.lock();
        if live.as_ref().is_some_and(|live| live.process != std::process::id()) {
            // A fork took the threads of the parent's runtime away; to drop it would be to wait for them.
            std::mem::forget(live.take());
        }
        let current = match live.take() {
            Some(current) => current,
            None => Live::start(&self.settings)?,
        };
        let current = live.insert(current);
        Ok((current.runtime.handle().clone(), current.client.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hangs up, without waiting: a thread that waits for the interpreter's lock would never be done.
impl Drop for Client {
    fn drop(&mut self) {
        let live = self.lock().take();
        match live {
            Some(live) if live.process == std::process::id() => live.runtime.shutdown_background(),
            orphaned => std::mem::forget(orphaned),
        }
    }
}

impl Live {
    fn start(settings: &ClientBuilder) -> PyResult<Self> {
        let client = settings.clone().build().map_err(|error| raised(&error))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("guerdon")
            .enable_all()
            .build()
            .map_err(|error| broken(format!("the client cannot start a thread: {error}")))?;
        Ok(Self { process: std::process::id(), runtime, client })
    }
}
