//! The health and the capacity of one address.

mod adaptive_limit;
mod breaker;

pub use self::adaptive_limit::AdaptiveLimit;
pub use self::breaker::{BreakerConfig, BreakerState, CircuitBreaker};
