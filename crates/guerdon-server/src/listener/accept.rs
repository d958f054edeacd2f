//! The accept loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::activity::{Activity, Timeouts};
use super::connection::{self, ConnectionSettings};
use super::pace::PaceLimits;
use super::table::ConnectionTable;
use crate::config::ServerConfig;
use crate::http::caller::network;
use crate::observe::metrics::ConnectionMetrics;

/// Pause after a failed `accept`, doubled with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Shortest time between two log lines about failed `accept`s.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Time after which another connection may have become idle.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Time without a failure of `accept` after which the next one is a new matter.
const PERIOD_ENDS: Duration = Duration::from_secs(5);
/// Time of failures after which uploads make room, too.
const PERSISTENT: Duration = Duration::from_secs(1);
/// Connections taken from the kernel's queue after the stop signal.
const LAST_CONNECTIONS: usize = 1_024;

/// The signals that end the connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct StopSignals {
    /// Accept no more connections; finish the requests that were received whole.
    pub(crate) stop: CancellationToken,
    /// Close all connections.
    pub(crate) abort: CancellationToken,
}

/// The surroundings of a listener.
#[derive(Debug)]
pub(crate) struct ListenerContext {
    /// Answers the requests.
    pub(crate) router: Router,
    pub(crate) signals: StopSignals,
    /// The connections' tasks.
    pub(crate) tasks: TaskTracker,
    pub(crate) metrics: ConnectionMetrics,
}

/// A listening socket with the settings of its connections.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    settings: ConnectionSettings,
    timeouts: Timeouts,
    connections: Arc<ConnectionTable>,
    tasks: TaskTracker,
    failures: AcceptFailures,
}

impl Listener {
    /// A listener with the configured limits.
    pub(crate) fn new(
        socket: TcpListener,
        config: &ServerConfig,
        context: ListenerContext,
    ) -> Self {
        let ListenerContext { router, signals, tasks, metrics } = context;
        let pace = |pause| PaceLimits { pause, rate: config.min_rate };
        let timeouts = Timeouts {
            header: config.header_timeout,
            body: pace(config.body_timeout),
            write: pace(config.write_timeout),
            idle: config.idle_timeout,
        };
        let settings = ConnectionSettings {
            builder: connection::builder(&timeouts),
            router,
            metrics: metrics.clone(),
            stop: signals.stop,
            abort: signals.abort,
        };
        let connections = Arc::new(ConnectionTable::new(config.max_connections.get(), metrics));
        Self { socket, settings, timeouts, connections, tasks, failures: AcceptFailures::default() }
    }

    /// Accepts connections until the stop signal.
    pub(crate) async fn run(mut self) {
        let stop = self.settings.stop.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            let pause = match accepted {
                Ok((stream, peer)) => {
                    self.serve(stream, peer).await;
                    continue;
                }
                Err(error) if concerns_one_connection(&error) => continue,
                Err(error) => self.failures.failed(&error),
            };
            self.settings.metrics.accept_failed();
            // Most likely there are no file descriptors. A connection that waits for its client
            // holds one.
            let evicted = self.connections.evict(self.failures.persist());
            let pause = if evicted { FIRST_PAUSE } else { pause };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.accept_last().await;
    }

    /// Serves a connection in a task of its own. Waits while there are too many.
    async fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "TCP_NODELAY cannot be set");
        }
        let activity = Arc::new(Activity::new(self.timeouts));
        let entry = loop {
            if let Some(entry) = self.connections.add(network(peer.ip()), &activity) {
                break entry;
            }
            tokio::select! {
                () = self.connections.left() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = self.settings.stop.cancelled() => return,
            }
        };
        let settings = self.settings.clone();
        self.tasks.spawn(async move {
            connection::serve(stream, peer, settings, activity).await;
            drop(entry);
        });
    }

    /// Serves the connections that clients opened before the stop signal and that the kernel still
    /// holds: their requests may be here already.
    async fn accept_last(&self) {
        for _ in 0..LAST_CONNECTIONS {
            match futures_util::poll!(std::pin::pin!(self.socket.accept())) {
                std::task::Poll::Ready(Ok((stream, peer))) => self.serve(stream, peer).await,
                _ => return,
            }
        }
    }
}

/// Returns whether the error is about the accepted connection and not about the listener.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// Failures of `accept`. Those with short times between them are one period.
#[derive(Debug, Default)]
struct AcceptFailures {
    period: Option<FailurePeriod>,
    logged: Option<Instant>,
}

#[derive(Debug)]
struct FailurePeriod {
    since: Instant,
    last: Instant,
    count: u32,
}

impl AcceptFailures {
    /// Logs the failure, unless one was logged a moment ago. Returns the pause before the next
    /// attempt.
    fn failed(&mut self, error: &io::Error) -> Duration {
        let now = Instant::now();
        let period = self.period.take().filter(|period| period.last.elapsed() < PERIOD_ENDS);
        let before = period.unwrap_or(FailurePeriod { since: now, last: now, count: 0 });
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(before.count.min(16)));
        let count = before.count.saturating_add(1);
        self.period = Some(FailurePeriod { last: now, count, ..before });
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            self.logged = Some(now);
            tracing::error!(
                %error,
                "new connections cannot be accepted; raise the limit of open files (ulimit -n), or lower server.max_connections"
            );
        }
        pause.min(LONGEST_PAUSE)
    }

    /// Returns whether failures have gone on for a while.
    fn persist(&self) -> bool {
        self.period.as_ref().is_some_and(|period| period.since.elapsed() >= PERSISTENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_are_logged_once_a_period_and_pauses_grow_to_a_bound() {
        let mut failures = AcceptFailures::default();
        let error = io::Error::from_raw_os_error(24);
        assert!(!concerns_one_connection(&error));
        assert_eq!(failures.failed(&error), FIRST_PAUSE);
        let first = failures.logged;
        assert_eq!(failures.failed(&error), FIRST_PAUSE * 2);
        assert_eq!(failures.logged, first);
        for _ in 0..20 {
            assert!(failures.failed(&error) <= LONGEST_PAUSE);
            tokio::time::advance(LONGEST_PAUSE).await;
        }
        assert_ne!(failures.logged, first);
        assert!(failures.persist());
        tokio::time::advance(PERIOD_ENDS).await;
        assert_eq!(failures.failed(&error), FIRST_PAUSE);
        assert!(!failures.persist());
    }
}
