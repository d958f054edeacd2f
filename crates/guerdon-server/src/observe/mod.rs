//! Metrics, logs, traces, and the decorator that observes every reward source.

mod audit_monitor;
pub(crate) mod metrics;
pub(crate) mod observed_source;
pub(crate) mod telemetry;
pub(crate) mod traces;
