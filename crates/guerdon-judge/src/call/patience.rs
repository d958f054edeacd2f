//! How long the first asker of a question is prepared to wait. It bounds what has not been sent yet: a place in a queue,
//! the wait before a repeat. An attempt that is under way is paid for and runs to its end.

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ask::answer::GaveUp;
use crate::limit::Flow;

/// The first asker's patience.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    pub(crate) deadline: Option<Instant>,
    /// Cancelled when the asker hangs up.
    pub(crate) gone: CancellationToken,
    /// Whose question it is.
    pub(crate) flow: Flow,
}

impl Patience {
    /// Waits for `future` while there is patience.
    pub(crate) async fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, GaveUp> {
        let deadline = async {
            match self.deadline {
                Some(deadline) => {
                    tokio::time::sleep_until(deadline).await;
                    deadline
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.gone.cancelled() => Err(GaveUp::HungUp),
            output = future => Ok(output),
            deadline = deadline => Err(GaveUp::Deadline(deadline)),
        }
    }
}
