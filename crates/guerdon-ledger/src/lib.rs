//! The record of what was scored: every rollout with its reward, the parts of its sources, their
//! abstentions, and the versions behind them.
//!
//! ```
//! use std::sync::Arc;
//!
//! use guerdon_ledger::{
//!     Labels, LedgerReader, RolloutFilter, RolloutRecord, SqliteStore, Texts,
//! };
//! use guerdon_types::{FusionConfig, Rollout, RolloutResult, Usage, Versions};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("ledger.sqlite");
//! let mut store = SqliteStore::open(&path, Texts::Full)?;
//!
//! let rollout: Rollout = serde_json::from_str(
//!     r#"{"messages": [{"role": "assistant", "content": "480 is fine."}]}"#,
//! )?;
//! let result: RolloutResult = serde_json::from_str(
//!     r#"{"id": "r-17", "reward": 0.5, "turns": []}"#,
//! )?;
//! let labels = Labels { run: Some("exp-12".into()), step: Some(140), split: None };
//! store.append(&[RolloutRecord {
//!     recorded_ms: 1_796_000_000_000,
//!     request_id: "request".into(),
//!     labels: Arc::new(labels),
//!     attempt: None,
//!     sample: None,
//!     versions: Arc::new(Versions::new("hotel".into(), FusionConfig::default(), 1)),
//!     rollout: rollout.into(),
//!     result: result.clone(),
//!     usage: Usage::default(),
//!     scoring_ms: None,
//! }])?;
//!
//! let filter = RolloutFilter { run: Some("exp-12".into()), ..RolloutFilter::default() };
//! let found = LedgerReader::open(&path)?.rollouts(&filter, 10)?;
//! assert_eq!(found[0].result, result);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | file | content |
//! |---|---|
//! | `config.rs` | settings |
//! | `database_url.rs` | the URL of a database, shown without its password |
//! | `record.rs` | a scored rollout on its way into the ledger |
//! | `schema.rs` | the tables |
//! | `prepare.rs` | the rows of a record: texts are written, hashed and compressed |
//! | `flat.rs` | the rows of turns, parts and components |
//! | `texts.rs` | removes quotes and explanations from a result |
//! | `sums.rs` | sums by run, step, split, profile and digest |
//! | `store/` | databases: opens and writes them |
//! | `queue.rs` | the bounded queue before the writer, and counts |
//! | `writer.rs` | the thread that writes |
//! | `filter.rs` | selection of rollouts |
//! | `reader.rs` | reads rollouts back |
//! | `any_reader.rs` | reads a ledger of either kind, by its place |
//! | `read/` | queries of screens: rollouts in short, runs and profiles |
//! | `error.rs` | errors |

mod any_reader;
mod config;
mod database_url;
mod error;
mod filter;
mod flat;
mod prepare;
mod queue;
mod read;
mod reader;
mod record;
pub mod schema;
mod store;
mod sums;
mod texts;
mod writer;

pub use any_reader::{ReadRollouts, is_database, open_reader};
pub use config::{LedgerConfig, OnFull, Texts};
pub use database_url::DatabaseUrl;
pub use error::Error;
pub use filter::RolloutFilter;
pub use queue::LedgerCounts;
pub use read::{RolloutRow, RunRow, SourceRow, TurnSums};
pub use reader::{LedgerReader, StoredRollout};
pub use record::{Labels, RolloutRecord, SharedRollout};
pub use store::{PostgresReader, PostgresStore, Retention, SqliteStore};
pub use writer::{LedgerWriter, now_ms};
