//! The health of one server, as this client has seen it.

use std::time::Duration;

use guerdon_queue::Backoff;
use tokio::time::Instant;

/// Failures in a row, and the pause after the last one.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: u32,
    until: Option<Instant>,
    /// The server named the delay of the pause itself.
    is_named: bool,
}

/// The rest of a pause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PauseLeft {
    pub(super) time: Duration,
    pub(super) is_named: bool,
}

impl Health {
    /// True without a pause.
    pub(super) fn is_free(&self, now: Instant) -> bool {
        self.left(now).time.is_zero()
    }

    pub(super) fn left(&self, now: Instant) -> PauseLeft {
        let left = |until: Instant| until.saturating_duration_since(now);
        PauseLeft { time: self.until.map_or(Duration::ZERO, left), is_named: self.is_named }
    }

    /// Returns false in a pause. After one, lets a single request through and pauses again, so that
    /// a server that is still down costs one attempt and not one of every request.
    pub(super) fn claim(&mut self, now: Instant, backoff: &Backoff) -> bool {
        if !self.is_free(now) {
            return false;
        }
        if self.failures > 0 {
            self.until = now.checked_add(backoff.ceiling(self.failures));
            self.is_named = false;
        }
        true
    }

    /// Counts a failure and begins a pause, of `named` or the backoff.
    pub(super) fn pause(&mut self, now: Instant, named: Option<Duration>, backoff: &Backoff) {
        let pause = backoff.pause(named, self.failures);
        self.failures = self.failures.saturating_add(1);
        let until = now.checked_add(pause);
        if until > self.until {
            self.until = until;
            self.is_named = named.is_some();
        }
    }

    /// Ends every pause.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
