//! The state of one connection. The socket, the bodies and the service report to it, and its
//! timeouts follow from it.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Version;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::pace::{Pace, PaceLimits};

/// Time after the stop signal in which data that is on its way still counts, and after which an
/// HTTP/2 connection without requests is closed.
pub(super) const STOP_GRACE: Duration = Duration::from_millis(250);

/// Time that a connection without a request keeps its place in any case.
const NEXT_REQUEST: Duration = Duration::from_millis(500);

/// The timeouts of connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    pub(super) header: Duration,
    pub(super) body: PaceLimits,
    pub(super) write: PaceLimits,
    pub(super) idle: Duration,
}

impl Timeouts {
    fn shortest(&self) -> Duration {
        self.header.min(self.body.pause).min(self.write.pause).min(self.idle)
    }
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    timeouts: Timeouts,
    state: Mutex<ActivityState>,
    /// Notified when the connection has to make room for another.
    evicted: Notify,
}

#[derive(Debug)]
struct ActivityState {
    /// Requests whose reply is not finished.
    requests: usize,
    /// Requests whose body has not arrived.
    receiving: usize,
    /// Arrival of the first byte of a head.
    head_since: Option<Instant>,
    /// The last moment of a request, and the bytes that moved since.
    idle_since: Instant,
    idle_bytes: u64,
    is_http2: bool,
    writes: Pace,
    write_blocked_since: Option<Instant>,
    /// By reply, the time until which the client has to read on.
    stalled: BTreeMap<u64, Instant>,
    replies: u64,
    /// Set after the stop signal.
    stopping_since: Option<Instant>,
}

/// The reason why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseReason {
    Header,
    Write,
    Idle,
}

impl CloseReason {
    /// The key of the timeout, for the log and as a metric label.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header_timeout",
            Self::Write => "write_timeout",
            Self::Idle => "idle_timeout",
        }
    }
}

impl Activity {
    pub(super) fn new(timeouts: Timeouts) -> Self {
        let state = ActivityState {
            requests: 0,
            receiving: 0,
            head_since: None,
            idle_since: Instant::now(),
            idle_bytes: 0,
            is_http2: false,
            writes: Pace::new(timeouts.write),
            write_blocked_since: None,
            stalled: BTreeMap::new(),
            replies: 0,
            stopping_since: None,
        };
        Self { timeouts, state: Mutex::new(state), evicted: Notify::new() }
    }

    pub(super) const fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Records received bytes.
    pub(super) fn received(&self, bytes: usize) {
        let mut state = self.state.lock();
        if state.requests == 0 {
            state.idle_moved(bytes);
            // HTTP/2 has frames that belong to no request, and detects dead peers by pings.
            if state.head_since.is_none() && !state.is_http2 && bytes > 0 {
                state.head_since = Some(Instant::now());
            }
        }
    }

    /// Records that the socket takes no bytes until the client reads some.
    pub(super) fn write_blocked(&self) {
        let mut state = self.state.lock();
        state.write_blocked_since.get_or_insert_with(Instant::now);
    }

    /// Records sent bytes.
    pub(super) fn sent(&self, bytes: usize) {
        let mut state = self.state.lock();
        let waited = state.write_blocked_since.take().map(|since| since.elapsed());
        state.writes.moved(waited.unwrap_or_default(), bytes);
        if state.requests == 0 {
            state.idle_moved(bytes);
        }
    }

    /// Records the head of a request.
    pub(super) fn request_started(&self, version: Version) {
        let mut state = self.state.lock();
        state.head_since = None;
        state.is_http2 |= version == Version::HTTP_2;
        if state.requests == 0 {
            state.writes = Pace::new(self.timeouts.write);
        }
        state.requests += 1;
    }

    /// Records the end of a reply.
    pub(super) fn request_ended(&self) {
        let mut state = self.state.lock();
        state.requests = state.requests.saturating_sub(1);
        if state.requests == 0 {
            state.idle_since = Instant::now();
            state.idle_bytes = 0;
        }
    }

    pub(super) fn body_started(&self) {
        self.state.lock().receiving += 1;
    }

    pub(super) fn body_ended(&self) {
        let mut state = self.state.lock();
        state.receiving = state.receiving.saturating_sub(1);
    }

    /// A number for a reply, for [`Activity::stalled`].
    pub(super) fn next_reply(&self) -> u64 {
        let mut state = self.state.lock();
        state.replies += 1;
        state.replies
    }

    /// Records that the reply waits for the client until `deadline`; `None` if it does not wait.
    pub(super) fn stalled(&self, reply: u64, deadline: Option<Instant>) {
        let mut state = self.state.lock();
        match deadline {
            Some(deadline) => drop(state.stalled.insert(reply, deadline)),
            None => drop(state.stalled.remove(&reply)),
        }
    }

    /// Records the stop signal.
    pub(super) fn stopping(&self) {
        let mut state = self.state.lock();
        let now = Instant::now();
        state.stopping_since = Some(now);
        state.idle_since = state.idle_since.max(now);
        state.idle_bytes = 0;
    }

    /// Returns whether the connection can be closed at the stop without loss: it is not HTTP/2, has
    /// no request, and every byte of its replies was taken by the socket.
    pub(super) fn is_quiet(&self) -> bool {
        let state = self.state.lock();
        !state.is_http2 && state.requests == 0 && state.write_blocked_since.is_none()
    }

    /// The reason to close the connection now, or else the time of the next check.
    pub(super) fn check(&self, now: Instant) -> Result<Instant, CloseReason> {
        let mut state = self.state.lock();
        let mut deadlines = Vec::with_capacity(4);
        if let Some(since) = state.write_blocked_since {
            deadlines.push((state.writes.deadline(since), CloseReason::Write));
        }
        deadlines.extend(state.stalled.values().map(|at| (*at, CloseReason::Write)));
        if state.requests == 0 {
            let idle = state.stopping_since.map_or(self.timeouts.idle, |_| STOP_GRACE);
            let deadline = match state.head_since {
                Some(since) => (after(since, self.timeouts.header), CloseReason::Header),
                None => (after(state.idle_since, idle), CloseReason::Idle),
            };
            // Pings and the rest of a long reply move bytes without a request.
            let rate = f64::from(self.timeouts.write.rate.get());
            let is_moving = deadline.1 == CloseReason::Idle
                && deadline.0 <= now
                && state.idle_bytes as f64 >= rate * idle.as_secs_f64();
            if is_moving {
                state.idle_since = now;
                state.idle_bytes = 0;
                deadlines.push((after(now, idle), CloseReason::Idle));
            } else {
                deadlines.push(deadline);
            }
        }
        if let Some((_, reason)) = deadlines.iter().find(|(at, _)| *at <= now) {
            return Err(*reason);
        }
        // Deadlines that begin after this check end no sooner than the shortest timeout.
        let shortest = state.stopping_since.map_or(self.timeouts.shortest(), |_| STOP_GRACE);
        let soonest = after(now, shortest);
        Ok(deadlines.into_iter().map(|(at, _)| at).fold(soonest, Instant::min))
    }

    /// The rank of the connection among those that can be closed to make room; the lowest is closed
    /// first. Connections without a request rank before connections whose request body has not
    /// arrived; within each kind, the longest wait ranks first. `None` if a request has been
    /// received whole, or if the next one may be under way.
    pub(super) fn eviction_rank(&self) -> Option<(bool, Instant)> {
        let state = self.state.lock();
        let is_new = state.requests == 0 && state.idle_since.elapsed() < NEXT_REQUEST;
        (state.requests == state.receiving && !is_new)
            .then_some((state.requests > 0, state.idle_since))
    }

    /// Asks the connection to close.
    pub(super) fn evict(&self) {
        self.evicted.notify_one();
    }

    /// Waits for [`Activity::evict`].
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl ActivityState {
    fn idle_moved(&mut self, bytes: usize) {
        self.idle_bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
    }
}

/// `since + duration`, at most a day.
fn after(since: Instant, duration: Duration) -> Instant {
    since + duration.min(Duration::from_secs(24 * 3_600))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn activity() -> Activity {
        let rate = NonZeroU32::new(1_000).unwrap();
        let pace = |seconds| PaceLimits { pause: Duration::from_secs(seconds), rate };
        let timeouts = Timeouts {
            header: Duration::from_secs(10),
            body: pace(20),
            write: pace(30),
            idle: Duration::from_secs(100),
        };
        Activity::new(timeouts)
    }

    /// The seconds after which the connection is closed, and why.
    async fn closed_after(activity: &Activity) -> (u64, CloseReason) {
        let started = Instant::now();
        loop {
            match activity.check(Instant::now()) {
                Err(reason) => return (started.elapsed().as_secs(), reason),
                Ok(next) => tokio::time::advance(next - Instant::now()).await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silent_connection_is_idle_and_a_begun_head_has_its_own_timeout() {
        assert_eq!(closed_after(&activity()).await, (100, CloseReason::Idle));
        let begun = activity();
        begun.received(1);
        tokio::time::advance(Duration::from_secs(9)).await;
        begun.received(1);
        assert_eq!(closed_after(&begun).await, (1, CloseReason::Header));
    }

    #[tokio::test(start_paused = true)]
    async fn request_in_work_has_no_timeout_and_its_end_starts_the_idle_time() {
        let activity = activity();
        activity.received(100);
        activity.request_started(Version::HTTP_11);
        tokio::time::advance(Duration::from_secs(1_000)).await;
        assert!(activity.check(Instant::now()).is_ok());
        activity.request_ended();
        assert_eq!(closed_after(&activity).await, (100, CloseReason::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_does_not_read_is_given_up() {
        let blocked = activity();
        blocked.request_started(Version::HTTP_11);
        blocked.write_blocked();
        assert_eq!(closed_after(&blocked).await, (30, CloseReason::Write));
        let stalled = activity();
        stalled.request_started(Version::HTTP_2);
        stalled.stalled(1, Some(Instant::now() + Duration::from_secs(30)));
        stalled.stalled(2, Some(Instant::now() + Duration::from_secs(7)));
        stalled.stalled(2, None);
        assert_eq!(closed_after(&stalled).await, (30, CloseReason::Write));
    }

    #[tokio::test(start_paused = true)]
    async fn pings_do_not_keep_a_connection_and_the_rest_of_a_reply_does() {
        let pinging = activity();
        pinging.request_started(Version::HTTP_2);
        pinging.request_ended();
        for _ in 0..9 {
            tokio::time::advance(Duration::from_secs(10)).await;
            pinging.received(17);
            assert!(pinging.check(Instant::now()).is_ok());
        }
        assert_eq!(closed_after(&pinging).await, (10, CloseReason::Idle));
        let sending = activity();
        sending.request_started(Version::HTTP_2);
        sending.request_ended();
        tokio::time::advance(Duration::from_secs(99)).await;
        sending.sent(200_000);
        assert_eq!(closed_after(&sending).await, (101, CloseReason::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn only_connections_without_a_whole_request_can_make_room() {
        let activity = activity();
        assert_eq!(activity.eviction_rank(), None, "its first request may be under way");
        tokio::time::advance(NEXT_REQUEST).await;
        assert_eq!(activity.eviction_rank().map(|(receiving, _)| receiving), Some(false));
        activity.request_started(Version::HTTP_11);
        activity.body_started();
        assert_eq!(activity.eviction_rank().map(|(receiving, _)| receiving), Some(true));
        activity.body_ended();
        assert_eq!(activity.eviction_rank(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn stop_closes_an_idle_http2_connection_after_the_grace() {
        let activity = activity();
        activity.request_started(Version::HTTP_2);
        activity.request_ended();
        activity.stopping();
        assert!(!activity.is_quiet(), "frames may be under way");
        assert_eq!(closed_after(&activity).await, (0, CloseReason::Idle));
    }
}
