//! A running normaliser: standardises by moments that it goes on observing, if it is online.

use std::sync::{Mutex, PoisonError};

use guerdon_types::{Normaliser, RunningState};

use super::Moments;

/// The moments of a `running` normaliser while it serves.
///
/// All values of a request are normalised by one [`snapshot`](Self::snapshot), so that siblings are
/// compared on one scale; [`observe`](Self::observe) adds them afterwards. A frozen normaliser
/// observes nothing.
#[derive(Debug)]
pub struct RunningNormaliser {
    online: bool,
    moments: Mutex<Moments>,
}

impl RunningNormaliser {
    /// A normaliser that starts with `state`.
    #[must_use]
    pub fn new(state: RunningState, online: bool) -> Self {
        Self { online, moments: Mutex::new(state.into()) }
    }

    /// The normaliser that `normaliser` describes; `None` if it is not `running`.
    #[must_use]
    pub fn of(normaliser: &Normaliser) -> Option<Self> {
        let online = matches!(normaliser, Normaliser::Running { online: true, .. });
        normaliser.running_state().map(|state| Self::new(state, online))
    }

    /// The moments at this time.
    #[must_use]
    pub fn snapshot(&self) -> Moments {
        // The moments are replaced whole, so a panic elsewhere leaves valid ones.
        *self.moments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the values of a request, if the normaliser is online. The result does not depend on how
    /// values are grouped into requests, beyond rounding.
    pub fn observe(&self, values: impl IntoIterator<Item = f64>) {
        if self.online {
            let observed = Moments::of(values);
            let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
            *moments = moments.merged(observed);
        }
    }

    /// True if values are observed.
    #[must_use]
    pub const fn is_online(&self) -> bool {
        self.online
    }

    /// The state to save.
    #[must_use]
    pub fn state(&self) -> RunningState {
        self.snapshot().state()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_normaliser_observes_nothing() {
        let state = Moments::of([1.0, 3.0]).state();
        let frozen = RunningNormaliser::new(state, false);
        frozen.observe([100.0, 200.0]);
        assert_eq!(frozen.state(), state);
    }

    #[test]
    fn online_normaliser_keeps_a_snapshot_while_it_observes() {
        let online = RunningNormaliser::new(Moments::of([1.0, 3.0]).state(), true);
        let before = online.snapshot();
        online.observe([5.0, 7.0]);
        assert_eq!(before, Moments::of([1.0, 3.0]));
        assert_eq!(online.snapshot().count(), 4);
        assert!((online.snapshot().mean() - 4.0).abs() < 1e-12);
    }
}
