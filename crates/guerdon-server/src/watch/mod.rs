//! Background tasks: reload on changes, the monitor of the judges, the moments of online normalisers,
//! and reports to the service manager.

mod canary_watch;
mod folder_watch;
pub(crate) mod judge_monitor;
pub(crate) mod moments_saver;
pub(crate) mod reload;
pub(crate) mod service_manager;
pub(crate) mod trigger;
