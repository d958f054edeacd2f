//! Records of requests that were sent: the observer, the audit log and the budget.

use crate::ask::key::QuestionKey;
use crate::ask::question::RenderedQuestion;
use crate::call::judge_client::JudgeClient;
use crate::store::audit::{AttemptNotes, excerpt};
use crate::store::budget::Reservation;
use crate::store::event::{CallEvent, JudgeReply};

/// A request that was sent and must be recorded and paid for.
#[derive(Debug)]
pub(crate) struct AttemptRecord<'a> {
    /// The index of the address.
    pub(crate) address: usize,
    pub(crate) event: CallEvent,
    pub(crate) reservation: Reservation<'a>,
}

impl JudgeClient {
    /// Reports an attempt to the observer and the audit log, and settles its cost.
    pub(crate) async fn record(
        &self,
        key: QuestionKey,
        question: &RenderedQuestion,
        AttemptRecord { address, event, reservation }: AttemptRecord<'_>,
        notes: AttemptNotes<'_>,
    ) {
        (self.observer)(&event);
        if let Some((observer, reply)) = self.reply_observer.as_ref().zip(notes.reply) {
            observer(JudgeReply {
                prompt: question.rubric.id.clone(),
                sample: question.sample,
                attempt: event.attempt,
                outcome: event.outcome,
                reply: excerpt(reply).to_owned(),
                reasons: notes.reasons.map(str::to_owned),
            });
        }
        if let Some(audit) = &self.audit {
            let address = &self.address(address).name;
            let line = audit.line(key, question, &self.identity.model, address);
            audit.attempt(&line.of(&event, question, notes)).await;
        }
        reservation.settle(event.usage.cost).await;
    }
}
