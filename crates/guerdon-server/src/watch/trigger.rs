//! Reasons for a reload, as sent to the reload task.

use tokio::sync::oneshot;

/// A reason for a reload.
#[derive(Debug)]
pub(crate) enum Trigger {
    /// A watched folder changed. Files are loaded only if the content of one of them changed.
    Changed,
    /// SIGHUP.
    Hangup,
    /// `POST /v1/reload`. The sender returns the new generation or the error report.
    Request(oneshot::Sender<Result<u64, String>>),
}
