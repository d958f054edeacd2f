//! Identity of callers for fairness and rate limits: the token's name, or else the address.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;

/// A number that is equal for all requests of one caller. It differs between runs of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CallerId(pub(crate) u64);

/// Computes callers' numbers. The hash has a new key in each process, so that a client cannot
/// choose to collide with another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Callers(RandomState);

impl Callers {
    /// The number of the token's name, or without a token of the address.
    pub(crate) fn caller(&self, token: Option<&str>, address: Option<SocketAddr>) -> CallerId {
        CallerId(match (token, address) {
            (Some(name), _) => self.0.hash_one(name),
            (None, Some(address)) => self.0.hash_one(network(address.ip())),
            (None, None) => 0,
        })
    }
}

/// The part of an address that one client cannot choose: all of an IPv4 address, the first half of
/// an IPv6 address.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

/// The address of a request's client; `None` in tests without a socket.
pub(crate) fn address_of(extensions: &http::Extensions) -> Option<SocketAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| *address)
}
