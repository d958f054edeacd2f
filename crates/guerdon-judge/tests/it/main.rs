//! The judge from outside, against stand-ins on loopback.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy.toml frees #[test] functions; their helpers are tests too"
)]

mod addresses;
mod attacks;
mod audit;
mod cache;
mod calibration;
mod delays;
mod endpoint;
mod facts;
mod features;
mod hedges;
mod house;
mod listwise;
mod pairwise;
mod paused;
mod presets;
mod quota_windows;
mod quotas;
mod quotations;
mod real_servers;
mod reasoning;
mod replicas;
mod servers;
mod shipped;
mod states;
