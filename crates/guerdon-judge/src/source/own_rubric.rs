//! Rubrics that come with rollouts, beside the prompts of the source or in their place.

use std::collections::BTreeMap;
use std::sync::Arc;

use guerdon_fusion::RewardSource as _;
use guerdon_types::{AbstainWhy, ROLLOUT_RUBRIC, Rollout};

use crate::ask::case::Case;
use crate::ask::verdict::RubricVerdict;
use crate::endpoint::Asker;
use crate::rubric::Rubric;
use crate::rubric::request::{RequestRubric, RubricMode};
use crate::source::JudgeSource;
use crate::source::outcome::{RubricOutcome, abstention};

/// The rubric that comes with a rollout.
#[derive(Debug)]
pub(crate) enum OwnRubric {
    /// There is none, or the source does not ask it.
    None,
    /// A rubric to ask.
    Asked(RequestRubric),
    /// A rubric that cannot be asked, with the reason.
    Invalid(String),
}

impl OwnRubric {
    /// The rubric, or the reason why it cannot be asked.
    pub(super) fn asked(&self) -> Option<Result<&RequestRubric, &str>> {
        match self {
            Self::None => None,
            Self::Asked(rubric) => Some(Ok(rubric)),
            Self::Invalid(detail) => Some(Err(detail)),
        }
    }
}

/// The ids of the criteria that are asked, by prompt.
pub(super) fn asked_criteria(
    prompts: &[Arc<Rubric>],
    own: &OwnRubric,
    is_asked: impl Fn(&str) -> bool,
) -> BTreeMap<String, Vec<String>> {
    let own = own.asked().and_then(Result::ok).map(|own| &own.rubric);
    let all = prompts.iter().chain(own).filter(|rubric| is_asked(&rubric.id));
    let ids = |rubric: &Arc<Rubric>| rubric.criteria.iter().map(|one| one.id.clone()).collect();
    all.map(|rubric| (rubric.id.clone(), ids(rubric))).collect()
}

impl JudgeSource {
    /// Asks a rollout's rubric about `case`.
    pub(super) async fn judged_own(
        &self,
        own: Result<&RequestRubric, &str>,
        case: &Case<'_>,
        asker: &Asker,
    ) -> RubricOutcome {
        let outcome = |verdict| RubricOutcome {
            prompt: Some(ROLLOUT_RUBRIC.to_owned()),
            ..RubricOutcome::without_call(verdict)
        };
        let own = match own {
            Ok(own) => own,
            Err(detail) => {
                let why = abstention(AbstainWhy::Malformed, detail).about(ROLLOUT_RUBRIC);
                return RubricOutcome { verdict: Err(why), ..outcome(RubricVerdict::default()) };
            }
        };
        if case.is_silent() {
            return outcome(own.silence_verdict());
        }
        let questions = self.questions(&own.rubric, case, 0);
        let outcomes = self.asked(&questions, asker).await;
        self.counted_by(&own.rubric, questions.iter().zip(outcomes), |ballots| {
            own.weigh(ballots, self.pooling, &case.turn)
        })
    }

    /// The rubric that comes with `rollout`, if this source asks it.
    pub(crate) fn own_rubric(&self, rollout: &Rollout) -> OwnRubric {
        match &self.request_rubrics {
            Some(rubrics) if self.takes_rubrics() && !rollout.rubric.is_empty() => {
                match rubrics.build(&rollout.rubric) {
                    Ok(rubric) => OwnRubric::Asked(rubric),
                    Err(detail) => OwnRubric::Invalid(detail),
                }
            }
            _ => OwnRubric::None,
        }
    }

    /// The prompts that are asked about a rollout with this rubric.
    pub(super) fn asked_prompts(&self, own: &OwnRubric) -> &[Arc<Rubric>] {
        let replaces = self.request_rubrics.as_ref().map(|rubrics| rubrics.mode);
        match own {
            OwnRubric::Asked(_) | OwnRubric::Invalid(_)
                if replaces == Some(RubricMode::Instead) =>
            {
                &[]
            }
            _ => self.prompts.rubrics(),
        }
    }
}
