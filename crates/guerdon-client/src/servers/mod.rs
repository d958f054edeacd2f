//! The servers of a client: one, or several replicas that serve the same configuration.
//!
//! With several URLs, every request has a fixed order of servers, made from its group by rendezvous
//! hashing. It goes to the first server of the order that is healthy, so that the samples of a
//! group meet on one server and share its caches. With one URL there is nothing to choose, and
//! requests are sent as to a single server.
//!
//! | file | content |
//! |---|---|
//! | `rendezvous.rs` | the order of servers for a key |
//! | `health.rs` | pauses of a server after failures |
//! | `failover.rs` | the attempts of one request over several servers |
//! | `probe.rs` | detection of a server that no longer answers while a request waits for it |
//! | `urls.rs` | reads a list of URLs |

mod failover;
mod health;
mod probe;
mod rendezvous;
#[cfg(test)]
mod tests;
mod urls;

use std::sync::Arc;
use std::time::Duration;

use guerdon_queue::Backoff;
use parking_lot::Mutex;
use reqwest::Url;
use tokio::time::Instant;

pub(crate) use self::failover::Failover;
use self::health::{Health, PauseLeft};
pub(crate) use self::probe::Probe;
pub(crate) use self::rendezvous::RoutingKey;
use self::rendezvous::weight;
use self::urls::address;
pub(crate) use self::urls::parse_urls;

/// The servers, with their health. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    list: Arc<[Server]>,
    /// The URL of the first server.
    first: Url,
}

#[derive(Debug)]
struct Server {
    base: Url,
    /// The URL as it is hashed: without user, password, query and a slash at its end, so that all
    /// clients agree on the order, whatever their tokens are.
    name: String,
    health: Mutex<Health>,
}

impl Servers {
    /// The servers at `first` and `others`.
    pub(crate) fn new(first: Url, others: Vec<Url>) -> Self {
        let server = |base: Url| {
            let name = address(&base);
            Server { base, name, health: Mutex::default() }
        };
        let urls = std::iter::once(first.clone()).chain(others);
        Self { list: urls.map(server).collect(), first }
    }

    /// The URL of the first server.
    pub(crate) const fn first(&self) -> &Url {
        &self.first
    }

    /// The URLs without secrets, separated by commas.
    pub(crate) fn shown(&self) -> String {
        let names: Vec<&str> = self.list.iter().map(|server| server.name.as_str()).collect();
        names.join(",")
    }

    /// True for one server.
    pub(crate) fn is_single(&self) -> bool {
        self.list.len() < 2
    }

    /// The URL of a server, by its place in the list.
    pub(crate) fn base(&self, server: usize) -> Option<&Url> {
        self.list.get(server).map(|server| &server.base)
    }

    /// All servers, in the order of the list.
    pub(crate) fn all(&self) -> Vec<usize> {
        (0..self.list.len()).collect()
    }

    /// The order of the servers for a key.
    pub(crate) fn order(&self, key: &RoutingKey) -> Vec<usize> {
        let mut order = self.all();
        order.sort_by_cached_key(|place| {
            let name = self.list.get(*place).map_or("", |server| &server.name);
            std::cmp::Reverse((weight(name, key), *place))
        });
        order
    }

    /// The server that a request with this key goes to now: the first of its order that is not
    /// paused, or the first if all are.
    pub(crate) fn home(&self, key: &RoutingKey) -> usize {
        if self.is_single() {
            return 0;
        }
        let (order, now) = (self.order(key), Instant::now());
        let is_free = |place: &&usize| self.health(**place, |health| health.is_free(now));
        order.iter().find(is_free).or(order.first()).copied().unwrap_or(0)
    }

    /// The first server of `order` that is not paused. A server whose pause has ended is given to
    /// one request at a time, until a reply arrives.
    fn choose(&self, order: &[usize], backoff: &Backoff) -> Option<usize> {
        let now = Instant::now();
        order.iter().copied().find(|place| {
            self.list.get(*place).is_some_and(|server| server.health.lock().claim(now, backoff))
        })
    }

    /// True if a server of `order` is not paused.
    fn has_free(&self, order: &[usize]) -> bool {
        let now = Instant::now();
        order.iter().any(|place| self.health(*place, |health| health.is_free(now)))
    }

    /// The server of `order` whose pause ends first, and the rest of that pause.
    fn soonest(&self, order: &[usize]) -> Option<(usize, PauseLeft)> {
        let now = Instant::now();
        let left = |place: &usize| (*place, self.health(*place, |health| health.left(now)));
        order.iter().map(left).min_by_key(|(_, left)| left.time)
    }

    /// Notes a reply: the server is up.
    pub(crate) fn note_reply(&self, server: usize) {
        self.health(server, Health::clear);
    }

    /// Notes a failure: pauses the server for `named`, or for its backoff.
    pub(crate) fn note_failure(&self, server: usize, named: Option<Duration>, backoff: &Backoff) {
        let now = Instant::now();
        self.health(server, |health| health.pause(now, named, backoff));
    }

    fn health<T: Default>(&self, server: usize, act: impl FnOnce(&mut Health) -> T) -> T {
        self.list.get(server).map(|server| act(&mut server.health.lock())).unwrap_or_default()
    }
}
