//! The addresses of pages.

use axum::response::Redirect;
use http::Method;

/// True for what a browser opens: a redirect to the login form is then better than a problem body.
pub(crate) fn is_page(method: &Method, path: &str) -> bool {
    let reads = *method == Method::GET || *method == Method::HEAD;
    (path == "/" && reads) || path == "/ui" || path.starts_with("/ui/")
}

/// True for the pages that need no token.
pub(crate) fn is_public(path: &str) -> bool {
    path == "/ui/login" || path.starts_with("/ui/assets/")
}

/// Leads from the root to the pages.
pub(super) async fn home() -> Redirect {
    Redirect::to("/ui")
}
