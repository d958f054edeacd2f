//! Reward sources behind HTTP: a function of the user, or a reward model on another server.
//!
//! [`HttpSource`] posts batches of dialogues and the turns to score, and reads one number, or an
//! abstention with a reason, for each turn. [`RemoteRmSource`] speaks the protocols of vLLM, SGLang,
//! text-embeddings-inference, Infinity, OpenRLHF, Triton (Open Inference Protocol), NeMo-Gym and
//! guerdon. A turn without a number abstains with a reason.
//!
//! ```
//! use guerdon_remote::{HttpSource, HttpSourceConfig};
//! use tokio_util::task::TaskTracker;
//!
//! let config = HttpSourceConfig::new("http://127.0.0.1:9001/score");
//! let source = HttpSource::new("pricing".into(), config, None, &TaskTracker::new());
//! assert!(source.is_ok());
//! ```
//!
//! | File or folder | Contents |
//! |---|---|
//! | `config/` | [`HttpSourceConfig`], [`RemoteRmConfig`], [`RmProtocol`], [`TurnCacheConfig`] |
//! | `ask/` | turns, their keys and answers; the cache; the collector of batches |
//! | `call/` | calls to the addresses of a service, their faults and retries |
//! | `function/` | [`HttpSource`]: requests and replies of a user's function |
//! | `reward_model/` | [`RemoteRmSource`]: chat templates, and one file for each protocol |
//! | `error.rs` | [`RemoteError`] |
//!
//! A turn passes these layers:
//!
//! | Layer | Place |
//! |---|---|
//! | memory: answers by content and by the version that the other side declares | `ask/cache.rs` |
//! | coalescing of equal turns, collecting of batches, deadline of each turn | `ask/collector.rs` |
//! | queue, limits, health of several addresses, retries | `call/endpoint.rs` |
//! | HTTP, with bounds on the reply | `call/transport.rs` |

mod ask;
mod call;
mod config;
mod error;
mod function;
mod reward_model;

pub use config::{HttpSourceConfig, RemoteRmConfig, RmProtocol, TurnCacheConfig};
pub use error::RemoteError;
pub use function::HttpSource;
pub use reward_model::RemoteRmSource;
