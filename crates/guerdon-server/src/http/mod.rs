//! The HTTP side: routes and the layers around them.

mod admission;
mod app;
pub(crate) mod auth;
mod authorize;
mod body;
pub(crate) mod caller;
mod content_coding;
mod credentials;
mod expect;
mod extract;
mod guard;
mod guesses;
mod labels;
pub(crate) mod pages;
pub(crate) mod problem;
pub(crate) mod rate_limit;
pub(crate) mod request_context;
mod routes;
pub(crate) mod state;

pub use app::openapi_json;
pub(crate) use app::router;
pub use pages::{RunningViewer, view};
