//! The open connections, and the choice of one that is closed to make room for another.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::activity::Activity;
use crate::observe::metrics::ConnectionMetrics;

/// The open connections.
#[derive(Debug)]
pub(super) struct ConnectionTable {
    state: Mutex<TableState>,
    limit: usize,
    metrics: ConnectionMetrics,
    /// Notified when a connection leaves.
    left: Notify,
}

#[derive(Debug, Default)]
struct TableState {
    connections: HashMap<u64, Entry>,
    by_address: HashMap<IpAddr, usize>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    activity: Arc<Activity>,
}

/// A connection's entry in the table; removed when dropped.
#[derive(Debug)]
pub(super) struct ConnectionEntry {
    table: Arc<ConnectionTable>,
    number: u64,
}

impl ConnectionTable {
    pub(super) fn new(limit: usize, metrics: ConnectionMetrics) -> Self {
        Self { state: Mutex::default(), limit, metrics, left: Notify::new() }
    }

    /// Adds a connection of an address, or of a network whose addresses one client has, if there is
    /// room or another one can be closed.
    pub(super) fn add(
        self: &Arc<Self>,
        address: IpAddr,
        activity: &Arc<Activity>,
    ) -> Option<ConnectionEntry> {
        let mut state = self.state.lock();
        let own = state.by_address.get(&address).copied().unwrap_or_default();
        if state.connections.len() >= self.limit && !state.evict(Some(own)) {
            return None;
        }
        state.next += 1;
        let number = state.next;
        let activity = Arc::clone(activity);
        state.connections.insert(number, Entry { address, activity });
        *state.by_address.entry(address).or_default() += 1;
        self.metrics.opened();
        Some(ConnectionEntry { table: Arc::clone(self), number })
    }

    /// Closes a connection without a request, if there is one; or with `or_upload` also one that
    /// sends a body.
    pub(super) fn evict(&self, or_upload: bool) -> bool {
        let mut state = self.state.lock();
        // The next address is not known; it counts as one without connections.
        state.evict(None) || (or_upload && state.evict(Some(0)))
    }

    /// Waits until a connection leaves.
    pub(super) async fn left(&self) {
        self.left.notified().await;
    }
}

impl TableState {
    /// Closes one connection: of the address with the most connections, the one that is idle for the
    /// longest time. `own` is the number of connections of the address that needs room. A
    /// connection that sends a body is closed only if its address has more connections than that
    /// and the new one, so that no client ends its own uploads. Without `own`, such connections are
    /// never closed.
    fn evict(&mut self, own: Option<usize>) -> bool {
        let count = |address: &IpAddr| self.by_address.get(address).copied().unwrap_or_default();
        let candidates = self.connections.iter().filter_map(|(number, entry)| {
            let (is_receiving, since) = entry.activity.eviction_rank()?;
            let of_address = count(&entry.address);
            let allowed = !is_receiving || own.is_some_and(|own| own + 1 < of_address);
            allowed.then_some(((Reverse(of_address), is_receiving, since), *number))
        });
        let Some((_, number)) = candidates.min() else { return false };
        self.remove(number).is_some_and(|entry| {
            entry.activity.evict();
            true
        })
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.connections.remove(&number)?;
        if let Some(count) = self.by_address.get_mut(&entry.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&entry.address);
            }
        }
        Some(entry)
    }
}

impl Drop for ConnectionEntry {
    fn drop(&mut self) {
        // An evicted connection is no longer in the table.
        self.table.state.lock().remove(self.number);
        self.table.metrics.ended();
        self.table.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::num::NonZeroU32;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use http::Version;

    use super::*;
    use crate::listener::activity::Timeouts;
    use crate::listener::pace::PaceLimits;

    const GREEDY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const MODEST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    fn activity() -> Arc<Activity> {
        let second = Duration::from_secs(1);
        let pace = PaceLimits { pause: second, rate: NonZeroU32::MIN };
        let timeouts = Timeouts { header: second, body: pace, write: pace, idle: second };
        Arc::new(Activity::new(timeouts))
    }

    fn table(limit: usize) -> Arc<ConnectionTable> {
        Arc::new(ConnectionTable::new(limit, ConnectionMetrics::default()))
    }

    /// Longer than the time that a new connection keeps its place.
    async fn moment() {
        tokio::time::advance(Duration::from_millis(600)).await;
    }

    fn was_evicted(activity: &Activity) -> bool {
        activity.evicted().now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connection_of_the_greediest_address_makes_room() {
        let table = table(3);
        let connections = [MODEST, GREEDY, GREEDY].map(|address| {
            let activity = activity();
            (table.add(address, &activity).unwrap(), activity)
        });
        assert!(table.add(MODEST, &activity()).is_none(), "all of them are new");
        moment().await;
        let _new = table.add(MODEST, &activity()).unwrap();
        let evicted = connections.each_ref().map(|(_, activity)| was_evicted(activity));
        assert_eq!(evicted, [false, true, false], "the older one of the greedy address");
    }

    #[tokio::test(start_paused = true)]
    async fn upload_makes_room_only_for_an_address_with_fewer_connections() {
        let table = table(3);
        let _uploads = [(); 3].map(|()| {
            let activity = activity();
            activity.request_started(Version::HTTP_11);
            activity.body_started();
            (table.add(GREEDY, &activity).unwrap(), activity)
        });
        assert!(table.add(GREEDY, &activity()).is_none() && !table.evict(false));
        assert!(table.add(MODEST, &activity()).is_some());
        assert!(table.evict(true), "for an address that is not known");
    }

    #[tokio::test(start_paused = true)]
    async fn request_in_work_is_never_closed_and_its_end_makes_room() {
        let table = table(1);
        let busy = activity();
        busy.request_started(Version::HTTP_11);
        let entry = table.add(GREEDY, &busy).unwrap();
        assert!(table.add(MODEST, &activity()).is_none());
        drop(entry);
        assert!(table.left().now_or_never().is_some());
        assert!(table.add(MODEST, &activity()).is_some());
    }
}
