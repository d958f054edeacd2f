//! The store of the pages, with the limit of pages that are made at once.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use guerdon_inspector::{Links, Reply, Site, Store, content_security_policy};
use guerdon_types::ProblemCode;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderValue, StatusCode, Uri};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::form::random;
use crate::http::problem::ApiError;

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
    /// The token of forms of visitors without a session. `None` for pages that only show.
    form_token: Option<Arc<str>>,
    /// Held while a file is written.
    writing: Arc<Mutex<()>>,
}

impl Inspector {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        Self { store, slots, form_token: None, writing: Arc::default() }
    }

    /// These pages, and those that write.
    pub(crate) fn with_tools(self) -> Self {
        Self { form_token: Some(random().into()), ..self }
    }

    /// The token of forms of visitors without a session. Other sites cannot read it.
    pub(super) fn form_token(&self) -> &str {
        self.form_token.as_deref().unwrap_or_default()
    }

    /// Does `work` while no other write is under way.
    pub(super) fn one_at_a_time<T>(&self, work: impl FnOnce() -> T) -> T {
        let _held = self.writing.lock();
        work()
    }

    /// Does `work` on the pages, for a visitor with or without a session.
    pub(super) fn with_site<T>(
        &self,
        session: Option<&str>,
        work: impl FnOnce(&Site<'_>) -> T,
    ) -> T {
        let (store, has_tools) = (self.store.as_ref(), self.form_token.is_some());
        work(&Site { store, links: Links::Served, session, has_tools })
    }

    /// Does `work` with the store on a blocking thread, in the place of a page.
    ///
    /// # Errors
    /// `overloaded` if other pages take too long, `internal` if the work panics.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Store) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let slots = Arc::clone(&self.slots).acquire_owned();
        let Ok(Ok(slot)) = tokio::time::timeout(WAIT, slots).await else {
            let detail = "other pages are being made; try again in some seconds";
            return Err(ApiError::new(ProblemCode::Overloaded, detail));
        };
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work(store.as_ref())
        });
        let failed = |_| ApiError::new(ProblemCode::Internal, "the page failed");
        done.await.map_err(failed)
    }

    /// The page at an address, made on a blocking thread.
    pub(crate) async fn respond(&self, uri: Uri, session: Option<String>) -> Response {
        let slots = Arc::clone(&self.slots).acquire_owned();
        let Ok(Ok(slot)) = tokio::time::timeout(WAIT, slots).await else {
            return busy().into_response();
        };
        let own = self.clone();
        let made = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            own.with_site(session.as_deref(), |site| {
                site.respond(uri.path(), uri.query().unwrap_or_default())
            })
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
