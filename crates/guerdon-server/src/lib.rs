//! Opens the door: HTTP, configuration, reload, telemetry, shutdown. It holds no arithmetic; the binary is guerdon-cli's.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use guerdon_server::config::{ConfigSource, ProcessEnvironment};
//! use guerdon_server::{Engine, start};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let file = Some("guerdon.toml".into());
//! let source = ConfigSource { file, environment: Arc::new(ProcessEnvironment), overrides: Vec::new() };
//! let running = start(Engine::load(source)?).await?;
//! println!("http://{}", running.address);
//! running.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! | file | what |
//! |---|---|
//! | `config/` | what can be configured, and how it is read: file < environment < flags |
//! | `secrets.rs`, `auth.rs` | tokens and keys; who may ask |
//! | `sources.rs` | from configuration to profiles: the only list of source kinds |
//! | `sources/` | models and judges, kept over reloads |
//! | `texts.rs`, `file_set.rs` | packs and prompts from disk; the files of one load, each read once |
//! | `snapshot.rs` | configuration, profiles and tokens of one generation |
//! | `engine.rs` | what serves, how to replace it, how to score on it |
//! | `candidate.rs` | the snapshot that serves and a candidate on trial; which of them scores a request |
//! | `context.rs` | the context of one request: what served when it arrived, and who sent it |
//! | `credentials.rs` | where a token may stand in a request |
//! | `caller.rs`, `inbound.rs` | who calls, as far as fairness needs to know; how often they may |
//! | `batch.rs`, `scored.rs`, `advantages.rs` | one request's rollouts side by side; group advantages on the way out |
//! | `observed.rs`, `metrics.rs`, `telemetry.rs` | what is watched, around the sources |
//! | `vigil.rs` | judges asked what is known; what their points follow |
//! | `app.rs`, `state.rs`, `extract.rs`, `body.rs`, `problem.rs` | routes and layers, extractors, problem bodies |
//! | `routes/` | one file a noun |
//! | `reload.rs`, `trigger.rs`, `folder_watch.rs` | triggers (file events, poll, SIGHUP, POST) to one load; which folders are watched |
//! | `serve.rs` | start and stop |

mod advantages;
mod app;
mod auth;
mod batch;
mod body;
mod caller;
mod candidate;
pub mod config;
mod context;
mod credentials;
mod engine;
mod error;
mod extract;
mod file_set;
mod folder_watch;
mod inbound;
mod metrics;
mod observed;
mod problem;
mod reload;
mod routes;
mod scored;
pub mod secrets;
mod serve;
mod snapshot;
mod sources;
mod state;
mod telemetry;
pub mod texts;
mod trigger;
mod vigil;

pub use app::openapi_json;
pub use auth::{Auth, Open};
pub use batch::Batch;
pub use engine::{Engine, NothingBefore, NothingOnTrial};
pub use error::LoadError;
pub use metrics::Metrics;
pub use scored::Scored;
pub use serve::{Running, StartError, start};
pub use snapshot::{Profile, Snapshot};
pub use telemetry::{BadFilter, install as install_telemetry};
