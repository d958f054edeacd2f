//! Pages and bundles of generated rollouts, with texts that attack them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod generated;
mod ledgers;
mod pages;
