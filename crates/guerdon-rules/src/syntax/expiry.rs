//! The date that `expires:` is compared with, and the severity of an expired rule.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::syntax::pack::Date;

/// The date that `expires:` is compared with, and the severity of an expired rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExpiryPolicy {
    pub(crate) today: Date,
    /// Set if an expired rule is an error, for authors. For servers it is a warning.
    pub(crate) strict: bool,
}

impl ExpiryPolicy {
    /// The policy of a server that loads packs.
    pub(crate) fn load(now: SystemTime) -> Self {
        Self { today: day(now), strict: false }
    }

    /// The policy of an author who checks packs.
    pub(crate) fn check(now: SystemTime) -> Self {
        Self { today: day(now), strict: true }
    }
}

fn day(now: SystemTime) -> Date {
    let days = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400);
    Date(i64::try_from(days).unwrap_or(i64::MAX))
}
