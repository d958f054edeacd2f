//! Packs compiled to a plan, and the plan run on a turn.
//!
//! | File or folder | Contents |
//! |---|---|
//! | `compile/` | Packs become a plan |
//! | `plan.rs`, `compiled_rule.rs` | The plan and its rules |
//! | `needles.rs`, `scan.rs` | The targets of all rules, and one scan of a text for them |
//! | `scan_limit.rs` | Stops an evaluation at a deadline or by a flag |
//! | `prefilter.rs` | Selects the rules that can hit a text |
//! | `pattern/` | A regex, tried only where it can match |
//! | `expr/` | `where` expressions |
//! | `checks/` | Length, repetition, language, markup, arithmetic |
//! | `eval/` | One turn against all rules |
//! | `examples.rs` | A rule's examples, run when its pack loads |
//! | `lint/` | Warnings for authors |

pub(crate) mod checks;
pub(crate) mod compile;
pub(crate) mod compiled_rule;
pub(crate) mod eval;
pub(crate) mod examples;
pub(crate) mod expr;
pub(crate) mod lint;
pub(crate) mod needles;
pub(crate) mod pattern;
pub(crate) mod plan;
pub(crate) mod prefilter;
pub(crate) mod scan;
pub(crate) mod scan_limit;
