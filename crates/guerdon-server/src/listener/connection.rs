//! One connection: hyper serves its requests, while the clock and the stop signal are watched.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::ConnectInfo;
use futures_util::TryFutureExt as _;
use http::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Timeouts};
use super::reply_body::{ReplyBody, RequestInFlight};
use super::request_body::RequestBody;
use super::socket::ObservedSocket;
use crate::observe::metrics::ConnectionMetrics;

/// The largest head of a request, and the largest read of a body in HTTP/1.
const MAX_BUFFER: usize = 128 << 10;
/// Requests that one HTTP/2 connection may have in flight.
const MAX_STREAMS: u32 = 128;
/// Bytes of bodies that an HTTP/2 client may send before they are read: of one request, and of one
/// connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of one HTTP/2 reply that are held for a client that does not read.
const SEND_BUFFER: usize = 128 << 10;

/// The part of a connection's environment that all connections share.
#[derive(Debug, Clone)]
pub(super) struct ConnectionSettings {
    pub(super) builder: Builder<TokioExecutor>,
    pub(super) router: Router,
    pub(super) metrics: ConnectionMetrics,
    /// The stop signal.
    pub(super) stop: CancellationToken,
    /// The end of the drain: connections are closed, whatever they do.
    pub(super) abort: CancellationToken,
}

/// The settings of hyper. Timeouts of HTTP/1 are kept by [`Activity`], because hyper's own one for
/// heads also ends idle connections and does not cover the first bytes.
pub(super) fn builder(timeouts: &Timeouts) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(timeouts.header)
        .keep_alive_timeout(timeouts.header)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    builder
}

/// Serves a connection until it ends, is too slow, makes room for another, or the server stops.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    settings: ConnectionSettings,
    activity: Arc<Activity>,
) {
    let ConnectionSettings { builder, router, metrics, stop, abort } = settings;
    let socket = ObservedSocket { stream, activity: Arc::clone(&activity) };
    let router = TowerToHyperService::new(router);
    let (of_requests, stop_bodies) = (Arc::clone(&activity), stop.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let in_flight = RequestInFlight::start(&of_requests, request.version());
        let mut request = request
            .map(|body| RequestBody::new(body, Arc::clone(&of_requests), stop_bodies.clone()));
        request.extensions_mut().insert(ConnectInfo(peer));
        router.call(request).map_ok(move |reply| reply.map(|body| ReplyBody::new(body, in_flight)))
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    let mut clock = pin!(tokio::time::sleep_until(Instant::now()));
    let mut is_stopping = false;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, error, "a connection failed");
                }
                return;
            }
            () = abort.cancelled() => return,
            () = activity.evicted() => {
                tracing::debug!(%peer, "a connection is closed to make room for another");
                metrics.closed("evicted");
                return;
            }
            () = stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                activity.stopping();
                connection.as_mut().graceful_shutdown();
                if futures_util::poll!(connection.as_mut()).is_ready() {
                    return;
                }
                clock.as_mut().reset(Instant::now());
            }
            () = clock.as_mut() => match activity.check(Instant::now()) {
                Ok(next) => clock.as_mut().reset(next),
                Err(reason) => {
                    tracing::debug!(%peer, reason = reason.as_str(), "a connection is closed");
                    metrics.closed(reason.as_str());
                    return;
                }
            },
        }
        if is_stopping && activity.is_quiet() {
            return;
        }
    }
}
