//! The store of the pages, with the limit of pages that are made at once.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use guerdon_inspector::{Links, Reply, Site, Store, content_security_policy};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderValue, StatusCode, Uri};
use tokio::sync::Semaphore;

/// Pages that are made at once. Each may read many rows.
const AT_ONCE: usize = 2;
/// The longest wait for the pages before.
const WAIT: Duration = Duration::from_secs(10);

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// The store of the pages, with the limit of pages that are made at once.
#[derive(Debug, Clone)]
pub(crate) struct Inspector {
    store: Arc<dyn Store>,
    slots: Arc<Semaphore>,
}

impl Inspector {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, slots: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The page at an address, made on a blocking thread.
    pub(crate) async fn respond(&self, uri: Uri, session: Option<String>) -> Response {
        let slots = Arc::clone(&self.slots).acquire_owned();
        let Ok(Ok(slot)) = tokio::time::timeout(WAIT, slots).await else {
            return busy().into_response();
        };
        let store = Arc::clone(&self.store);
        let made = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            let session = session.as_deref();
            let site = Site { store: store.as_ref(), links: Links::Served, session };
            site.respond(uri.path(), uri.query().unwrap_or_default())
        });
        match made.await {
            Ok(reply) => response(reply),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

fn busy() -> (StatusCode, &'static str) {
    (StatusCode::SERVICE_UNAVAILABLE, "other pages are being made; try again in some seconds\n")
}

/// A reply with the headers of every page.
pub(super) fn response(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, reply.content_type),
        (CONTENT_SECURITY_POLICY, content_security_policy()),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "same-origin"),
        (OPENER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
