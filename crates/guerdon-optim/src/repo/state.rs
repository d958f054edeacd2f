//! The state of an optimizer between updates, for a checkpoint.

use super::Repo;
use crate::error::{OptimError, require};
use crate::kernel::float::Float;
use crate::monitors::MonitorState;

/// The state that a resumed run takes up: plain numbers, independent of the batches' number type.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RepoState {
    /// The coefficient of the KL charge, in reward units per nat, 0 or more.
    pub beta: f64,
    /// The trends of the rewards.
    pub monitor: MonitorState,
}

impl<F: Float> Repo<F> {
    /// The state to be saved.
    pub fn state(&self) -> RepoState {
        RepoState { beta: self.beta.value(), monitor: self.monitor.state() }
    }

    /// Takes up a saved state, which replaces the current one.
    ///
    /// # Errors
    /// [`OptimError::Config`] for a coefficient below 0 or a number that is not finite; the current
    /// state then stays.
    pub fn restore(&mut self, state: &RepoState) -> Result<(), OptimError> {
        let beta = self.beta.at(state.beta)?;
        require(state.monitor.is_finite(), "trends", f64::NAN, "finite")?;
        self.monitor.restore(&state.monitor)?;
        self.beta = beta;
        Ok(())
    }
}
