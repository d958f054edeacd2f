//! One address of a judge: its transport, what it accepts, and why it last failed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use guerdon_queue::QuotaReports;
use parking_lot::Mutex;

use crate::ask::answer::Failure;
use crate::call::capabilities::Capabilities;
use crate::call::fault::Fault;
use crate::call::transport::{Transport, TransportReply};
use crate::call::wire::{self, Completion};

/// One address.
#[derive(Debug)]
pub(crate) struct Address {
    /// Without its query, which may hold a key.
    pub(crate) name: String,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) capabilities: Capabilities,
    /// The last failure that may be the address's own.
    last_failure: Mutex<Option<Failure>>,
}

/// A reply, read, with the quotas that its headers report.
#[derive(Debug)]
pub(crate) struct AddressReply {
    pub(crate) outcome: Result<Completion, Fault>,
    pub(crate) quotas: QuotaReports,
}

impl Address {
    pub(crate) fn new(
        url: &str,
        transport: Arc<dyn Transport>,
        capabilities: Capabilities,
    ) -> Self {
        let name = url.split('?').next().unwrap_or_default().to_owned();
        Self { name, transport, capabilities, last_failure: Mutex::default() }
    }

    /// Sends `body` and reads what comes back, within `timeout`.
    pub(crate) async fn post(&self, body: Vec<u8>, timeout: Duration) -> AddressReply {
        let failed = |fault| AddressReply { outcome: Err(fault), quotas: QuotaReports::default() };
        let incoming = tokio::time::timeout(timeout, self.transport.send(body)).await;
        let TransportReply { status, headers, body } = match incoming {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => return failed(Fault::undelivered(error)),
            Err(_) => return failed(Fault::timed_out()),
        };
        let now = SystemTime::now();
        let answered = |complaint| Fault::answered(status, &headers, complaint, now);
        let outcome = if !status.is_success() {
            Err(answered(wire::complaint(&body)))
        } else if let Some(kind) = wire::foreign_content(&headers) {
            Err(Fault::foreign(kind))
        } else {
            wire::reply(&body).map_err(answered)
        };
        AddressReply { outcome, quotas: QuotaReports::read(&headers, now) }
    }

    /// Remembers a failure that may be the address's own.
    pub(crate) fn remember(&self, fault: &Fault) {
        if fault.class.is_of_the_address() {
            *self.last_failure.lock() = Some(fault.failure());
        }
    }

    /// The last failure that may be the address's own.
    pub(crate) fn last_failure(&self) -> Option<Failure> {
        self.last_failure.lock().clone()
    }
}
