//! Admission of several questions together: all of them can be paid and answered in time, or none is
//! sent.

use std::sync::Arc;

use guerdon_types::AbstainWhy;
use tokio::time::Instant;

use crate::ask::answer::Failure;
use crate::ask::question::JudgeQuestion;
use crate::call::token_estimate::PromptSize;
use crate::endpoint::{Asker, Endpoint};
use crate::store::budget::BudgetHold;

impl Endpoint {
    /// Reserves what `calls` questions may cost, in equal parts of at most the size of each of
    /// `largest`, and checks that the quotas allow them before the deadline. Each question counts
    /// once: a re-ask is paid from the budget, too, but is not foreseen.
    pub(crate) async fn admit(
        &self,
        largest: &[JudgeQuestion<'_>],
        calls: usize,
        asker: &Asker,
    ) -> Result<BudgetHold<'_>, Failure> {
        let client = &self.caller;
        let (mut tokens, mut most) = (0, 0.0_f64);
        for question in largest {
            let rendered = question.unrendered().rendered().await?;
            let room = rendered.room();
            let prompt = client.estimate.prompt(PromptSize::of(&rendered.messages));
            tokens = prompt.saturating_add(client.estimate.completion(room)).max(tokens);
            most += client.most(&rendered, room);
        }
        let each = calls.div_ceil(largest.len().max(1));
        let wait = client.admission.batch_wait(u64::try_from(calls).unwrap_or(u64::MAX), tokens);
        if let Some(deadline) = asker.deadline
            && Instant::now().checked_add(wait).is_none_or(|done| done > deadline)
        {
            let detail = format!(
                "the judge's quotas allow the {calls} calls about this group within {:.0} s, which is after the \
                 request's deadline; nothing was sent",
                wait.as_secs_f64()
            );
            return Err(Failure::new(AbstainWhy::Deadline, detail));
        }
        #[expect(clippy::cast_precision_loss, reason = "a bounded number of calls")]
        let cost = most * each as f64;
        let hold = client.budget.hold(cost);
        let held = match asker.deadline {
            None => hold.await,
            Some(deadline) => tokio::time::timeout_at(deadline, hold).await.map_err(|_| {
                let detail = "the judge's budget was reserved by others until the request's deadline; \
                              nothing was sent";
                Failure::new(AbstainWhy::Deadline, detail)
            })?,
        };
        held.map_err(|detail| {
            Failure::over_budget(format!(
                "the {calls} calls about this group cannot be paid, so none was sent: {detail}"
            ))
        })
    }
}

impl Asker {
    /// The same caller, whose questions are paid from `hold`.
    pub(crate) fn paid_from(&self, hold: &BudgetHold<'_>) -> Self {
        Self { held: Some(Arc::clone(&hold.held())), ..self.clone() }
    }
}
