//! Files and secrets that a configuration names.

pub(crate) mod file_set;
pub mod secrets;
pub mod texts;
