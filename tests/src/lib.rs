//! The harness of the end-to-end tests: the real server, in this process, on port 0; and a
//! scripted judge endpoint, which stands in for an LLM.
//!
//! | File | Contents |
//! |---|---|
//! | `server.rs` | a server with a configuration and files of its own |
//! | `judge.rs` | the scripted judge |
//! | `wait.rs` | a bounded wait for a condition |

#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a harness fails by panicking")]

mod judge;
mod server;
mod wait;

pub use judge::{Answer, StandInJudge};
pub use server::{Reply, Server, http_client, repository};
pub use wait::wait_until;
