//! The reader behind `guerdon.ScoreStream` and `guerdon.AsyncScoreStream`.

use std::sync::Arc;

use futures_util::StreamExt as _;
use guerdon_client::{Error, ScoreStream};
use pyo3::prelude::{Py, PyAny, PyResult, Python, pyclass, pymethods};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::calls::to_json;
use crate::errors::internal_error;
use crate::tasks::{PyTask, call_back, wait_for};

/// A streamed reply that has not been read completely. Dropping it closes the connection.
#[pyclass(frozen, module = "guerdon._guerdon")]
pub(crate) struct Stream {
    process: u32,
    handle: Handle,
    /// Shared with the task that reads the next line; concurrent readers wait for their turn.
    lines: Arc<Mutex<Option<ScoreStream>>>,
}

impl Stream {
    pub(crate) fn new(handle: Handle, lines: ScoreStream) -> Self {
        Self { process: std::process::id(), handle, lines: Arc::new(Mutex::new(Some(lines))) }
    }

    /// Refuses to read in another process than the one that started the stream.
    fn check(&self) -> PyResult<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        Err(internal_error(
            "this stream was started before a fork; start a new one in this process",
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

    /// Starts to read the next line. `done(line, error)` is called with it.
    fn start_next(&self, done: Py<PyAny>) -> PyResult<PyTask> {
        self.check()?;
        Ok(call_back(&self.handle, next_line(Arc::clone(&self.lines)), done))
    }
}

async fn next_line(lines: Arc<Mutex<Option<ScoreStream>>>) -> Result<Option<String>, Error> {
    let mut lines = lines.lock().await;
    let Some(stream) = lines.as_mut() else { return Ok(None) };
    match stream.next().await {
        Some(Ok(line)) => to_json(&line).map(Some),
        ended => {
            *lines = None;
            ended.transpose().map(|_| None)
        }
    }
}
