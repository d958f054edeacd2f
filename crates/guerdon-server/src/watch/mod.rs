//! Background tasks: reload on changes, and the monitor of the judges.

mod canary_watch;
mod folder_watch;
pub(crate) mod judge_monitor;
pub(crate) mod reload;
pub(crate) mod trigger;
