//! Records of requests that were sent: the observer, the audit log and the budget.

use crate::ask::key::QuestionKey;
use crate::ask::question::RenderedQuestion;
use crate::ask::reply::CriterionFinding;
use crate::call::judge_client::JudgeClient;
use crate::store::budget::Reservation;
use crate::store::event::CallEvent;

/// A request that was sent and must be recorded and paid for.
#[derive(Debug)]
pub(crate) struct AttemptRecord<'a> {
    /// The index of the address.
    pub(crate) address: usize,
    pub(crate) event: CallEvent,
    pub(crate) reservation: Reservation<'a>,
}

/// Remarks about an attempt for the audit log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptNotes<'a> {
    pub(crate) flags: &'a [&'static str],
    pub(crate) findings: Option<&'a [CriterionFinding]>,
    /// The words of the judge.
    pub(crate) reply: Option<&'a str>,
}

impl JudgeClient {
    /// Reports an attempt to the observer and the audit log, and settles its cost.
    pub(crate) async fn record(
        &self,
        key: QuestionKey,
        question: &RenderedQuestion,
        AttemptRecord { address, event, reservation }: AttemptRecord<'_>,
        AttemptNotes { flags, findings, reply }: AttemptNotes<'_>,
    ) {
        (self.observer)(&event);
        if let Some(audit) = &self.audit {
            let address = &self.address(address).name;
            let line = audit.line(key, question, &self.identity.model, address);
            audit.attempt(&line.of(&event, flags, findings, reply)).await;
        }
        reservation.settle(event.usage.cost).await;
    }
}
