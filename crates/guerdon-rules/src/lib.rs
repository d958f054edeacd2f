//! A reward source: declarative rule packs, each rule with its points and its examples, compiled once and run on a turn
//! in microseconds. (paper: RF)
//!
//! ```
//! use guerdon_rules::{PackText, RulePacks};
//! use guerdon_types::{Message, Role, Rollout};
//!
//! let text = "
//! pack: guardrails
//! about: What a negotiator must never say.
//! rules:
//!   - id: internal-words
//!     about: Internal terms must not reach the partner.
//!     points: -20
//!     match: { any_of: ['工单', 'work order'] }
//!     examples: { hits: ['按工单，只能到420'], misses: ['我们再商量一下价格'] }
//! ";
//! let pack = PackText { name: "guardrails.yaml".into(), text: text.into() };
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
//! | file | what |
//! |---|---|
//! | `packs.rs` | the compiled packs: the crate's door |
//! | `source.rs` | the packs as a reward source |
//! | `yaml.rs`, `fields.rs` | YAML with places; mappings read key by key |
//! | `pack_text.rs`, `pack.rs`, `schema.rs` | a pack as written, and as read; its JSON Schema for editors |
//! | `parse.rs`, `parse/test.rs` | YAML to a pack |
//! | `compile.rs`, `compile/`, `occasion.rs` | packs to a plan, and for whom |
//! | `plan.rs`, `rule.rs`, `trigger.rs` | what runs: rules, and which of them a text can hit at all |
//! | `needles.rs`, `scan.rs`, `literals.rs`, `present.rs` | what all rules look for, and one scan of a text for it |
//! | `pattern.rs`, `pattern/` | a regex, tried only where it can match |
//! | `lint.rs`, `examples.rs` | what an author should look at; the examples, run at load |
//! | `report.rs` | errors like a compiler's |
//! | `normalise.rs`, `normalise/` | folding, with the way back |
//! | `number.rs`, `near.rs`, `checks.rs`, `expr.rs` | numbers with units; words near; length, repetition, language; `where` |
//! | `eval.rs`, `eval/` | one turn against all rules |
//! | `workbench.rs`, `workbench/` | what an author asks besides running packs |
//! | `reference.rs` | the rules run naively, which the engine is held to |

mod checks;
mod compile;
mod eval;
mod examples;
mod expr;
mod fields;
mod lint;
mod literals;
mod near;
mod nearest;
mod needles;
mod normalise;
mod number;
mod occasion;
mod pack;
mod pack_text;
mod packs;
mod parse;
mod pattern;
mod plan;
mod present;
#[cfg(any(test, feature = "reference"))]
#[doc(hidden)]
pub mod reference;
mod report;
mod rule;
mod scan;
mod schema;
mod source;
mod span_index;
mod steps;
mod trigger;
mod workbench;
mod yaml;

pub use eval::Evaluation;
pub use normalise::fold;
pub use pack_text::PackText;
pub use packs::{PackSummary, RulePacks, RuleSummary};
pub use report::{Diagnostic, Report, Severity};
pub use schema::json_schema;
pub use source::RulesSource;
pub use workbench::{
    BadCase, Change, Diff, ExampleResult, RuleChange, RuleCost, TurnChange, draft, format, junit,
    tap,
};
