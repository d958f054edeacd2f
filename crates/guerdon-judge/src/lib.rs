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
//! | **Prompts** | |
//! | `rubric.rs` | criteria, levels, points, how they are asked |
//! | `parse.rs`, `parse/criteria.rs`, `parse/examples.rs` | a prompt file's front matter |
//! | `template.rs` | and its body |
//! | `seal.rs` | a version and the text that it names |
//! | `report.rs` | errors and warnings, with the line quoted |
//! | `prompts.rs` | the set that is asked |
//! | `preview.rs` | what a judge would be sent, for authors |
//! | **Questions** | |
//! | `text.rs` | an adversary's words, as they may be shown |
//! | `case.rs` | a turn to be judged, folded and hashed once |
//! | `question.rs` | what is asked about a case; the same in words |
//! | `key.rs`, `digest.rs` | when two questions are the same |
//! | `order.rs` | the order in which criteria are asked |
//! | `nonce.rs` | the secret name of a judged block |
//! | `render.rs` | rubric and case to messages; the policy's words kept in their block |
//! | `schema.rs` | the form of an answer |
//! | **Answers** | |
//! | `read.rs` | from an answer to findings |
//! | `expected.rs` | one letter, and its probabilities |
//! | `verdict.rs` | from findings to points |
//! | `source.rs` | the judge as a reward source |
//! | `drift.rs` | what the points look like from a distance |
//! | `probes.rs` | questions whose answer is known |
//! | `calibrate/mod.rs` | agreement with people, and with itself |
//! | `calibrate/gold.rs`, `agreement.rs`, `svg.rs` | what people said; kappa; a picture |
//! | **Calls** | |
//! | `endpoint.rs` | one endpoint: what is known, then limits, then calls |
//! | `answer.rs` | what comes of a question |
//! | `cache/mod.rs` | answers kept; one call per question |
//! | `cache/store.rs` | answers on disk, beyond a restart |
//! | `cache/maintain.rs` | what a store holds: statistics, export, import, purge |
//! | `cache/cassette.rs` | a run on tape: recorded, replayed |
//! | `call.rs` | attempts, repeats, re-asks |
//! | `attempt.rs` | one attempt, perhaps with a second beside it |
//! | `hedge.rs` | when a second attempt is worth it |
//! | `reasoning.rs` | less of it, where it left no room for an answer |
//! | `patience.rs` | how long the first asker waits |
//! | `upstream.rs` | one address of several |
//! | `offer.rs` | what it is believed to accept |
//! | `wire.rs` | chat completions as servers really speak them |
//! | `transport.rs` | HTTP, or whatever else carries a question |
//! | `retry.rs` | what a failed attempt means, and how long to wait |
//! | `limit/mod.rs`, `state.rs` | the fair queue in front of an address |
//! | `limit/window.rs` | a quota of requests or tokens |
//! | `limit/aimd.rs` | how many attempts at once |
//! | `limit/breaker.rs` | an address that fails is left alone |
//! | `limit/headers.rs` | what endpoints say of their quotas |
//! | `estimate.rs` | tokens, before anybody has counted |
//! | `budget.rs` | what may be spent |
//! | `event.rs` | what is told of every attempt |
//! | `audit.rs`, `lines.rs` | one line an attempt, in a file that rotates |
//! | `services.rs` | what an endpoint needs beside its configuration |
//! | `error.rs` | a configuration that cannot work |

mod answer;
mod attempt;
mod audit;
mod budget;
mod cache;
mod calibrate;
mod call;
mod case;
mod config;
mod digest;
mod drift;
mod endpoint;
mod error;
mod estimate;
mod event;
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
mod prompts;
mod question;
mod read;
mod reasoning;
mod render;
mod report;
mod retry;
mod rubric;
mod schema;
mod seal;
mod services;
mod source;
mod template;
mod text;
mod transport;
mod upstream;
mod verdict;
mod wire;

pub use cache::{PromptStats, Purge, Store, StoreError, StoreStats};
pub use calibrate::{Calibrated, Calibration, Gold, GoldError, Measure};
pub use config::{
    AuditConfig, BudgetConfig, CacheConfig, CacheMode, CassetteConfig, CassetteMode,
    EndpointConfig, KeyHeader, Prices, ReplicaConfig, ResponseFormat, Seal, TokenCounting,
    TokenLimit,
};
pub use drift::DriftReport;
pub use endpoint::Endpoint;
pub use error::Error;
pub use event::{CallEvent, OUTCOMES};
pub use preview::{Preview, PreviewError};
pub use probes::{ProbeKind, ProbeOutcome};
pub use prompts::{PromptSummary, PromptText, Prompts};
pub use report::{Diagnostic, Report, Severity};
pub use rubric::Kind;
pub use services::{KeyPlace, Services};
pub use source::JudgeSource;
pub use transport::{Incoming, Transport, Undelivered};
pub use verdict::Pooling;
