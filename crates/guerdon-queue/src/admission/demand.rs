//! The limits of an address, and the demands, refusals and results of its requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::fair::QueuePosition;

/// The configured limits of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// The greatest number of requests in flight. The actual limit adapts to the load below it.
    pub max_concurrent: usize,
    /// Waiting requests at which [`Admission::full_for`](super::Admission::full_for) reports a full
    /// queue.
    pub max_queued: usize,
    /// Quota of requests in `span`.
    pub requests: Option<u64>,
    /// Quota of tokens in `span`.
    pub tokens: Option<u64>,
    /// The time over which the quotas are counted.
    pub span: Duration,
}

/// The flow to which a request belongs. Requests of one flow keep their order; flows share the
/// address by weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// The name, such as that of a run or a profile.
    pub name: Arc<str>,
    /// The client. Requests of different clients are different flows, even with the same name.
    pub client: u64,
    /// The share relative to other flows.
    pub weight: u32,
}

impl Flow {
    /// A flow of client 0.
    #[must_use]
    pub fn new(name: &str, weight: u32) -> Self {
        Self { name: name.into(), client: 0, weight }
    }
}

/// The resources that a request needs.
#[derive(Debug, Clone)]
pub struct Demand {
    /// An estimate of its tokens, settled afterwards.
    pub tokens: u64,
    /// Its flow.
    pub flow: Flow,
    /// The time after which its result is useless.
    pub deadline: Option<Instant>,
    /// Its earlier position, if it returns after a refusal; see
    /// [`AdmissionPermit::position`](super::AdmissionPermit::position).
    pub position: Option<QueuePosition>,
}

/// The reason why a request is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The address is paused beyond the request's deadline.
    PausedTooLong,
    /// The queue takes longer than the request's deadline.
    TooLate,
}

/// The result of a request, as a sign of the load of the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadSignal {
    /// The address answered.
    Accepted,
    /// The address refused for load, and asked for a pause, which may be zero.
    Overloaded(Duration),
    /// The request failed for a reason other than load.
    Unknown,
}
