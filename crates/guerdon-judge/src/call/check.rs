//! Questions of guerdon's own, which show whether an address works and which features it accepts.
//!
//! They hold no word of a dialogue, so that nothing that a policy wrote can decide about an
//! address. A *probe* is sent while an address is half-open, in a task of its own, and the
//! questions wait for its result or go elsewhere. A *confirmation* follows an error whose text
//! suggests that the address lacks a feature: only if the same features are refused here too, they
//! are left out from now on.

use std::sync::Arc;
use std::time::Duration;

use guerdon_queue::{AdmissionPermit, ProbeResult};
use guerdon_types::Usage;
use tokio::time::Instant;

use crate::ask::key::QuestionKey;
use crate::ask::question::RenderedQuestion;
use crate::ask::render::ChatMessage;
use crate::ask::turn_text::TurnText;
use crate::call::capabilities::FeatureRefusal;
use crate::call::exchange::AttemptSpec;
use crate::call::fault::Fault;
use crate::call::fault::classes::Class;
use crate::call::judge_client::JudgeClient;
use crate::call::record::AttemptRecord;
use crate::call::wire::{Completion, RequestFeatures};
use crate::store::audit::AttemptNotes;
use crate::store::budget::Reservation;
use crate::store::event::{CallEvent, CallOutcome};

/// The name of the judged block of a check.
const TAG: &str = "turn-0000000000000000";

/// A question about a greeting, in the form of `like`.
fn check_question(like: &RenderedQuestion) -> RenderedQuestion {
    let system = "You judge one turn of a dialogue. This question checks that you can be reached.";
    let user = format!(
        "<dialogue>\n<user>Hello.</user>\n</dialogue>\n<{TAG}>\nHello. How can I help?\n</{TAG}>"
    );
    let message = |role: &'static str, content: &str| ChatMessage {
        role: role.into(),
        content: content.to_owned(),
    };
    RenderedQuestion {
        rubric: Arc::clone(&like.rubric),
        order: like.order.clone(),
        sample: 0,
        messages: vec![message("system", system), message("user", &user)],
        tag: TAG.to_owned(),
        turn: TurnText::default(),
        listing: None,
    }
}

/// A check that is to be sent.
struct Check<'a> {
    /// The index of the address.
    address: usize,
    features: RequestFeatures,
    key: QuestionKey,
    question: RenderedQuestion,
    reservation: Reservation<'a>,
    most: f64,
}

impl JudgeClient {
    /// Starts a probe of the permit's address, in the form of `like`. It runs to its end.
    pub(crate) fn start_probe(
        self: &Arc<Self>,
        permit: AdmissionPermit,
        key: QuestionKey,
        like: &RenderedQuestion,
    ) {
        let (client, question) = (Arc::clone(self), check_question(like));
        let probe = async move {
            let address = permit.address();
            let most = client.most(&question, question.room());
            let Ok(mut reservation) = client.budget.reserve_when_free(most).await else {
                return permit.probed(ProbeResult::Failed);
            };
            if reservation.secure().await.is_err() {
                return permit.probed(ProbeResult::Failed);
            }
            let features = client.address(address).capabilities.now(false);
            let check = Check { address, features, key, question, reservation, most };
            let (outcome, _) = client.checked(check).await;
            permit.probed(match outcome.map_err(|fault| fault.class) {
                Err(Class::Denied | Class::QuotaGone) => ProbeResult::Closed,
                Err(Class::Transient | Class::Unreachable) => ProbeResult::Failed,
                Ok(_)
                | Err(
                    Class::RateLimited | Class::BadRequest | Class::TooLong | Class::Filtered,
                ) => ProbeResult::Passed,
            });
        };
        self.tasks.spawn(probe);
    }

    /// Finds out whether an address refuses a feature for every question, and then leaves it out.
    /// Returns the cost.
    ///
    /// The check runs in a task of its own, because it is paid for even if its attempt is given up
    /// for a faster one.
    pub(crate) async fn confirm(
        self: &Arc<Self>,
        address: usize,
        attempt: AttemptSpec<'_>,
        (features, refused): (RequestFeatures, FeatureRefusal),
    ) -> Usage {
        let capabilities = &self.address(address).capabilities;
        if refused.named {
            capabilities.leave_out(features, refused.feature);
            return Usage::default();
        }
        let (client, key) = (Arc::clone(self), attempt.key);
        let question = check_question(attempt.question);
        let check = async move {
            let capabilities = &client.address(address).capabilities;
            // One at a time: the others learn from its result.
            let _checking = capabilities.checking.lock().await;
            if !capabilities.is_in_doubt(features, refused.feature) {
                return Usage::default();
            }
            let most = client.most(&question, question.room());
            let Ok(mut reservation) = client.budget.reserve(most) else { return Usage::default() };
            if reservation.secure().await.is_err() {
                return Usage::default();
            }
            let check = Check { address, features, key, question, reservation, most };
            let (outcome, usage) = client.checked(check).await;
            match outcome {
                Ok(_) => capabilities.vouch(features),
                Err(fault) => {
                    if let Some(confirmed) = capabilities.refused(features, &fault) {
                        capabilities.leave_out(features, confirmed.feature);
                    }
                }
            }
            usage
        };
        // A check that panicked has confirmed nothing, and its money is no longer reserved.
        self.tasks.spawn(check).await.unwrap_or_default()
    }

    /// Sends a check and records it.
    async fn checked(&self, check: Check<'_>) -> (Result<Completion, Fault>, Usage) {
        let Check { address: index, features, key, question, reservation, most } = check;
        let address = self.address(index);
        let max_tokens = question.room();
        let attempt = AttemptSpec {
            key,
            question: &question,
            max_tokens,
            reduce_reasoning: false,
            refusals: &[],
            number: 0,
        };
        let started = Instant::now();
        let outcome = self.post(index, address, attempt, features).await;
        if let Err(fault) = &outcome {
            address.remember(fault);
        }
        let usage = self.usage(&outcome, most);
        let event = CallEvent {
            outcome: outcome
                .as_ref()
                .map_or_else(|fault| fault.class.outcome(), |_| CallOutcome::Checked),
            duration: started.elapsed(),
            waited: Duration::ZERO,
            attempt: 0,
            cached: false,
            usage,
        };
        let notes = AttemptNotes { flags: &["check"], ..AttemptNotes::default() };
        let record = AttemptRecord { address: index, event, reservation };
        self.record(key, &question, record, notes).await;
        (outcome, usage)
    }
}
