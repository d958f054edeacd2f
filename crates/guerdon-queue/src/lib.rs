//! Fair queueing, Retry-After and backoff, single-flight, address health and quota windows.
//!
//! The parts of a client that shares an HTTP endpoint between many requests. They do not depend on
//! rewards or on the wire format of an endpoint.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use std::time::Duration;
//!
//! use guerdon_queue::{Admission, AdmissionLimits, Backoff, Demand, Flow, LoadSignal};
//!
//! let limits = AdmissionLimits {
//!     max_concurrent: 8,
//!     max_queued: 100,
//!     requests: Some(60),
//!     tokens: None,
//!     span: Duration::from_secs(60),
//!     backoff: Backoff {
//!         base: Duration::from_millis(500),
//!         cap: Duration::from_secs(8),
//!         floor: Duration::from_millis(50),
//!     },
//! };
//! let admission = Admission::new(limits, 1);
//! let demand = Demand::new(500, Flow::new("run 7", 1));
//!
//! let permit = admission.enter(demand).await.unwrap();
//! // Send the request here; it used 430 tokens and took 20 ms.
//! permit.settle(Some(430), LoadSignal::Accepted, Duration::from_millis(20));
//! # });
//! ```
//!
//! | File or folder | Contents |
//! |---|---|
//! | `fair/` | [`FairClock`] and [`FairQueue`]: start-time fair queueing by weight; fair shares of flows |
//! | `retry/` | [`Backoff`], and the delays that servers name in headers: [`named_delay`] |
//! | `quota/` | [`QuotaWindow`], a sliding window, and [`QuotaReports`], rate-limit headers |
//! | `endpoint/` | [`AddressHealth`], [`AdaptiveLimit`]: the health and the capacity of an address |
//! | `admission/` | [`Admission`]: one fair queue before the quotas, capacity and health of several addresses |
//! | `semaphore/` | [`FairSemaphore`]: permits and queue slots, shared fairly between flows |
//! | `single_flight.rs` | [`SingleFlight`]: one call for all concurrent callers of one key |
//! | `deadline.rs` | instants computed from delays that other parties report |
//! | `work_threads/` | [`WorkThreads`]: threads for computation, shared fairly between flows |
//! | `coordinate/` | [`Coordinator`]: answers, quotas, budgets and pauses shared between replicas; [`Alone`] |

mod admission;
mod coordinate;
mod deadline;
mod endpoint;
mod fair;
mod quota;
mod retry;
mod semaphore;
mod single_flight;
mod work_threads;

pub use admission::{
    AddressState, AddressStatus, Admission, AdmissionLimits, AdmissionPermit, AdmissionStatus,
    Demand, Flow, LoadSignal, ProbeResult, Refusal, TokenEstimate,
};
pub use coordinate::{
    Alone, BudgetAccount, BudgetHold, Claim, CoordinationState, Coordinator, CoordinatorError,
    HoldGrant, HoldRequest, Lease, LeaseEnd, PauseListener, QuotaGrant, QuotaRequest, QuotaUnits,
};
pub use endpoint::{AdaptiveLimit, AddressHealth, HealthConfig, HealthState, ProbeInterval};
pub use fair::{FairClock, FairQueue, QueuePosition};
pub use quota::{QuotaReport, QuotaReports, QuotaReservation, QuotaWindow, parse_reset};
pub use retry::{Backoff, named_delay, parse_retry_after};
pub use semaphore::{FairPermit, FairSemaphore, SemaphoreSize};
pub use single_flight::{Flight, SingleFlight};
pub use work_threads::{PARSER_STACK, WorkError, WorkPermit, WorkThreads};
