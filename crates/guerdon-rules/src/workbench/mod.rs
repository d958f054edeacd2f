//! Tools for rule authors: examples as tests, the effect of an edit, the cost of rules, formatting,
//! first drafts.

mod cost;
mod diff;
mod draft;
mod example_runner;
mod format;

pub use cost::RuleCost;
pub use diff::{Diff, HitChange, RuleChange, TurnChange};
pub use draft::{DraftInput, draft};
pub use example_runner::{ExampleResult, junit, tap};
pub use format::format;
