//! When, and for whom, packs are compiled.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::syntax::pack::Date;

/// When, and for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Occasion {
    pub(crate) today: Date,
    /// An author checks: an expired rule is an error. A server that loads only warns.
    pub(crate) strict: bool,
}

impl Occasion {
    /// A server loads.
    pub(crate) fn load(now: SystemTime) -> Self {
        Self { today: day(now), strict: false }
    }

    /// An author checks.
    pub(crate) fn check(now: SystemTime) -> Self {
        Self { today: day(now), strict: true }
    }
}

fn day(now: SystemTime) -> Date {
    let days = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400);
    Date(i64::try_from(days).unwrap_or(i64::MAX))
}
