//! The harness of the end-to-end tests: the real server, in this process or as one of its own, on
//! port 0; and, from `guerdon-testing`, a scripted judge endpoint and bounded waiting.
//!
//! | File | Contents |
//! |---|---|
//! | `server.rs` | a server in this process, with a configuration and files of its own |
//! | `process.rs` | `guerdon serve` as a process, with a configuration and files of its own |
//! | `judged.rs` | a judge for such a process, whose verdict depends on the dialogue |
//! | `fuzzed/` | entry points of the fuzz targets |
//! | `wire.rs` | HTTP/1.1 over a raw socket |

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a harness fails by panicking"
)]

pub mod fuzzed;
mod judged;
mod process;
mod server;
mod wire;

use std::time::Duration;

pub use guerdon_testing::{JudgeReply, StandInJudge, wait_until, wait_until_blocking};
pub use judged::JudgeThread;
pub use process::{GuerdonProcess, ProcessSetup, exchange};
pub use server::{Reply, Server, http_client, repository};
pub use wire::{WireConnection, WireReply, wire_request};

/// The time limit of a wait for the server in an end-to-end test.
pub const WAIT_LIMIT: Duration = Duration::from_secs(30);
