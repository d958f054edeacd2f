//! The HTTP server: configuration, reload, scoring routes, telemetry and shutdown. The binary is in
//! guerdon-cli.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use guerdon_server::config::{ConfigSource, ProcessEnvironment};
//! use guerdon_server::{Engine, start};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let file = Some("guerdon.toml".into());
//! let environment = Arc::new(ProcessEnvironment);
//! let source = ConfigSource { file, environment, overrides: Vec::new() };
//! let running = start(Engine::load(source)?).await?;
//! println!("http://{}", running.address);
//! running.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! | File or folder | Contents |
//! |---|---|
//! | `config/` | every setting, and how it is read: file < environment < flags |
//! | `load/` | files and secrets that the configuration names; each file is read once per load |
//! | `engine/` | snapshot, candidate and sources; scoring a request; reload and rollback |
//! | `listener/` | accept loop: connections, their timeouts and limits |
//! | `http/` | routes, request context, authorization, bodies, problem replies |
//! | `watch/` | background tasks: reload on changes, monitor of the judges |
//! | `observe/` | metrics, logs, and the decorator around every source |
//! | `listen.rs` | the listening socket, bound before the models load |
//! | `serve.rs` | start and stop |
//! | `lru.rs` | a map that forgets what was not used for longest |
//! | `error.rs` | errors of loading |

pub mod config;
mod engine;
mod error;
mod http;
mod listen;
mod listener;
mod load;
mod lru;
mod observe;
mod serve;
mod watch;

pub use crate::http::auth::{Auth, OpenWithoutTokens};
pub use crate::http::{RunningViewer, openapi_json, view};
pub use engine::batch::{Batch, BatchResults};
pub use engine::group_report::GroupReport;
pub use engine::scored_rollout::ScoredRollout;
pub use engine::snapshot::{Profile, Snapshot};
pub use engine::{Engine, NoCandidate, NothingToRollBack};
pub use error::LoadError;
pub use listen::{BoundSocket, StartError};
pub use load::{secrets, texts};
pub use observe::metrics::Metrics;
pub use observe::telemetry::{
    InvalidLogFilter, Telemetry, TelemetryError, install as install_telemetry, install_logs,
};
pub use observe::traces::TraceError;
pub use serve::{RunningServer, start, start_on};
