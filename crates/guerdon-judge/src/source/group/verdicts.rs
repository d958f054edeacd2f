//! The judgement of one rubric about a group, and its part about one member.

use std::sync::Arc;

use guerdon_types::{Abstention, Usage};

use crate::ask::verdict::RubricVerdict;
use crate::quality::position::PositionSums;
use crate::rubric::Rubric;
use crate::source::outcome::RubricOutcome;

/// The judgement of one rubric about a group.
pub(super) struct GroupVerdicts {
    pub(super) rubric: Arc<Rubric>,
    /// The verdict about each distinct reply, or the reason why there is none.
    pub(super) verdicts: Result<Vec<RubricVerdict>, Abstention>,
    pub(super) usage: Usage,
    pub(super) cached: Option<bool>,
    pub(super) model: Option<String>,
    pub(super) questions: usize,
    pub(super) sums: PositionSums,
    /// The standard error of the points of each reply; empty unless replies were compared two by
    /// two.
    pub(super) errors: Vec<f64>,
}

impl GroupVerdicts {
    pub(super) fn without_call(
        rubric: &Arc<Rubric>,
        verdicts: Result<Vec<RubricVerdict>, Abstention>,
    ) -> Self {
        Self {
            rubric: Arc::clone(rubric),
            verdicts,
            usage: Usage::default(),
            cached: None,
            model: None,
            questions: 0,
            sums: PositionSums::default(),
            errors: Vec::new(),
        }
    }

    /// The outcome for member `number`, whose reply is at place `reply`; `None` for an empty reply
    /// of a judged group. The first member has the cost of the whole group.
    pub(super) fn of(&self, number: usize, reply: Option<usize>) -> Option<RubricOutcome> {
        let verdict = match &self.verdicts {
            Ok(verdicts) => Ok(verdicts.get(reply?)?.clone()),
            Err(why) => Err(why.clone()),
        };
        Some(RubricOutcome {
            prompt: Some(self.rubric.id.clone()),
            verdict,
            missing: Vec::new(),
            usage: if number == 0 { self.usage } else { Usage::default() },
            cached: self.cached,
            model: self.model.clone(),
        })
    }
}
