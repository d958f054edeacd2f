//! Calls to a judge endpoint, in layers. Each layer has one entry, and calls the next one:
//!
//! | Layer | File | Entry |
//! |---|---|---|
//! | retries and re-asks | `client.rs` | `JudgeClient::call` |
//! | queue, limits, health and budget, this server's and the shared ones | `ticket.rs` | `JudgeClient::ticket` |
//! | hedge | `attempt.rs` | `JudgeClient::attempt` |
//! | one request to one address | `exchange.rs` | `JudgeClient::exchange` |
//! | one reply of one address | `address.rs` | `Address::post` |
//! | HTTP | `transport.rs` | `Transport::send` |
//!
//! Each layer has its tests in `tests/`, over a scripted address and under virtual time.
//!
//! Above them, the answers are looked up in memory, in flight and in the store (`store/cache`).

pub(crate) mod address;
pub(crate) mod attempt;
pub(crate) mod capabilities;
pub(crate) mod check;
pub(crate) mod client;
pub(crate) mod exchange;
pub(crate) mod fault;
pub(crate) mod hedge;
pub(crate) mod judge_client;
pub(crate) mod patience;
pub(crate) mod permit;
pub(crate) mod reading;
pub(crate) mod record;
pub(crate) mod services;
pub(crate) mod shared;
#[cfg(test)]
mod tests;
pub(crate) mod ticket;
pub(crate) mod token_estimate;
pub(crate) mod transport;
pub(crate) mod wire;
