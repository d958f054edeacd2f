//! Tools for rule authors: examples as tests, the effect of an edit, the cost of rules, formatting,
//! first drafts, precision on labelled turns.

mod cost;
mod diff;
mod draft;
mod example_runner;
mod format;
mod labels;
mod precision;
mod ranks;
mod reading;
mod recorded;

pub use cost::RuleCost;
pub use diff::{Diff, HitChange, RuleChange, TurnChange};
pub use draft::{DraftInput, draft};
pub use example_runner::{ExampleResult, junit, tap};
pub use format::{FormatChanges, FormattedPack, format, format_pack};
pub use labels::{LabelledRollout, TurnLabels};
pub use precision::{LabelCounts, RuleMeasure, RuleMeasures, ShareEstimate};
pub use ranks::{GroupChange, RankChange};
pub use reading::{NumberReading, folded_pattern, read_numbers};
pub use recorded::RecordedParts;
