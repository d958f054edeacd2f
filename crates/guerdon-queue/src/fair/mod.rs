//! Start-time fair queueing: flows that wait for one resource share it by weight.

mod clock;
mod queue;

pub use self::clock::FairClock;
pub use self::queue::{FairQueue, QueuePosition};
