//! What a rule author asks of packs besides running them: the examples as tests, what an edit would change, what each
//! rule costs, a tidy file, a first draft.

mod cost;
mod diff;
mod draft;
mod example_runner;
mod format;

pub use cost::RuleCost;
pub use diff::{Change, Diff, RuleChange, TurnChange};
pub use draft::{BadCase, draft};
pub use example_runner::{ExampleResult, junit, tap};
pub use format::format;
