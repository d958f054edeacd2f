//! Start-time fair queueing: flows that wait for one resource share it by weight.

mod clock;
mod queue;
mod share;

pub use self::clock::FairClock;
pub use self::queue::{FairQueue, QueuePosition};
pub(crate) use self::share::{FlowShares, fair_share};
