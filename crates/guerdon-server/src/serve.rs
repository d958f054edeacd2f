//! Start and stop. Start: listen, then report ready. Stop: report not ready, stop accepting, drain,
//! finish paid judge calls, join the device threads. Each step of a stop has a deadline; the log
//! names those that passed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::Engine;
use crate::http::router;
use crate::http::state::App;
use crate::listen::{BoundSocket, StartError};
use crate::listener::{Listener, ListenerContext, StopSignals};
use crate::watch::judge_monitor;
use crate::watch::moments_saver;
use crate::watch::reload::{self, Reloader};
use crate::watch::service_manager;
use crate::watch::trigger::Trigger;

/// Time for the threads after the drain time.
const TIME_FOR_THREADS: Duration = Duration::from_secs(1);

/// Bound of the drain time, so that its end can be computed.
const LONGEST_DRAIN: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A listening server.
#[derive(Debug)]
pub struct RunningServer {
    /// The address it listens on.
    pub address: SocketAddr,
    app: App,
    signals: StopSignals,
    background: CancellationToken,
    http: TaskTracker,
    tasks: TaskTracker,
    drain: Duration,
}

/// Listens on the configured address and serves `engine` until [`RunningServer::stop`].
///
/// # Errors
/// [`StartError`] if the address cannot be bound, or must not be served without tokens.
pub async fn start(engine: Arc<Engine>) -> Result<RunningServer, StartError> {
    let live = engine.snapshot();
    live.auth.check_listen(live.config.server.listen, &live.config.auth)?;
    start_on(engine, BoundSocket::new(live.config.server.listen)?).await
}

/// As [`start`], on a socket that was bound before `engine` was loaded.
///
/// # Errors
/// [`StartError`] if the socket cannot listen, or must not be served without tokens.
pub async fn start_on(
    engine: Arc<Engine>,
    socket: BoundSocket,
) -> Result<RunningServer, StartError> {
    let live = engine.snapshot();
    live.auth.check_listen(socket.address, &live.config.auth)?;
    let address = socket.address;
    let listener = socket.listen()?;
    engine.listens_on(address);
    engine.open_ledger()?;

    let (reloader, send) = Reloader::new(Arc::clone(&engine));
    let watched = Arc::clone(&engine);
    let app = App::new(engine, send.clone());
    let (signals, background) = (StopSignals::default(), CancellationToken::new());
    let (http, tasks) = (TaskTracker::new(), TaskTracker::new());

    watched.start_coordination();
    tasks.spawn(reload::run(reloader, background.clone()));
    tasks.spawn(hangups(send, background.clone()));
    tasks.spawn(judge_monitor::run(Arc::clone(&watched), background.clone()));
    tasks.spawn(moments_saver::run(watched, background.clone()));
    let context = ListenerContext {
        router: router(app.clone()),
        signals: signals.clone(),
        tasks: http.clone(),
        metrics: app.engine.metrics().connections.clone(),
    };
    let accept = Listener::new(listener, &live.config.server, context);
    http.spawn(accept.run());
    app.ready.store(true, Ordering::Release);
    service_manager::ready(live.generation);
    Ok(RunningServer {
        address,
        app,
        signals,
        background,
        http,
        tasks,
        drain: live.config.server.drain,
    })
}

/// Triggers a reload on each SIGHUP.
async fn hangups(send: mpsc::Sender<Trigger>, stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::warn!("SIGHUP is not available; use POST /v1/reload");
        return;
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = hangup.recv() => {
                if send.send(Trigger::Hangup).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl RunningServer {
    /// Stops the server: answers the requests that were received whole, within the configured time.
    /// Connections without such a request are closed at once. Takes at most the configured time and
    /// a second. Returns whether all requests and all paid judge calls were finished.
    pub async fn stop(self) -> bool {
        let drained_by = Instant::now() + self.drain.min(LONGEST_DRAIN);
        let ended_by = drained_by + TIME_FOR_THREADS;
        self.app.ready.store(false, Ordering::Release);
        service_manager::stopping();
        self.signals.stop.cancel();
        self.http.close();
        let drained = until(drained_by, "requests in flight", self.http.wait()).await;
        self.signals.abort.cancel();
        self.background.cancel();
        self.tasks.close();
        let engine = &self.app.engine;
        let paid = until(drained_by, "paid judge calls", engine.finish_calls()).await;
        // After the last judge call, which is settled there.
        until(ended_by, "the coordination", engine.stop_coordination()).await;
        until(ended_by, "the reload task", self.tasks.wait()).await;
        if let Some(ledger) = engine.ledger() {
            until(ended_by, "the ledger", ledger.stop()).await;
        }
        until(ended_by, "the models' device threads", engine.stop_models()).await;
        drained && paid
    }
}

/// Waits for `work` until `end`. Returns whether it was done by then.
async fn until(end: Instant, what: &str, work: impl Future<Output = ()>) -> bool {
    let done = tokio::time::timeout_at(end, work).await.is_ok();
    if !done {
        tracing::warn!("the stop went on without waiting for {what}");
    }
    done
}
