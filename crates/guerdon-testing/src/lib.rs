//! A scripted judge, a scripted guerdon server, a collector of traces, databases and `wait_until`,
//! for tests only.
//!
//! The stand-ins are HTTP servers on a port of the loopback interface. They answer from a script,
//! record all requests, and stop when they are dropped. Everything here fails by panicking.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use std::time::Duration;
//!
//! use guerdon_testing::{JudgeReply, StandInJudge, wait_until};
//!
//! let judge = StandInJudge::start([JudgeReply::content("no")]).await;
//! let url = format!("{}/chat/completions", judge.url());
//! # rustls::crypto::ring::default_provider().install_default().unwrap();
//! reqwest::Client::new().post(url).body("{}").send().await.unwrap();
//! assert_eq!(judge.calls(), 1);
//!
//! wait_until("the judge has been called", Duration::from_secs(5), async || judge.calls() == 1)
//!     .await;
//! # });
//! ```
//!
//! | File | Contents |
//! |---|---|
//! | `judge.rs` | [`StandInJudge`], an OpenAI-compatible endpoint, and [`JudgeReply`], a line of its script |
//! | `listed.rs` | [`listed_replies`], the replies of a group in a question, and [`listed_verdict`] and [`paired_verdict`], answers |
//! | `server.rs` | [`StandInServer`], a guerdon server, and [`ServerReply`], a line of its script |
//! | `otlp.rs` | [`StandInCollector`], an OpenTelemetry collector, and [`ReceivedSpan`] |
//! | `postgres.rs` | [`PostgresServer`], a database, and [`TableLock`] |
//! | `redis.rs` | [`RedisServer`], a coordination store, and [`CuttableNetwork`] before it |
//! | `batch.rs` | Score requests with known rewards, and the replies to them |
//! | `wait.rs` | [`wait_until`] and [`wait_until_blocking`]: bounded polling |

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "test support reports every failure by panicking"
)]

mod batch;
mod judge;
mod listed;
mod otlp;
#[cfg(unix)]
mod postgres;
mod redis;
mod server;
mod wait;

pub use batch::{numbered_batch, score_response, stream_lines};
pub use judge::{JudgeReply, StandInJudge};
pub use listed::{listed_replies, listed_verdict, paired_verdict};
pub use otlp::{ReceivedSpan, StandInCollector};
#[cfg(unix)]
pub use postgres::{PostgresServer, TableLock};
pub use redis::{CuttableNetwork, RedisServer};
pub use server::{ReceivedRequest, ServerReply, StandInServer};
pub use wait::{wait_until, wait_until_blocking};

/// A client whose TLS provider is installed, which building it requires.
#[cfg(test)]
fn http_client() -> reqwest::Client {
    // The provider may be installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}
