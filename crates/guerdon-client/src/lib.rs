//! What a training loop imports: guerdon's words, an HTTP client that scores batches of any size, and [`optim`], the
//! arithmetic that turns rewards into advantages and losses.
//!
//! ```
//! use guerdon_client::{Client, Message, Role, Rollout, ScoreRequest};
//!
//! # use axum::{Json, Router, routing::post};
//! # use serde_json::json;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let url = format!("http://{}", listener.local_addr()?);
//! # let reply = json!({"request_id": "q-1", "results": [{"id": "0", "reward": 1.25, "turns": []}], "usage": {
//! #     "judge_calls": 0, "judge_cache_hits": 1, "prompt_tokens": 0, "completion_tokens": 0, "cost": 0.0},
//! #     "versions": {"profile": "hotel", "fusion": {}, "generation": 1}});
//! # let app = Router::new().route("/v1/score", post(async move || Json(reply)));
//! # let mut server = tokio::task::JoinSet::new();
//! # server.spawn(async move { axum::serve(listener, app).await });
//! let client = Client::builder(url).profile("hotel").build()?;
//! let rollout = Rollout {
//!     messages: vec![
//!         Message::new(Role::User, "480 is our best price."),
//!         Message::new(Role::Assistant, "Could we meet at 420?"),
//!     ],
//!     ..Rollout::default()
//! };
//! let scored = client.score(&ScoreRequest { rollouts: vec![rollout], ..ScoreRequest::default() }).await?;
//! assert_eq!(scored.rewards(), [Some(1.25)]);
//! # Ok(())
//! # }
//! ```
//!
//! From there to an update is [`Scored::feedback`]; code without a runtime has [`blocking`], a server that is away
//! [`Queue`], and a loop that would rather not wait for the slowest rollout [`Client::stream`].
//!
//! | file | what |
//! |---|---|
//! | `client.rs` | the calls: score, stream, info, ready |
//! | `config.rs` | how a client is set up, and the defaults |
//! | `chunk.rs` | where a batch may be cut without changing a number |
//! | `scored.rs` | the results of all chunks, and which versions made each |
//! | `stream.rs` | results as they become final |
//! | `blocking.rs` | the same calls for code without a runtime |
//! | `feedback.rs` | from rewards to what [`optim::Repo::step`] takes |
//! | `queue.rs` | requests that wait on disk while the server is away |
//! | `version.rs` | whether server and client speak the same wire |
//! | `call.rs` | one HTTP exchange |
//! | `retry.rs` | when to ask again, and how long to wait before |
//! | `error.rs` | what can go wrong |

pub mod blocking;
mod call;
mod chunk;
mod client;
mod config;
mod error;
mod feedback;
mod queue;
mod retry;
mod scored;
mod stream;
#[cfg(test)]
mod testing;
mod version;

pub use client::Client;
pub use config::ClientBuilder;
pub use error::Error;
pub use feedback::{Abstaining, Feedback};
pub use guerdon_optim as optim;
pub use guerdon_types::{
    AbstainWhy, Abstained, AdvantagesRequest, Aggregate, Calibration, Context, CriterionVerdict,
    Finite, FusionConfig, FusionMethod, FusionPatch, GroupId, Info, InnerMethod, Invalid,
    InvalidFusion, JudgePart, Limits, Message, NamedTurns, NotFinite, OnAbstain, OtherPart,
    Problem, ProblemCode, ProfileInfo, ProfileName, RequestId, RmPart, Role, Rollout, RolloutId,
    RolloutResult, RuleAbstained, RuleHit, RulesPart, ScoreRequest, ScoreResponse, ScoreTurns,
    SourceId, SourceInfo, StreamLine, StreamSummary, StreamedResult, TurnResult, Usage, Versions,
    Weights,
};
pub use queue::{Queue, Ticket};
pub use scored::Scored;
pub use stream::ScoreStream;
