//! Counts the steps of loops whose number of rounds depends on the input, so that tests can compare
//! work instead of time.
//!
//! Outside of this crate's tests the count is compiled away.

#[cfg(test)]
thread_local! {
    static TAKEN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Adds `steps` to the count.
#[inline]
pub(crate) fn add(steps: usize) {
    #[cfg(test)]
    TAKEN.with(|taken| taken.set(taken.get() + steps as u64));
    #[cfg(not(test))]
    let _ = steps;
}

/// Returns the number of steps that this thread has taken since the last call.
#[cfg(test)]
pub(crate) fn take() -> u64 {
    TAKEN.with(std::cell::Cell::take)
}
