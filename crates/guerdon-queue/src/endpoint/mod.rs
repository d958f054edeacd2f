//! The health and the capacity of one address.

mod adaptive_limit;
mod health;

pub use self::adaptive_limit::AdaptiveLimit;
pub use self::health::{AddressHealth, HealthConfig, HealthState, ProbeInterval};
