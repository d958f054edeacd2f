//! The HTTP side: routes and the layers around them.

mod app;
pub(crate) mod auth;
mod body;
pub(crate) mod caller;
mod credentials;
mod expect;
mod extract;
pub(crate) mod problem;
pub(crate) mod rate_limit;
pub(crate) mod request_context;
mod routes;
pub(crate) mod state;

pub use app::openapi_json;
pub(crate) use app::router;
