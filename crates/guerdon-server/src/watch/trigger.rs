//! Reasons for a reload, and other changes of generation, as sent to the reload task.

use tokio::sync::oneshot;

use crate::engine::{NoCandidate, NothingToRollBack};

/// A reason for a reload, or another change of generation.
#[derive(Debug)]
pub(crate) enum Trigger {
    /// A watched folder changed. Files are loaded only if the content of one of them changed.
    Changed,
    /// SIGHUP.
    Hangup,
    /// `POST /v1/reload`. The sender returns the new generation or the error report.
    Request(oneshot::Sender<Result<u64, String>>),
    /// `POST /v1/rollback`. The sender returns the new generation and the one that it repeats.
    RollBack(oneshot::Sender<Result<(u64, u64), NothingToRollBack>>),
    /// `POST /v1/promote`. The sender returns the generation that serves now.
    Promote(oneshot::Sender<Result<u64, NoCandidate>>),
}
