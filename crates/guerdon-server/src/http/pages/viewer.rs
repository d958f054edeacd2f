//! The pages of one file on loopback, without a server's configuration: `guerdon view`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use guerdon_inspector::Store;
use tokio_util::task::TaskTracker;

use super::inspector::Inspector;
use super::paths::home;
use crate::config::Config;
use crate::http::auth::OpenWithoutTokens;
use crate::http::guard;
use crate::listen::{BoundSocket, StartError};
use crate::listener::{Listener, ListenerContext, StopSignals};
use crate::observe::metrics::Metrics;

/// Pages that are served.
#[derive(Debug)]
pub struct RunningViewer {
    /// The address.
    pub address: SocketAddr,
    signals: StopSignals,
    tasks: TaskTracker,
}

impl RunningViewer {
    /// Stops: closes all connections.
    pub async fn stop(self) {
        self.signals.stop.cancel();
        self.signals.abort.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Serves the pages of `store` on a loopback address. Port 0 picks a free one.
///
/// # Errors
/// [`StartError`] if the address cannot be bound, or can be reached from other machines.
pub async fn view(store: Arc<dyn Store>, listen: SocketAddr) -> Result<RunningViewer, StartError> {
    if !listen.ip().is_loopback() {
        return Err(OpenWithoutTokens::new(listen).into());
    }
    let socket = BoundSocket::new(listen)?;
    let address = socket.address;
    let router = Router::new()
        .route("/", get(home))
        .route("/ui", get(page))
        .route("/ui/{*path}", get(page))
        .layer(from_fn(guarded))
        .with_state(Inspector::new(store));
    let (signals, tasks) = (StopSignals::default(), TaskTracker::new());
    let context = ListenerContext {
        router,
        signals: signals.clone(),
        tasks: tasks.clone(),
        metrics: Metrics::new().connections.clone(),
    };
    let accept = Listener::new(socket.listen()?, &Config::default().server, context);
    tasks.spawn(accept.run());
    Ok(RunningViewer { address, signals, tasks })
}

async fn page(State(inspector): State<Inspector>, request: Request) -> Response {
    inspector.respond(request.uri().clone(), None).await
}

/// Refuses pages of other sites and foreign hosts, as a server without tokens does.
async fn guarded(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match guard::check(&parts, &Config::default()) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(error) => error.into_response(),
    }
}
