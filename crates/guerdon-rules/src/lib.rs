//! A reward source of declarative rule packs. Each rule has points and examples. Packs are compiled
//! once and evaluated on a turn in microseconds. (paper: RF)
//!
//! ```
//! use guerdon_rules::{SourceText, RulePacks};
//! use guerdon_types::{Message, Role, Rollout};
//!
//! let text = "
//! pack: guardrails
//! about: Forbids statements that a negotiator must never make.
//! rules:
//!   - id: internal-words
//!     about: Internal terms must not reach the partner.
//!     points: -20
//!     match: { any_of: ['工单', 'work order'] }
//!     examples: { hits: ['按工单，只能到420'], misses: ['我们再商量一下价格'] }
//! ";
//! let pack = SourceText { name: "guardrails.yaml".into(), text: text.into() };
//! let (packs, lints) = RulePacks::compile(&[pack])?;
//! assert!(lints.is_empty());
//!
//! let messages = vec![Message::new(Role::Assistant, "Our Ｗork\u{200b} Order says 420.")];
//! let part = packs.evaluate(&Rollout { messages, ..Rollout::default() }, 0);
//! assert_eq!(part.points.get(), -20.0);
//! assert_eq!(part.hits[0].spans, [[4, 15]]);
//! # Ok::<(), guerdon_rules::Report>(())
//! ```
//!
//! | File or folder | Contents |
//! |---|---|
//! | `packs.rs` | [`RulePacks`], the compiled packs |
//! | `source.rs` | [`RulesSource`], the packs as a reward source |
//! | `syntax/` | Packs as text: YAML, reading, JSON Schema, diagnostics |
//! | `text/` | A message prepared for rules: folding, literals, numbers |
//! | `engine/` | Packs compiled to a plan, and the plan run on a turn |
//! | `workbench/` | An author's tools: examples as tests, diff, cost, format, draft, labels |
//! | `reference/` | A naive engine that tests compare the real one with |
//! | `linear_time.rs` | The test that no input takes quadratic work |

mod engine;
#[cfg(test)]
mod linear_time;
mod packs;
#[cfg(any(test, feature = "reference"))]
#[doc(hidden)]
pub mod reference;
mod source;
mod syntax;
mod text;
mod workbench;

pub use guerdon_text::{Diagnostic, Fix, FixRange, Report, Severity, SourceText};

pub use engine::compile::WorkBounds;
pub use engine::eval::Evaluation;
pub use engine::scan_limit::ScanLimit;
pub use packs::{PackSummary, RulePacks, RuleSummary};
pub use source::RulesSource;
pub use syntax::files::{PackFiles, PackFilesRef, UnreadableFile};
pub use syntax::imports::imports;
pub use syntax::schema::json_schema;
pub use text::normalise::fold;
pub use workbench::{
    Diff, DraftInput, ExampleResult, FormatChanges, FormattedPack, GroupChange, HitChange,
    LabelCounts, LabelledRollout, NumberReading, RankChange, RecordedParts, RuleChange, RuleCost,
    RuleMeasure, RuleMeasures, ShareEstimate, TurnChange, TurnLabels, draft, folded_pattern,
    format, format_pack, junit, read_numbers, tap,
};
