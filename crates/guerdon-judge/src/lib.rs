//! Reward source: an LLM judge behind an OpenAI-compatible endpoint (paper: RJ).
//!
//! Identical questions are asked once, within the endpoint's limits and budgets. A question that
//! cannot be answered abstains with a reason.
//!
//! ```
//! use guerdon_judge::{Prompts, SourceText};
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
//! You judge one turn of a negotiation.
//! {% for c in criteria %}{{ c.id }}: {{ c.about }} {% endfor %}
//! ## user
//! {{ dialogue }}
//! {{ turn }}
//! "#;
//! let texts = [SourceText::new("answers.md", text)];
//! let (prompts, report) = Prompts::compile(&texts)?;
//! assert!(report.diagnostics().is_empty());
//! assert!(prompts.versions()["answers"].starts_with("sha256:"));
//!
//! let misspelt = text.replace("points = -20", "pints = -20");
//! let texts = [SourceText::new("answers.md", misspelt)];
//! let report = Prompts::compile(&texts).unwrap_err();
//! assert!(report.to_string().contains("did you mean `points`?"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | File or folder | Contents |
//! |---|---|
//! | `config/` | an endpoint's configuration |
//! | `rubric/` | judge prompts: criteria and levels, front matter, templates, versions, the set that is asked |
//! | `ask/` | one question: the case, its key, the rendered messages, the answer that is read, the points |
//! | `store/` | cached answers in memory and on disk, budgets, the audit log, events for metrics |
//! | `call/` | attempts, retries, hedges, capabilities, the wire format and its transport |
//! | `quality/` | probes, calibration against people, drift, preview and explanation for authors, new points on stored verdicts |
//! | `endpoint/` | one judge: cache before limits, limits before calls, then the fallback |
//! | `source/` | judges and rubrics as a reward source, of single replies and of groups |
//! | `error.rs` | configurations that cannot work |

mod ask;
mod call;
mod config;
mod endpoint;
mod error;
mod quality;
mod rubric;
mod source;
mod store;

pub use ask::verdict::Pooling;
pub use call::services::{KeyPlace, Services};
pub use call::transport::{Transport, TransportError, TransportReply};
pub use config::{
    AuditConfig, BudgetConfig, CacheConfig, CacheMode, CassetteConfig, CassetteMode,
    EndpointConfig, KeyHeader, ReplicaConfig, ResponseFormat, Seal, TokenCounting, TokenLimit,
    TokenPrices,
};
pub use endpoint::{Endpoint, JudgeStatus};
pub use error::{Error, StoreError};
pub use guerdon_queue::{AddressState, AddressStatus, AdmissionStatus};
pub use guerdon_text::{Diagnostic, Report, Severity, SourceText};
pub use quality::calibrate::{
    BootstrapEstimate, CalibrationReport, CriterionCalibration, Gold, GoldError, LabelAgreement,
};
pub use quality::drift::DriftReport;
pub use quality::explain::{ExplainedAbstention, ExplainedBallot, ExplainedLevel, Explanation};
pub use quality::preview::{Preview, PreviewError};
pub use quality::probes::{ProbeKind, ProbeOutcome};
pub use quality::rescore::{RescoreReport, RescoredCriterion, RescoredLevel, Rescorer};
pub use rubric::CriterionKind;
pub use rubric::prompts::{PromptSummary, Prompts};
pub use rubric::request::{RequestRubrics, RubricMode};
pub use source::JudgeSource;
pub use store::cache::{PromptStats, Purge, Store, StoreStats};
pub use store::event::{CallEvent, CallOutcome, JudgeReply};
