//! Time that the first caller of a question is prepared to wait. It bounds only work that is not
//! sent yet: the queue and the waits before retries. A request that was sent is paid for and runs
//! to its end.

use std::sync::Arc;

use guerdon_queue::Flow;
use guerdon_types::AbstainWhy;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ask::answer::{Failure, PatienceEnd};
use crate::store::budget::HeldMoney;

/// Patience of the first caller.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    pub(crate) deadline: Option<Instant>,
    /// Cancelled when the caller disconnects.
    pub(crate) gone: CancellationToken,
    /// The flow of the question in the queue.
    pub(crate) flow: Flow,
    /// Money that was reserved for this question and others together.
    pub(crate) held: Option<Arc<HeldMoney>>,
}

impl Patience {
    /// Waits for `future` while there is patience.
    pub(crate) async fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, PatienceEnd> {
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
            () = self.gone.cancelled() => Err(PatienceEnd::HungUp),
            output = future => Ok(output),
            deadline = deadline => Err(PatienceEnd::Deadline(deadline)),
        }
    }
}

/// The failure of a question whose caller stopped waiting.
pub(crate) fn gave_up_waiting(patience_end: PatienceEnd) -> Failure {
    let detail = "the request's deadline passed before the judge could be asked";
    Failure { patience_end: Some(patience_end), ..Failure::new(AbstainWhy::Deadline, detail) }
}
