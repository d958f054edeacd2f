//! The harness of the end-to-end tests: the real server, in this process, on port 0; and a judge endpoint that answers
//! what a test tells it to (a stand-in for an LLM, and named one).
//!
//! | file | what |
//! |---|---|
//! | `server.rs` | a server with a configuration and files of its own |
//! | `judge.rs` | the stand-in judge |

#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a harness fails by panicking")]

mod judge;
mod server;

pub use judge::{Answer, StandInJudge};
pub use server::{Reply, Server, http_client, repository};
