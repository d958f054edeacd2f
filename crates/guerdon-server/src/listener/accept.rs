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

/// Pause after a failed `accept`, doubled with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Shortest time between two log lines about failed `accept`s.
const LOG_EVERY: Duration = Duration::from_secs(10);
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
    /// Connections of `socket` send their requests to `router` and run in `tasks`.
    pub(crate) fn new(
        socket: TcpListener,
        router: Router,
        config: &ServerConfig,
        signals: &StopSignals,
        tasks: TaskTracker,
    ) -> Self {
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
            stop: signals.stop.clone(),
            abort: signals.abort.clone(),
        };
        let connections = Arc::new(ConnectionTable::new(config.max_connections.get()));
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
                    self.failures.ended();
                    self.serve(stream, peer).await;
                    continue;
                }
                Err(error) if concerns_one_connection(&error) => continue,
                Err(error) => self.failures.failed(&error),
            };
            // Most likely there are no file descriptors: a connection without a request holds one.
            self.connections.evict_idle();
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

/// Failures of `accept` in a row.
#[derive(Debug, Default)]
struct AcceptFailures {
    in_a_row: u32,
    logged: Option<Instant>,
}

impl AcceptFailures {
    /// Logs the failure, unless one was logged a moment ago. Returns the pause before the next
    /// attempt.
    fn failed(&mut self, error: &io::Error) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.in_a_row.min(16)));
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            tracing::error!(
                %error,
                "new connections cannot be accepted; raise the limit of open files (ulimit -n), or lower server.max_connections"
            );
        }
        pause.min(LONGEST_PAUSE)
    }

    const fn ended(&mut self) {
        self.in_a_row = 0;
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
        tokio::time::advance(LOG_EVERY).await;
        for _ in 0..100 {
            failures.failed(&error);
        }
        assert_ne!(failures.logged, first);
        assert_eq!(failures.failed(&error), LONGEST_PAUSE);
        failures.ended();
        assert_eq!(failures.failed(&error), FIRST_PAUSE);
    }
}
