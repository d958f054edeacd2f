//! The engines of a model, lent to the device threads one batch at a time.

use parking_lot::{Mutex, MutexGuard};

/// The engines of a model, the fastest first. There are as many as device threads, so a thread
/// always finds one idle.
#[derive(Debug)]
pub(crate) struct Engines<E>(Vec<Mutex<E>>);

impl<E> Engines<E> {
    pub(crate) fn new(engines: Vec<E>) -> Self {
        Self(engines.into_iter().map(Mutex::new).collect())
    }

    /// The fastest idle engine, until the guard is dropped. A lone request therefore always gets the
    /// fastest engine. `None` if there is no engine.
    pub(crate) fn lend(&self) -> Option<MutexGuard<'_, E>> {
        let idle = self.0.iter().find_map(Mutex::try_lock);
        // Another thread can take each engine just before it is tried, but only after it returned
        // another one.
        idle.or_else(|| self.0.first().map(Mutex::lock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fastest_idle_engine_is_lent() {
        let engines = Engines::new(vec!["fast", "slow"]);
        let first = engines.lend().unwrap();
        let second = engines.lend().unwrap();
        assert_eq!((*first, *second), ("fast", "slow"));
        drop(first);
        assert_eq!(*engines.lend().unwrap(), "fast");
    }
}
