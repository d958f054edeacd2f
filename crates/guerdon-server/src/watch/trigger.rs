//! Reasons to reload, as the reload task receives them.

use tokio::sync::oneshot;

/// A reason to reload.
#[derive(Debug)]
pub(crate) enum Trigger {
    /// A watched folder changed. Files are loaded only if a file that was read really differs.
    Changed,
    /// SIGHUP.
    Hangup,
    /// `POST /v1/reload`; answered with the new generation or the report.
    Asked(oneshot::Sender<Result<u64, String>>),
}
