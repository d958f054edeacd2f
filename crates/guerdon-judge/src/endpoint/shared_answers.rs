//! Answers that replicas share: a question that several replicas ask at once is asked by one of
//! them, and an answer that one of them has is an answer of all.

use std::time::Duration;

use guerdon_queue::{Claim, Lease};
use guerdon_types::Usage;

use crate::ask::answer::{Failure, JudgeAnswer};
use crate::ask::key::QuestionKey;
use crate::call::patience::{Patience, gave_up_waiting};
use crate::call::services::SharedCoordinator;
use crate::store::cache::FetchedAnswer;

/// The answers of all replicas.
#[derive(Debug, Clone)]
pub(crate) struct SharedAnswers {
    coordinator: SharedCoordinator,
    ttl: Duration,
    is_used: bool,
}

impl SharedAnswers {
    /// `is_used` is false for a cache that does not both use and keep answers.
    pub(crate) const fn new(coordinator: SharedCoordinator, ttl: Duration, is_used: bool) -> Self {
        Self { coordinator, ttl, is_used }
    }

    /// The shared answer to `key`, or that of `call`, which is then shared. Without the coordinator
    /// every replica makes its own call: that costs money and nothing else.
    pub(crate) async fn fetch(
        &self,
        key: QuestionKey,
        patience: &Patience,
        call: impl Future<Output = (Result<JudgeAnswer, Failure>, Usage)>,
    ) -> FetchedAnswer {
        let own = |(result, usage)| FetchedAnswer { result, usage, cached: false };
        if !self.is_used || !self.coordinator.is_shared() {
            return own(call.await);
        }
        let key = String::from(key);
        let lease = match patience.wait(self.coordinator.claim(&key)).await {
            Ok(Ok(Claim::Stored(bytes))) => match serde_json::from_slice(&bytes) {
                Ok(answer) => {
                    let usage = Usage::default();
                    return FetchedAnswer { result: Ok(answer), usage, cached: true };
                }
                // Written by another version of the program, which keeps its own.
                Err(_) => None,
            },
            Ok(Ok(Claim::Lead(lease))) => Some(lease),
            Ok(Err(_)) => None,
            Err(patience_end) => {
                return own((Err(gave_up_waiting(patience_end)), Usage::default()));
            }
        };
        let (result, usage) = call.await;
        let answer = match result {
            Ok(answer) => answer,
            // The lease ends here, and another replica asks.
            Err(failure) => return own((Err(failure), usage)),
        };
        own((Ok(self.share(&key, answer, lease).await), usage))
    }

    /// Stores an answer. Returns the one that all replicas use: the first that was stored.
    async fn share(&self, key: &str, answer: JudgeAnswer, lease: Option<Lease>) -> JudgeAnswer {
        let Ok(bytes) = serde_json::to_vec(&answer) else { return answer };
        match self.coordinator.put(key, bytes, self.ttl, lease).await {
            Ok(stored) => serde_json::from_slice(&stored).unwrap_or(answer),
            // The coordinator reports its state; the answer is valid.
            Err(_) => answer,
        }
    }
}
