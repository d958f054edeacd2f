//! A future on the client's runtime: waited for without the interpreter's lock, or called back from when it is done.

use std::time::Duration;

use guerdon_client::Error;
use pyo3::prelude::{Py, PyAny, PyResult, Python, pyclass, pymethods};
use pyo3::{IntoPyObject, IntoPyObjectExt as _};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinError, JoinHandle};

use crate::errors::{broken, raised};

/// How often a waiting call looks whether the user pressed Ctrl-C.
const TICK: Duration = Duration::from_millis(100);

/// What becomes of `future`. Other Python threads run meanwhile, and Ctrl-C drops it.
pub(crate) fn wait_for<T: Send + 'static>(
    py: Python<'_>,
    handle: &Handle,
    future: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> PyResult<T> {
    let mut task = handle.spawn(future);
    loop {
        match py.detach(|| tick(handle, &mut task)) {
            Some(Ok(answer)) => return answer.map_err(|error| raised(&error)),
            Some(Err(panicked)) => return Err(broken(format!("the client broke off: {panicked}"))),
            None => py.check_signals().inspect_err(|_| task.abort())?,
        }
    }
}

/// What became of the task, if it is done within a tick.
fn tick<T>(handle: &Handle, task: &mut JoinHandle<T>) -> Option<Result<T, JoinError>> {
    handle.block_on(async { tokio::time::timeout(TICK, task).await }).ok()
}

/// Returns at once; `done(answer, error)` is called on a thread of the client's, with one of them `None`.
pub(crate) fn call_back<T>(
    handle: &Handle,
    future: impl Future<Output = Result<T, Error>> + Send + 'static,
    done: Py<PyAny>,
) -> Task
where
    T: for<'py> IntoPyObject<'py> + Send + 'static,
{
    let task = handle.spawn(async move {
        let answer = future.await;
        // Attaching fails while the interpreter goes down, the callback once the event loop is closed: nobody
        // waits.
        let _ = Python::try_attach(|py| {
            let answer =
                answer.map_err(|error| raised(&error)).and_then(|answer| answer.into_py_any(py));
            match answer {
                Ok(answer) => done.call1(py, (answer, py.None())),
                Err(error) => done.call1(py, (py.None(), error)),
            }
        });
    });
    Task(task.abort_handle())
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
