//! Bodies sent to a server in this process, over a connection that is kept open.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

use crate::wire::{WireConnection, WireReply, wire_request};
use crate::{ProcessSetup, Server};

/// The routes that read a body in another form than `POST /v1/score`.
const ROUTES: [&str; 16] = [
    "/get_reward",
    "/rm",
    "/rm?reply=dict",
    "/classify",
    "/pooling",
    "/score",
    "/rerank",
    "/predict",
    "/",
    "/v1/embeddings",
    "/reward",
    "/evaluate",
    "/submit_task",
    "/verify",
    "/aggregate_metrics",
    "/v1/score/evaluation",
];

/// Content codings, in several spellings.
const CODINGS: [&str; 6] = ["gzip", "zstd", "x-gzip", "GZIP", "identity", "gzip, zstd"];

/// Largest body, decompressed.
const MAX_BODY: usize = 64 << 10;

/// A server with rules alone. The runtime serves as long as the process runs.
static SERVER: LazyLock<(Runtime, Server, SocketAddr)> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let setup = ProcessSetup::light("").replaced("[reload]", "[reload]\nwatch = false");
    let limits = format!("[limits]\nmax_body_bytes = {MAX_BODY}\n");
    let config = setup.tables(&limits).text();
    let files = [("packs/words.yaml", Server::pack())];
    let server = runtime.block_on(Server::from_config(&config, &files));
    let address = server.url.trim_start_matches("http://").parse().expect("an address");
    (runtime, server, address)
});

thread_local! {
    static CONNECTION: RefCell<Option<WireConnection>> = const { RefCell::new(None) };
}

fn send(bytes: &[u8]) -> WireReply {
    CONNECTION.with_borrow_mut(|kept| {
        // A kept connection may have been closed after the reply before.
        if let Some(mut connection) = kept.take()
            && connection.send(bytes).is_ok()
            && let Ok(reply) = connection.reply()
        {
            *kept = Some(connection);
            return reply;
        }
        let mut connection = WireConnection::open(SERVER.2).expect("a connection");
        drop(connection.send(bytes));
        let reply = connection.reply().expect("a reply");
        *kept = Some(connection);
        reply
    })
}

/// Sends a body to the route that its first byte chooses.
///
/// # Panics
/// The server fails, or its reply is not JSON.
pub fn adapter(data: &[u8]) {
    let Some((route, body)) = data.split_first() else { return };
    let route = ROUTES[usize::from(*route) % ROUTES.len()];
    let reply = send(&wire_request("POST", route, &[("content-type", "application/json")], body));
    assert!(matches!(reply.status, 200..=299 | 400..=499 | 503), "{route}: {reply:?}");
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&reply.body).is_ok();
    assert!(is_json, "{route}: {reply:?}");
}

/// Sends a compressed body in the coding that its first byte chooses.
///
/// # Panics
/// The server fails, or its reply is not JSON.
pub fn compressed_body(data: &[u8]) {
    let Some((coding, body)) = data.split_first() else { return };
    let coding = CODINGS[usize::from(*coding) % CODINGS.len()];
    let headers = [("content-type", "application/json"), ("content-encoding", coding)];
    let reply = send(&wire_request("POST", "/v1/score", &headers, body));
    assert!(matches!(reply.status, 200 | 400 | 409 | 413 | 415 | 422), "{coding}: {reply:?}");
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&reply.body).is_ok();
    assert!(is_json, "{coding}: {reply:?}");
}
