//! The coordinator against a Redis server that each test starts.

#![expect(
    clippy::unwrap_used,
    reason = "clippy.toml frees #[test] functions; their helpers are tests too"
)]

mod answers;
mod budgets;
mod outages;
mod quotas;
mod replica;
