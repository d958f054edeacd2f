//! Four servers that share over Redis, as processes of their own: what they pay for, and what they
//! spend, through every fault that the store, its network and the servers can have.
//!
//! | file | promise |
//! |---|---|
//! | `answers.rs` | a question is paid for once, whoever asks it, and the rewards are those of one server |
//! | `faults.rs` | quotas and budgets hold, and no reward is lost or made up, through faults |
//! | `state.rs` | the servers say whether coordination is on |

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod deployment;
mod faults;
mod state;
