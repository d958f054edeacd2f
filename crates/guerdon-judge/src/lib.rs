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
//! | `config.rs` | an endpoint's configuration |
//! | `prompt.rs` | rubrics, and the set that is asked |
//! | `preview.rs` | what a judge would be sent, for authors |
//! | `parse.rs` | a prompt file's front matter |
//! | `report.rs` | errors and warnings, with the line quoted |
//! | `render.rs` | rubric and dialogue to messages; the policy's words kept in their block |
//! | `schema.rs` | the form of an answer |
//! | `verdict.rs` | answer to findings to points |
//! | `source.rs` | the judge as a reward source |
//! | `endpoint.rs` | one endpoint: cache, then limits, then calls |
//! | `key.rs` | when two questions are the same |
//! | `cache.rs` | answers kept; one call per question |
//! | `patience.rs` | how long the first asker waits |
//! | `limit.rs` | concurrency, rate, pauses |
//! | `call.rs` | attempts, repeats, re-asks |
//! | `offer.rs` | what the endpoint is believed to accept |
//! | `retry.rs` | what a failed attempt means, and how long to wait |
//! | `wire.rs` | chat completions as servers really speak them |
//! | `error.rs` | a configuration that cannot work |

mod cache;
mod call;
mod config;
mod endpoint;
mod error;
mod key;
mod limit;
mod offer;
mod parse;
mod patience;
mod preview;
mod prompt;
mod render;
mod report;
mod retry;
mod schema;
mod source;
mod verdict;
mod wire;

pub use call::{CallEvent, OUTCOMES};
pub use config::{CacheConfig, EndpointConfig, Prices, ResponseFormat, TokenLimit};
pub use endpoint::Endpoint;
pub use error::Error;
pub use preview::{Preview, PreviewError};
pub use prompt::{Kind, PromptSummary, PromptText, Prompts};
pub use report::{Diagnostic, Report, Severity};
pub use source::JudgeSource;
