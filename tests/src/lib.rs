//! The harness of the end-to-end tests: the real server, in this process, on port 0; and, from
//! `guerdon-testing`, a scripted judge endpoint and bounded waiting.
//!
//! | File | Contents |
//! |---|---|
//! | `server.rs` | a server with a configuration and files of its own |

#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a harness fails by panicking")]

mod server;

use std::time::Duration;

pub use guerdon_testing::{JudgeReply, StandInJudge, wait_until};
pub use server::{Reply, Server, http_client, repository};

/// The time limit of a wait for the server in an end-to-end test.
pub const WAIT_LIMIT: Duration = Duration::from_secs(30);
