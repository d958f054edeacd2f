//! What a rule author asks of packs besides running them: the examples as tests, what an edit would change, what each
//! rule costs, a tidy file, a first draft.

mod cost;
mod diff;
mod draft;
mod format;
mod tests;

pub use cost::RuleCost;
pub use diff::{Change, Diff, RuleChange, TurnChange};
pub use draft::{BadCase, draft};
pub use format::format;
pub use tests::{ExampleResult, junit, tap};
