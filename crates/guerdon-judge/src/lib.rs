//! Reward source: an LLM as judge, asked once per question, within its endpoint's limits; what it cannot say, it says in
//! writing (paper: RJ).
//!
//! ```
//! use guerdon_judge::{PromptText, Prompts};
//!
//! let text = r#"+++
//! id = "answers"
//! about = "Whether the reply answers the partner."
//! version = 1
//!
//! [[criteria]]
//! id = "ignores"
//! kind = "deduct"
//! about = "The reply passes over what the partner asked."
//! fails_empty = true
//! levels = [
//!   { name = "no", points = 0, anchor = "It answers." },
//!   { name = "yes", points = -20, anchor = "It does not." },
//! ]
//! +++
//! ## system
//! You judge one turn of a negotiation. {% for c in criteria %}{{ c.id }}: {{ c.about }} {% endfor %}
//! ## user
//! {{ dialogue }}
//! {{ turn }}
//! "#;
//! let texts = [PromptText { name: "answers.md".to_owned(), text: text.to_owned() }];
//! let (prompts, report) = Prompts::compile(&texts)?;
//! assert!(report.diagnostics().is_empty());
//! assert!(prompts.versions()["answers"].starts_with("sha256:"));
//!
//! let slip = text.replace("points = -20", "pints = -20");
//! let texts = [PromptText { name: "answers.md".to_owned(), text: slip }];
//! let report = Prompts::compile(&texts).unwrap_err();
//! assert!(report.to_string().contains("did you mean `points`?"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | file | what |
//! |---|---|
//! | `config/mod.rs` | an endpoint's configuration |
//! | `config/cache.rs`, `money.rs`, `wire.rs` | and its parts |
//! | `prompt.rs` | rubrics, and the set that is asked |
//! | `preview.rs` | what a judge would be sent, for authors |
//! | `parse.rs`, `parse/criteria.rs` | a prompt file's front matter |
//! | `report.rs` | errors and warnings, with the line quoted |
//! | `render.rs` | rubric and dialogue to messages; the policy's words kept in their block |
//! | `seal.rs` | a version and the text that it names |
//! | `examples.rs` | examples and probes of a rubric |
//! | `nonce.rs` | the secret name of a judged block |
//! | `order.rs` | the order in which criteria are asked |
//! | `schema.rs` | the form of an answer |
//! | `expected.rs` | one letter, and its probabilities |
//! | `read.rs` | from an answer to findings |
//! | `verdict.rs` | from findings to points |
//! | `source.rs` | the judge as a reward source |
//! | `calibrate/mod.rs` | agreement with people, and with itself |
//! | `calibrate/gold.rs`, `agreement.rs`, `svg.rs` | what people said; kappa; a picture |
//! | `drift.rs` | what the points look like from a distance |
//! | `probes.rs` | questions whose answer is known |
//! | `endpoint.rs` | one endpoint: cache, then limits, then calls |
//! | `key.rs` | when two questions are the same |
//! | `cache/mod.rs` | answers kept; one call per question |
//! | `cache/answer.rs` | an answer as it is kept |
//! | `cache/store.rs` | answers on disk, beyond a restart |
//! | `cache/maintain.rs` | what a store holds: statistics, export, import, purge |
//! | `cache/cassette.rs` | a run on tape: recorded, replayed |
//! | `lines.rs` | lines appended to a file by a thread |
//! | `patience.rs` | how long the first asker waits |
//! | `call.rs` | attempts, repeats, re-asks |
//! | `attempt.rs` | one attempt, perhaps with a second beside it |
//! | `upstream.rs` | one address of several |
//! | `limit/mod.rs`, `state.rs` | the fair queue in front of an address |
//! | `limit/window.rs` | a quota of requests or tokens |
//! | `limit/aimd.rs` | how many attempts at once |
//! | `limit/breaker.rs` | an address that fails is left alone |
//! | `limit/headers.rs` | what endpoints say of their quotas |
//! | `hedge.rs` | when a second attempt is worth it |
//! | `estimate.rs` | tokens, before anybody has counted |
//! | `budget.rs` | what may be spent |
//! | `audit.rs` | one line an attempt |
//! | `transport.rs` | HTTP, or whatever else carries a question |
//! | `services.rs` | what an endpoint needs beside its configuration |
//! | `offer.rs` | what the endpoint is believed to accept |
//! | `retry.rs` | what a failed attempt means, and how long to wait |
//! | `wire.rs` | chat completions as servers really speak them |
//! | `error.rs` | a configuration that cannot work |

mod attempt;
mod audit;
mod budget;
mod cache;
mod calibrate;
mod call;
mod config;
mod drift;
mod endpoint;
mod error;
mod estimate;
mod examples;
mod expected;
mod hedge;
mod key;
mod limit;
mod lines;
mod nonce;
mod offer;
mod order;
mod parse;
mod patience;
mod preview;
mod probes;
mod prompt;
mod read;
mod render;
mod report;
mod retry;
mod schema;
mod seal;
mod services;
mod source;
mod transport;
mod upstream;
mod verdict;
mod wire;

pub use cache::{PromptStats, Purge, Store, StoreError, StoreStats};
pub use calibrate::{Calibrated, Calibration, Gold, GoldError, Measure};
pub use call::{CallEvent, OUTCOMES};
pub use config::{
    AuditConfig, BudgetConfig, CacheConfig, CacheMode, CassetteConfig, CassetteMode, EndpointConfig,
    KeyHeader, Prices, ReplicaConfig, ResponseFormat, Seal, TokenCounting, TokenLimit,
};
pub use drift::DriftReport;
pub use endpoint::Endpoint;
pub use error::Error;
pub use preview::{Preview, PreviewError};
pub use probes::{ProbeKind, ProbeOutcome};
pub use prompt::{Kind, PromptSummary, PromptText, Prompts};
pub use report::{Diagnostic, Report, Severity};
pub use services::{KeyPlace, Services};
pub use source::JudgeSource;
pub use transport::{Incoming, Transport, Undelivered};
pub use verdict::Pooling;
