//! Files and secrets that a configuration names.

pub(crate) mod disk_calls;
pub(crate) mod file_set;
pub(crate) mod own_thread;
pub mod secrets;
pub mod texts;
