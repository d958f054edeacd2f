//! The coordinator against a Redis server that each test starts.

mod answers;
mod budgets;
mod outages;
mod quotas;
mod replica;
