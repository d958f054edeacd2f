//! Rubrics that come with rollouts, beside the prompts of the source or in their place.

use std::borrow::Cow;
use std::sync::Arc;

use guerdon_fusion::{Ask, RewardSource as _};
use guerdon_types::{AbstainWhy, ROLLOUT_RUBRIC, Rollout};

use crate::ask::case::Case;
use crate::ask::verdict::RubricVerdict;
use crate::endpoint::Asker;
use crate::rubric::Rubric;
use crate::rubric::dropout::{DropSeed, Dropout};
use crate::rubric::request::{RequestRubric, RubricMode};
use crate::source::JudgeSource;
use crate::source::asked_rubrics::{AskedPrompt, AskedRubrics, OwnRubric};
use crate::source::outcome::{RubricOutcome, abstention};

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
        let questions = self.questions(&own.rubric, &own.rubric.orders, case, 0);
        let outcomes = self.asked(&questions, asker).await;
        self.counted_by(&own.rubric, questions.iter().zip(outcomes), |ballots| {
            own.weigh(ballots, self.pooling, &case.turn)
        })
    }

    /// The rubrics that are asked about a rollout.
    pub(crate) fn asked_rubrics(&self, ask: &Ask<'_>) -> AskedRubrics<'_> {
        let seed = self.dropout.and_then(|share| Some((share, DropSeed::of(ask)?)));
        let dropout = seed.map(|(share, seed)| Dropout { seed, share });
        let own = self.own_rubric(ask.rollout, dropout);
        let all = self.asked_prompts(&own);
        let compared = all.iter().filter(|one| one.compares()).collect();
        let prompts = all.iter().filter(|one| !one.compares());
        let prompts = prompts.map(|rubric| {
            let orders = match dropout {
                None => Cow::Borrowed(rubric.orders.as_slice()),
                Some(dropout) => {
                    let kept = dropout.kept_places(rubric);
                    let order = |order: &Vec<usize>| {
                        order.iter().copied().filter(|place| kept.contains(place)).collect()
                    };
                    Cow::Owned(rubric.orders.iter().map(order).collect())
                }
            };
            AskedPrompt { rubric, orders }
        });
        let prompts = prompts.collect();
        let is_usual = dropout.is_none() && matches!(own, OwnRubric::None);
        AskedRubrics { prompts, compared, own, is_usual }
    }

    /// The rubric that comes with `rollout`, if this source asks it.
    fn own_rubric(&self, rollout: &Rollout, dropout: Option<Dropout>) -> OwnRubric {
        match &self.request_rubrics {
            Some(rubrics) if self.takes_rubrics() && !rollout.rubric.is_empty() => {
                match rubrics.build(&rollout.rubric, dropout) {
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
