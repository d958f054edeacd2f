//! Sources against scripted servers on the loopback interface.

#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking, and its numbers are exact"
)]

mod batches;
mod faults;
mod recorded;
mod server;
