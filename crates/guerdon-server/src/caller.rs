//! Who calls, as far as fairness needs to know: the token, or else the address.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;

use axum::extract::ConnectInfo;

/// A number that is equal for all requests of one caller. It says nothing else about them, and differs between runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Caller(pub(crate) u64);

/// Makes callers' numbers. Keyed anew in each process, so that nobody can choose to share another's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Callers(RandomState);

impl Callers {
    /// Whoever has the token of this name; without tokens, whoever calls from this address.
    pub(crate) fn caller(&self, token: Option<&str>, address: Option<SocketAddr>) -> Caller {
        Caller(match (token, address) {
            (Some(name), _) => self.0.hash_one(name),
            (None, Some(address)) => self.0.hash_one(address.ip()),
            (None, None) => 0,
        })
    }
}

/// Where a request came from; `None` if it came through no socket.
pub(crate) fn address_of(extensions: &http::Extensions) -> Option<SocketAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| *address)
}
