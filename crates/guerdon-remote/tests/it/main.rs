//! Sources against scripted servers on the loopback interface.

mod batches;
mod faults;
mod recorded;
mod server;
