//! Results as they become final, behind `guerdon.ScoreStream` and `guerdon.AsyncScoreStream`.

use std::sync::Arc;

use futures_util::StreamExt as _;
use guerdon_client::{Error, ScoreStream};
use pyo3::prelude::{Py, PyAny, PyResult, Python, pyclass, pymethods};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::ask::written;
use crate::errors::broken;
use crate::running::{Task, call_back, wait_for};

/// A reply of which not every line was read. Dropping it hangs up.
#[pyclass(frozen, module = "guerdon._guerdon")]
pub(crate) struct Stream {
    process: u32,
    handle: Handle,
    /// Shared with the task that reads the next line; whoever asks meanwhile waits for theirs.
    lines: Arc<Mutex<Option<ScoreStream>>>,
}

impl Stream {
    pub(crate) fn new(handle: Handle, lines: ScoreStream) -> Self {
        Self { process: std::process::id(), handle, lines: Arc::new(Mutex::new(Some(lines))) }
    }

    /// Why the next line cannot be read here.
    fn check(&self) -> PyResult<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        Err(broken(
            "this stream belongs to the process that a fork copied; ask again in the new one",
        ))
    }
}

#[pymethods]
impl Stream {
    /// The next line as JSON; `None` after the last.
    fn next(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.check()?;
        wait_for(py, &self.handle, next_line(Arc::clone(&self.lines)))
    }

    /// The same; `done(line, error)` is called with it.
    fn start_next(&self, done: Py<PyAny>) -> PyResult<Task> {
        self.check()?;
        Ok(call_back(&self.handle, next_line(Arc::clone(&self.lines)), done))
    }
}

async fn next_line(lines: Arc<Mutex<Option<ScoreStream>>>) -> Result<Option<String>, Error> {
    let mut lines = lines.lock().await;
    let Some(stream) = lines.as_mut() else { return Ok(None) };
    match stream.next().await {
        Some(Ok(line)) => written(&line).map(Some),
        ended => {
            *lines = None;
            ended.transpose().map(|_| None)
        }
    }
}
