//! The budget of compiling all rules: memory, and tries of DFAs that come to nothing.

use super::error::PatternError;

/// The greatest size of all compiled patterns and literals together, in bytes.
pub(crate) const MAX_TOTAL_BYTES: usize = 256 * 1024 * 1024;
/// The number of DFAs that may outgrow their bound before only small patterns get one. Each costs
/// tens of milliseconds, and a pack could have thousands.
const MAX_WASTED_DFAS: usize = 64;
/// The greatest number of NFA states of a pattern that gets a DFA after that.
const SMALL_STATES: usize = 128;

/// The rest of a budget that all rules share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompileBudget {
    bytes: usize,
    wasted_dfas: usize,
}

impl Default for CompileBudget {
    fn default() -> Self {
        Self { bytes: MAX_TOTAL_BYTES, wasted_dfas: 0 }
    }
}

impl CompileBudget {
    /// A budget of `bytes` bytes.
    #[cfg(test)]
    pub(crate) fn of(bytes: usize) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// Refuses a pattern or a literal of at least `bytes` bytes that does not fit.
    pub(crate) fn admit(&self, bytes: usize) -> Result<(), PatternError> {
        if bytes <= self.bytes {
            return Ok(());
        }
        Err(PatternError {
            at: None,
            message: format!(
                "all rules up to this one need more than {} MiB when compiled",
                MAX_TOTAL_BYTES >> 20
            ),
            help: "lower the counted repetitions of the rules, or load fewer of them",
        })
    }

    pub(crate) const fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Returns true if nothing is left.
    pub(crate) const fn is_spent(&self) -> bool {
        self.bytes == 0
    }

    /// The greatest number of NFA states of a pattern whose DFA may be tried.
    pub(super) const fn dfa_states(&self) -> usize {
        if self.wasted_dfas < MAX_WASTED_DFAS { usize::MAX } else { SMALL_STATES }
    }

    pub(super) const fn waste_dfa(&mut self) {
        self.wasted_dfas += 1;
    }
}
