//! Threads for computation on behalf of clients, apart from the async threads and from each other.

use std::io;
use std::sync::Arc;

use guerdon_queue::WorkThreads;

/// The largest number of rollouts that wait for the rules' threads.
const MAX_WAITING_ROLLOUTS: usize = 16_384;

/// The largest number of checks that wait.
const MAX_WAITING_CHECKS: usize = 8;

/// Cores from which a second thread checks rule packs.
const CORES_FOR_TWO_CHECKS: usize = 4;

/// The threads of one engine.
#[derive(Debug)]
pub(super) struct WorkPools {
    /// Rules on the rollouts of requests: one thread a core.
    pub(super) rules: Arc<WorkThreads>,
    /// Checks of rule packs that clients send: a part of the cores.
    pub(super) checks: WorkThreads,
}

impl WorkPools {
    pub(super) fn start() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let checking = if cores < CORES_FOR_TWO_CHECKS { 1 } else { 2 };
        Ok(Self {
            rules: Arc::new(WorkThreads::start("guerdon-rules", cores, MAX_WAITING_ROLLOUTS)?),
            checks: WorkThreads::start("guerdon-check", checking, MAX_WAITING_CHECKS)?,
        })
    }
}
