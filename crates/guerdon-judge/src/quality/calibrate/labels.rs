//! Agreement of two labellings of the same gold items, without a judge. A judge can hardly agree
//! with the labels more than the two labellings agree with each other.

use super::agreement::{self, RESAMPLES, Statistic};
use super::gold::{Gold, GoldError, LabelledTurn};
use super::report::{BootstrapEstimate, LabelAgreement};
use crate::rubric::Criterion;
use crate::rubric::prompts::Prompts;

impl Prompts {
    /// Compares the two labellings in `gold`, for each criterion of the first prompt. Empty if no
    /// item has second labels.
    ///
    /// # Errors
    /// [`GoldError`], if a label names a criterion or a level that the prompt does not have, or if
    /// labels are levels and the prompt compares replies.
    pub fn label_agreement(&self, gold: &Gold) -> Result<Vec<LabelAgreement>, GoldError> {
        let (Some(rubric), Gold::Levels { items, .. }) = (self.rubrics().first(), gold) else {
            return Ok(Vec::new());
        };
        if rubric.compares() {
            return Err(GoldError::new(
                items.first().map_or(1, |item| item.line),
                format!(
                    "prompt `{}` compares replies, and levels are about one reply; give pairs: `output_a`, `output_b`, \
                     `human_label`",
                    rubric.id
                ),
            ));
        }
        for item in items {
            item.check(&rubric.criteria)?;
        }
        let compared = rubric.criteria.iter().filter_map(|criterion| compare(criterion, items));
        Ok(compared.collect())
    }
}

fn compare(criterion: &Criterion, items: &[LabelledTurn]) -> Option<LabelAgreement> {
    let pair = |item: &LabelledTurn| {
        let index = |label: &String| criterion.levels.iter().position(|one| one.name == *label);
        Some((index(item.labels.get(&criterion.id)?)?, index(item.second.get(&criterion.id)?)?))
    };
    let pairs: Vec<(usize, usize)> = items.iter().filter_map(pair).collect();
    if pairs.is_empty() {
        return None;
    }
    let count = criterion.levels.len();
    let measure = |statistic: &Statistic<'_>| BootstrapEstimate {
        value: statistic(&pairs),
        interval: agreement::bootstrap(&pairs, RESAMPLES, statistic),
    };
    Some(LabelAgreement {
        name: criterion.id.clone(),
        items: pairs.len(),
        agreement: measure(&|pairs| Some(agreement::agreement(pairs))),
        kappa: measure(&|pairs| agreement::kappa(pairs, count)),
        weighted_kappa: measure(&|pairs| agreement::weighted_kappa(pairs, count)),
    })
}
