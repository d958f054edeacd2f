//! The client of one judge: what its layers share.

use std::sync::Arc;
use std::time::Duration;

use guerdon_queue::{Admission, Backoff};
use tokio_util::task::TaskTracker;

use crate::ask::key::Identity;
use crate::ask::question::RenderedQuestion;
use crate::call::address::Address;
use crate::call::hedge::Hedge;
use crate::call::shared::SharedLimits;
use crate::call::token_estimate::TokenEstimator;
use crate::config::{TokenCounting, TokenPrices};
use crate::store::audit::AuditLog;
use crate::store::budget::SpendingBudget;
use crate::store::event::{CallObserver, ReplyObserver};

/// The client of one judge.
pub(crate) struct JudgeClient {
    /// At least one.
    pub(crate) addresses: Vec<Address>,
    /// The queue before all addresses, in their order.
    pub(crate) admission: Arc<Admission>,
    pub(crate) identity: Identity,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) backoff: Backoff,
    /// True if another judge answers while no address of this one is up.
    pub(crate) has_fallback: bool,
    pub(crate) prices: TokenPrices,
    pub(crate) counting: TokenCounting,
    pub(crate) estimate: Arc<TokenEstimator>,
    pub(crate) hedge: Hedge,
    pub(crate) budget: SpendingBudget,
    pub(crate) shared: SharedLimits,
    pub(crate) audit: Option<AuditLog>,
    pub(crate) observer: CallObserver,
    pub(crate) reply_observer: Option<ReplyObserver>,
    /// The tasks of probes.
    pub(crate) tasks: TaskTracker,
}

impl std::fmt::Debug for JudgeClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JudgeClient").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl JudgeClient {
    /// The most that a request about `question` may cost.
    pub(crate) fn most(&self, question: &RenderedQuestion, max_tokens: u32) -> f64 {
        let prompt = self.estimate.most_prompt(&question.messages);
        self.prices.cost(prompt, self.estimate.most_completion(max_tokens))
    }

    /// The address with this index, which admission has chosen.
    pub(crate) fn address(&self, index: usize) -> &Address {
        // Admission has as many addresses as there are; the first stands in for a wrong index.
        self.addresses.get(index).unwrap_or(&self.addresses[0])
    }
}
