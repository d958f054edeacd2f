//! Futures on the client's runtime: blocking on them with the interpreter's lock released, or
//! running a callback on completion.

use std::time::Duration;

use guerdon_client::Error;
use pyo3::prelude::{Py, PyAny, PyResult, Python, pyclass, pymethods};
use pyo3::{IntoPyObject, IntoPyObjectExt as _};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinError, JoinHandle};

use crate::errors::{client_error, internal_error};

/// The interval at which a blocked call checks for Ctrl-C.
const TICK: Duration = Duration::from_millis(100);

/// Blocks until `future` completes. Other Python threads run in the meantime; Ctrl-C drops the
/// future.
pub(crate) fn wait_for<T: Send + 'static>(
    py: Python<'_>,
    handle: &Handle,
    future: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> PyResult<T> {
    let mut task = handle.spawn(future);
    loop {
        match py.detach(|| tick(handle, &mut task)) {
            Some(Ok(answer)) => return answer.map_err(|error| client_error(&error)),
            Some(Err(panicked)) => {
                return Err(internal_error(format!(
                    "the client's task failed: {panicked}; please report this bug"
                )));
            }
            None => py.check_signals().inspect_err(|_| task.abort())?,
        }
    }
}

/// The result of the task if it completes within one tick.
fn tick<T>(handle: &Handle, task: &mut JoinHandle<T>) -> Option<Result<T, JoinError>> {
    handle.block_on(async { tokio::time::timeout(TICK, task).await }).ok()
}

/// Starts `future` and returns at once. On completion, a thread of the client's runtime calls
/// `done(answer, error)`; one of the two arguments is `None`.
pub(crate) fn call_back<T>(
    handle: &Handle,
    future: impl Future<Output = Result<T, Error>> + Send + 'static,
    done: Py<PyAny>,
) -> PyTask
where
    T: for<'py> IntoPyObject<'py> + Send + 'static,
{
    let task = handle.spawn(async move {
        let answer = future.await;
        // Attaching fails while the interpreter shuts down. The callback fails once the event loop
        // is closed. In both cases nothing waits for the answer, so the error is dropped.
        let _ = Python::try_attach(|py| {
            let answer = answer
                .map_err(|error| client_error(&error))
                .and_then(|answer| answer.into_py_any(py));
            match answer {
                Ok(answer) => done.call1(py, (answer, py.None())),
                Err(error) => done.call1(py, (py.None(), error)),
            }
        });
    });
    PyTask(task.abort_handle())
}

/// A call in flight.
#[pyclass(frozen, name = "Task", module = "guerdon._guerdon")]
pub(crate) struct PyTask(AbortHandle);

#[pymethods]
impl PyTask {
    /// Cancels the call. Has no effect if it has completed.
    fn cancel(&self) {
        self.0.abort();
    }
}
