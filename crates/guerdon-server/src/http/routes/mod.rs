//! One file a noun; a handler takes what axum injects and calls the engine.

pub(crate) mod health;
pub(crate) mod info;
pub(crate) mod metrics;
pub(crate) mod reload;
pub(crate) mod rules;
pub(crate) mod score;
