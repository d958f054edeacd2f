//! Persistent state: cached answers, spending, the audit log, and events for metrics.

pub(crate) mod audit;
pub(crate) mod budget;
pub(crate) mod cache;
pub(crate) mod event;
pub(crate) mod lines;
