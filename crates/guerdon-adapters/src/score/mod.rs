//! From a protocol's items to scores: the options in the URL, the score request, and its results as
//! names and numbers.

mod numbers;
mod score_call;
mod source_name;
mod url_options;

pub(crate) use self::numbers::{NamedNumbers, contributions, numbers, sigmoid};
pub(crate) use self::score_call::{Item, ItemScore, ItemScores, Protocol, ScoreCall};
pub use self::source_name::SourceName;
pub(crate) use self::url_options::{OnFailure, ReplyForm, Thoughts, UrlOptions};
