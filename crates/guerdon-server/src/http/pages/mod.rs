//! The inspector's pages at `/ui`, for browsers: behind the scope `read`, with a login form where
//! tokens are configured.

mod form;
mod inspector;
mod label;
mod labels_file;
mod login;
mod no_rollouts;
mod paths;
mod session;
mod viewer;
mod visitor;
mod workbench;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};

pub(crate) use inspector::Inspector;
pub(crate) use no_rollouts::NoRollouts;
pub(crate) use paths::{is_page, is_public};
pub(crate) use session::{Session, SessionToken};
pub use viewer::{RunningViewer, view};
pub(crate) use visitor::Visitor;

use crate::http::state::App;

/// The routes of the server.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(paths::home))
        .route("/ui", get(page))
        .route("/ui/login", get(login::form).post(login::submit))
        .route("/ui/logout", post(login::logout))
        .route("/ui/label", get(label::show).post(label::submit))
        .route("/ui/label/{form}", get(label::download))
        .route("/ui/workbench", get(workbench::show).post(workbench::submit))
        .route("/ui/{*path}", get(page))
}

async fn page(State(app): State<App>, request: Request) -> Response {
    let session = request.extensions().get::<Session>().map(Session::csrf);
    app.inspector.respond(request.uri().clone(), session).await
}
