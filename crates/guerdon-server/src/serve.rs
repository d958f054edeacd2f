//! Start and stop, as a story: listen -> ready; not ready -> stop accepting -> drain -> finish what is paid for -> join the
//! device threads, each with a deadline, and the log says which ran out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::router;
use crate::auth::Open;
use crate::engine::Engine;
use crate::reload::{self, Reloader};
use crate::state::App;
use crate::trigger::Trigger;
use crate::vigil;

/// The server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It would be open to everyone.
    #[error(transparent)]
    Open(#[from] Open),
    /// The address is taken or not ours.
    #[error(
        "cannot listen on `{address}`: {cause}\n  help: choose another address with --listen (port 0 picks a free one)"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
}

/// A server that listens.
#[derive(Debug)]
pub struct Running {
    /// Where.
    pub address: SocketAddr,
    app: App,
    accept: CancellationToken,
    background: CancellationToken,
    http: TaskTracker,
    tasks: TaskTracker,
    drain: Duration,
}

/// Listens on the configured address and serves `engine` until [`Running::stop`].
///
/// # Errors
/// [`StartError`] if the address cannot be had or must not be used without tokens.
pub async fn start(engine: Arc<Engine>) -> Result<Running, StartError> {
    let live = engine.snapshot();
    let address = live.config.server.listen;
    live.auth.check_listen(address, &live.config.auth)?;
    let listen = |cause| StartError::Listen { address, cause };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    engine.listens_on(address);

    let (reloader, send) = Reloader::new(Arc::clone(&engine));
    let watched = Arc::clone(&engine);
    let app = App::new(engine, send.clone());
    let (accept, background) = (CancellationToken::new(), CancellationToken::new());
    let (http, tasks) = (TaskTracker::new(), TaskTracker::new());

    tasks.spawn(reload::run(reloader, background.clone()));
    tasks.spawn(hangups(send, background.clone()));
    tasks.spawn(vigil::run(watched, background.clone()));
    let service = router(app.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let stop = accept.clone();
    http.spawn(async move {
        if let Err(error) =
            axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await
        {
            tracing::error!(%error, "The listener failed.");
        }
    });
    app.ready.store(true, Ordering::Release);
    Ok(Running { address, app, accept, background, http, tasks, drain: live.config.server.drain })
}

/// SIGHUP is a reason to reload.
async fn hangups(send: mpsc::Sender<Trigger>, stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::warn!("SIGHUP cannot be received; POST /v1/reload works.");
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

impl Running {
    /// Stops: finishes what was taken, within the configured time. Returns whether everything was finished.
    pub async fn stop(self) -> bool {
        self.app.ready.store(false, Ordering::Release);
        self.accept.cancel();
        self.http.close();
        let drained = within(self.drain, "requests in flight", self.http.wait()).await;
        self.background.cancel();
        self.tasks.close();
        let quiet = within(Duration::from_secs(5), "the reload task", self.tasks.wait()).await;
        let paid =
            within(self.drain, "judge calls that are paid for", self.app.engine.finish_calls())
                .await;
        let joined =
            within(self.drain, "the models' device threads", self.app.engine.stop_models()).await;
        drained && quiet && paid && joined
    }
}

async fn within(limit: Duration, what: &str, work: impl Future<Output = ()>) -> bool {
    let done = tokio::time::timeout(limit, work).await.is_ok();
    if !done {
        tracing::warn!(?limit, "Stopping did not wait any longer for {what}.");
    }
    done
}
