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
use tokio::task::{AbortHandle, JoinHandle};

use crate::ask::Ask;
use crate::errors::{broken, raised};

/// How often a waiting call looks whether the user pressed Ctrl-C.
const TICK: Duration = Duration::from_millis(100);

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
        let mut task = handle.spawn(async move { ask.answer(&client).await });
        loop {
            match py.detach(|| wait(&handle, &mut task)) {
                Some(Ok(answer)) => return answer.map_err(|error| raised(&error)),
                Some(Err(panicked)) => return Err(broken(format!("the client broke off: {panicked}"))),
                None => py.check_signals().inspect_err(|_| task.abort())?,
            }
        }
    }

    /// Asks and returns at once; `done(answer, error)` is called on a thread of the client's, with one of
    /// them `None`.
    fn start(&self, py: Python<'_>, what: &str, body: &str, done: Py<PyAny>) -> PyResult<Task> {
        let ask = py.detach(|| Ask::read(what, body)).map_err(|error| raised(&error))?;
        let (handle, client) = self.live()?;
        let task = handle.spawn(async move {
            let answer = ask.answer(&client).await;
            // Attaching fails while the interpreter goes down, the callback once the event loop is closed:
            // nobody waits.
            let _ = Python::try_attach(|py| match answer {
                Ok(answer) => done.call1(py, (answer, py.None())),
                Err(error) => done.call1(py, (py.None(), raised(&error))),
            });
        });
        Ok(Task(task.abort_handle()))
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

type Joined = Result<Result<String, Error>, tokio::task::JoinError>;

/// What became of the task, if it is done within a tick.
fn wait(handle: &Handle, task: &mut JoinHandle<Result<String, Error>>) -> Option<Joined> {
    handle.block_on(async { tokio::time::timeout(TICK, task).await }).ok()
}

/// A question that was asked and not yet answered.
#[pyclass(frozen, module = "guerdon._guerdon")]
pub(crate) struct Task(AbortHandle);

#[pymethods]
impl Task {
    /// Hangs up. Nothing happens where the answer is there already.
    fn cancel(&self) {
        self.0.abort();
    }
}
