//! The configured limits of an address, and the demands, refusals and results of its requests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::fair::QueuePosition;
use crate::retry::Backoff;

/// The configured limits of each address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// The greatest number of requests in flight. The actual limit adapts to the load below it.
    pub max_concurrent: usize,
    /// Waiting requests, for each address, at which
    /// [`Admission::full_for`](super::Admission::full_for) reports a full queue.
    pub max_queued: usize,
    /// Quota of requests in `span`.
    pub requests: Option<u64>,
    /// Quota of tokens in `span`.
    pub tokens: Option<u64>,
    /// The time over which the quotas are counted.
    pub span: Duration,
    /// The waits after refusals for load.
    pub backoff: Backoff,
}

/// The flow to which a request belongs. Requests of one flow keep their order; flows share the
/// addresses by weight.
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

/// An estimate of a request's tokens that may change while the request waits.
#[derive(Clone)]
pub struct TokenEstimate(Arc<dyn Fn() -> u64 + Send + Sync>);

impl TokenEstimate {
    /// The estimate that `current` returns. It is called with the queue locked, so it must be quick
    /// and must not use the queue.
    pub fn new(current: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(current))
    }

    pub(super) fn current(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for TokenEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenEstimate").field(&self.current()).finish()
    }
}

/// The resources that a request needs.
#[derive(Debug, Clone)]
pub struct Demand {
    /// An estimate of its tokens, settled afterwards.
    pub tokens: u64,
    /// The estimate by which it is admitted after a wait, instead of `tokens`. Requests that joined
    /// a long queue before the first reply would otherwise all reserve what was assumed then.
    pub estimate: Option<TokenEstimate>,
    /// Its flow.
    pub flow: Flow,
    /// The time after which its result is useless.
    pub deadline: Option<Instant>,
    /// Its earlier position, if it returns after a refusal; see
    /// [`AdmissionPermit::position`](super::AdmissionPermit::position).
    pub position: Option<QueuePosition>,
    /// The address at which it has just failed. Another one is preferred.
    pub avoid: Option<usize>,
    /// The number of failed probes through which it waits if every address is down. With 0 it is
    /// refused at once, for callers that have an alternative.
    pub probes: u32,
}

impl Demand {
    /// A first request of this many tokens, without a deadline, that waits through three failed
    /// probes.
    #[must_use]
    pub const fn new(tokens: u64, flow: Flow) -> Self {
        let (estimate, deadline, position, avoid) = (None, None, None, None);
        Self { tokens, estimate, flow, deadline, position, avoid, probes: 3 }
    }
}

/// The reason why a request is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Every address is paused beyond the request's deadline.
    PausedTooLong,
    /// The queue takes longer than the request's deadline.
    TooLate,
    /// Every address is down or closed. The next probe is due at this time.
    Down(Instant),
}

/// The result of a request, as a sign of the state of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadSignal {
    /// The address answered.
    Accepted,
    /// The address refused for load. It may have named a delay.
    Refused(Option<Duration>),
    /// The address did not answer in time.
    TimedOut,
    /// The request failed for a reason other than load, and the address may be at fault.
    Failed,
    /// The address failed and named a delay.
    FailedFor(Duration),
    /// The address refused the request in a way that may mean that it refuses the account. A probe
    /// decides, because it may also be the request, for example one that a firewall does not like.
    Suspect,
    /// The request was at fault.
    Unknown,
}

/// The result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeResult {
    /// The address works.
    Passed,
    /// It fails.
    Failed,
    /// It refuses the account.
    Closed,
}

/// The state of an address, for reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressState {
    /// Requests are sent.
    Healthy,
    /// It asked for a pause.
    Paused,
    /// It fails; it is probed.
    Down,
    /// It refuses the account; it is probed.
    Closed,
    /// A probe is due or in flight.
    HalfOpen,
}

/// One address at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressStatus {
    /// The state.
    pub state: AddressState,
    /// Requests in flight.
    pub in_flight: usize,
    /// The number of requests that may be in flight.
    pub allowed: usize,
    /// The rest of a pause; zero without one.
    pub paused_for: Duration,
}

/// The queue and its addresses at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionStatus {
    /// Waiting requests.
    pub queued: usize,
    /// The addresses, in their order.
    pub addresses: Vec<AddressStatus>,
}
