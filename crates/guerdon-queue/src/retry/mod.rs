//! Waiting before a repeated request: own backoff, and delays that servers name.

mod backoff;
mod retry_after;

pub use self::backoff::Backoff;
pub use self::retry_after::{named_delay, parse_retry_after};
