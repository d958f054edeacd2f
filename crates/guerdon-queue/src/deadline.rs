//! Instants that are computed from delays of other parties.

use std::time::Duration;

use tokio::time::Instant;

/// The longest delay that is added: a year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// `delay` after `now`, at most a year: a header can name a delay beyond the range of [`Instant`],
/// whose addition then panics.
pub(crate) fn after(now: Instant, delay: Duration) -> Instant {
    now + delay.min(LONGEST)
}
