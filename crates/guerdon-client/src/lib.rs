//! The client library of a training loop: request and response types, an HTTP client that scores
//! batches of any size, and [`optim`], which turns rewards into advantages and losses.
//!
//! ```
//! use guerdon_client::{Client, Message, Role, Rollout, ScoreRequest};
//!
//! # use guerdon_testing::{ServerReply, StandInServer};
//! # use serde_json::json;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let reply = json!({
//! #     "request_id": "q-1",
//! #     "results": [{"id": "0", "reward": 1.25, "turns": []}],
//! #     "versions": {"profile": "hotel", "fusion": {}, "generation": 1},
//! #     "usage": {"judge_calls": 0, "judge_cache_hits": 1, "prompt_tokens": 0,
//! #         "completion_tokens": 0, "cost": 0.0},
//! # });
//! # let server = StandInServer::start([ServerReply::body(200, reply.to_string())]).await;
//! # let url = server.url();
//! let client = Client::builder(url).profile("hotel").build()?;
//! let rollout = Rollout {
//!     messages: vec![
//!         Message::new(Role::User, "480 is our best price."),
//!         Message::new(Role::Assistant, "Could we meet at 420?"),
//!     ],
//!     ..Rollout::default()
//! };
//! let request = ScoreRequest { rollouts: vec![rollout], ..ScoreRequest::default() };
//! let scored = client.score(&request).await?;
//! assert_eq!(scored.rewards(), [Some(1.25)]);
//! # Ok(())
//! # }
//! ```
//!
//! [`ScoredBatch::feedback`] prepares an update. [`blocking`] is for code without an async runtime,
//! [`RequestQueue`] keeps requests on disk while the server is down, and [`Client::stream`] returns
//! each result as soon as it is final.
//!
//! | file | content |
//! |---|---|
//! | `client.rs` | the calls: score, info, ready |
//! | `config.rs` | the settings of a client, with their defaults |
//! | `chunk.rs` | splits a batch into requests without changing a number |
//! | `scored_batch.rs` | the joined results of all chunks, with the versions that made each |
//! | `stream.rs` | the call stream: results as they become final, also across a restart of the server |
//! | `stream_lines.rs` | one streamed reply, line by line |
//! | `blocking.rs` | the same calls for code without an async runtime |
//! | `feedback.rs` | converts results to the input of [`optim::Repo::step`] |
//! | `request_queue.rs` | requests on disk, for a server that is down |
//! | `queue_claim.rs` | claims, so that several scorers share a queue |
//! | `version.rs` | compares the versions of client and server |
//! | `call.rs` | one HTTP exchange |
//! | `servers/` | replicas: the order by group, health, retries on another server |
//! | `retry.rs` | retries with backoff within a deadline |
//! | `error.rs` | the error type |

pub mod blocking;
mod call;
mod chunk;
mod client;
mod config;
mod error;
mod feedback;
mod queue_claim;
mod request_queue;
#[cfg(test)]
mod restart_tests;
mod retry;
mod scored_batch;
mod servers;
mod stream;
mod stream_lines;
mod version;

pub use client::Client;
pub use config::ClientBuilder;
pub use error::Error;
pub use feedback::{Feedback, UnscoredPolicy};
pub use guerdon_optim as optim;
pub use guerdon_types::{
    AbstainReason, AbstainWhy, Abstention, AdvantagesRequest, Aggregate, Calibration, ConfigDigest,
    Context, CriterionVerdict, Expectation, Finite, FusionConfig, FusionMethod, FusionPatch,
    GroupId, IncomparableGroup, Info, InnerMethod, Invalid, InvalidDigest, InvalidFusion,
    JudgePart, Limits, Message, MessagesRead, MissingSource, NamedTurns, NotFinite, OnAbstain,
    OtherPart, Problem, ProblemCode, ProfileInfo, ProfileName, ReportedCalibration, ReportedFusion,
    RequestId, RmPart, Role, Rollout, RolloutId, RolloutResult, RuleAbstention, RuleHit, RulesPart,
    ScoreRequest, ScoreResponse, ScoreTurns, SourceId, SourceInfo, StreamLine, StreamSummary,
    StreamedResult, SuppressedMatch, TurnResult, Usage, Versions, Vocabulary, Weights, Word,
};
pub use queue_claim::TicketClaim;
pub use request_queue::{RequestQueue, Ticket};
pub use scored_batch::ScoredBatch;
pub use stream::ScoreStream;
