//! The queue of requests on disk, behind `guerdon.Queue`.

use guerdon_client::{Error, RequestQueue, Ticket, TicketClaim};
use parking_lot::Mutex;
use pyo3::prelude::{PyResult, Python, pyclass, pymethods};

use crate::calls::{parse_request, to_json};
use crate::errors::client_error;

/// A queue, exported to Python as `Queue`. Tickets and requests are texts.
#[pyclass(frozen, name = "Queue", module = "guerdon._guerdon")]
pub(crate) struct PyQueue(RequestQueue);

/// A claim on a request, exported to Python as `QueueClaim`.
#[pyclass(frozen, name = "QueueClaim", module = "guerdon._guerdon")]
pub(crate) struct PyQueueClaim(Mutex<Option<TicketClaim>>);

#[pymethods]
impl PyQueue {
    #[new]
    fn new(py: Python<'_>, folder: String) -> PyResult<Self> {
        unlocked(py, || RequestQueue::open(folder)).map(Self)
    }

    /// Adds a request and returns its ticket.
    fn put(&self, py: Python<'_>, body: &str) -> PyResult<String> {
        unlocked(py, || Ok(self.0.put(&parse_request(body)?)?.to_string()))
    }

    /// The tickets of the waiting requests, oldest first.
    fn waiting(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        unlocked(py, || Ok(self.0.waiting()?.iter().map(ToString::to_string).collect()))
    }

    /// The request of a ticket.
    fn request(&self, py: Python<'_>, ticket: &str) -> PyResult<String> {
        unlocked(py, || to_json(&self.0.request(&ticket.parse()?)?))
    }

    /// Claims a request; `None` if another scorer has it, or it is no longer waiting.
    fn claim(&self, py: Python<'_>, ticket: &str) -> PyResult<Option<PyQueueClaim>> {
        let claim = unlocked(py, || self.0.claim(&ticket.parse::<Ticket>()?))?;
        Ok(claim.map(|claim| PyQueueClaim(Mutex::new(Some(claim)))))
    }

    /// Removes a request.
    fn done(&self, py: Python<'_>, ticket: &str) -> PyResult<()> {
        unlocked(py, || self.0.done(&ticket.parse()?))
    }

    /// Takes a request out of the queue and returns the path of its file.
    fn set_aside(&self, py: Python<'_>, ticket: &str) -> PyResult<String> {
        unlocked(py, || Ok(self.0.set_aside(&ticket.parse()?)?.to_string_lossy().into_owned()))
    }
}

#[pymethods]
impl PyQueueClaim {
    /// Ends the claim.
    fn release(&self) {
        self.0.lock().take();
    }
}

/// Runs file operations with the interpreter's lock released.
fn unlocked<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<T> {
    py.detach(work).map_err(|error| client_error(&error))
}
