//! The points of a rollout's rubric.
//!
//! With weights, a rubric is worth `points * clip(sum of w * met / sum of positive w, 0, 1)`, where
//! `met` is 1 or 0, or what several judges pool it to. This is the explicit aggregation of rubrics as
//! rewards (Gunjal et al., arXiv 2507.17746) with the negative weights and the clip of
//! HealthBench (Arora et al., arXiv 2505.08775). With levels, it is worth the sum of their
//! points.
//!
//! A criterion counts as far as those that it needs are met: its points are multiplied by the least
//! `met` of them, each of which counts only as far as its own needs are met.
//!
//! Every criterion that was judged is reported, with 0 points if it changed nothing, so that the parts
//! add up to the points and a reader sees what was asked.

use guerdon_types::{CriterionVerdict, Finite, ROLLOUT_RUBRIC, RUBRIC_CLIP};

use super::RequestRubric;
use super::build::NOT_MET;
use crate::ask::turn_text::TurnText;
use crate::ask::verdict::{Ballot, Pooling, RubricVerdict, pool, spread};
use crate::rubric::{Criterion, CriterionKind, CriterionLevel};

/// The share of its worth from which a bonus is met, and a condition of a fault holds.
const MET_FROM: f64 = 0.5;

/// The judgement of one criterion, before its needs.
#[derive(Debug, Clone)]
struct CriterionJudgement {
    level: String,
    points: f64,
    /// The share of the largest points that a bonus got, in [0, 1].
    met: f64,
    is_fault: bool,
    evidence: Option<String>,
}

impl RequestRubric {
    /// Weighs what `ballots` say of the turn.
    ///
    /// # Errors
    /// The reason why the rubric has no points, as the end of a sentence about it.
    pub(crate) fn weigh(
        &self,
        ballots: &[Ballot<'_>],
        pooling: Pooling,
        turn: &TurnText<'_>,
    ) -> Result<RubricVerdict, String> {
        let mut struck = Vec::new();
        let mut judged = Vec::with_capacity(self.rubric.criteria.len());
        for criterion in &self.rubric.criteria {
            judged.push(match pool(criterion, ballots, pooling, turn) {
                Ok(pooled) => Some(CriterionJudgement {
                    level: pooled.level.name.clone(),
                    points: pooled.points.get(),
                    met: met(criterion, pooled.points.get()),
                    is_fault: pooled.is_fault,
                    evidence: pooled.evidence.map(str::to_owned),
                }),
                Err(reason) => {
                    struck.extend(reason.map(|reason| not_counted(&criterion.id, reason)));
                    None
                }
            });
        }
        let mut verdict = self.counted(&judged, struck)?;
        let unit = self.unit(&judged).unwrap_or_default();
        verdict.spread = spread(&self.rubric, ballots, turn) * unit;
        Ok(verdict)
    }

    /// The verdict about an empty turn, about which no judge is asked: nothing is met, and each
    /// `deduct` has its worst level.
    pub(crate) fn silence_verdict(&self) -> RubricVerdict {
        let judged: Vec<Option<CriterionJudgement>> =
            self.rubric.criteria.iter().map(silent).collect();
        self.counted(&judged, Vec::new()).unwrap_or_default()
    }

    /// The points for one unit of a weight; 1 with levels. `None` if no bonus was judged.
    fn unit(&self, judged: &[Option<CriterionJudgement>]) -> Option<f64> {
        if !self.checked.is_weighted {
            return Some(1.0);
        }
        let all = self.rubric.criteria.iter().zip(judged).filter(|(_, judged)| judged.is_some());
        let positive: f64 = all.map(|(criterion, _)| most(criterion)).sum();
        (positive > 0.0).then(|| self.points.get() / positive)
    }

    /// Adds the points up.
    fn counted(
        &self,
        judged: &[Option<CriterionJudgement>],
        mut struck: Vec<String>,
    ) -> Result<RubricVerdict, String> {
        let checked = &self.checked;
        // What a criterion counts of its points, and as how far met it counts for others.
        let mut reach: Vec<Option<f64>> = vec![None; judged.len()];
        let mut met: Vec<Option<f64>> = vec![None; judged.len()];
        for place in &checked.order {
            let Some(criterion) = checked.criteria.get(*place) else { continue };
            let of = |need: &usize| met.get(*need).copied().flatten();
            let least = criterion.needs.iter().map(of);
            let least = least.into_iter().try_fold(1.0_f64, |least, met| Some(least.min(met?)));
            let own = judged.get(*place).and_then(Option::as_ref);
            if own.is_some() && least.is_none() {
                struck.push(not_counted(&criterion.id, "a criterion that it needs is not judged"));
            }
            let (Some(reach), Some(met)) = (reach.get_mut(*place), met.get_mut(*place)) else {
                continue;
            };
            *reach = least.filter(|_| own.is_some());
            *met = least.zip(own).map(|(least, own)| least * own.met);
        }
        let counts = |place: usize| reach.get(place).copied().flatten();
        let mut withheld = false;
        for (place, criterion) in checked.criteria.iter().enumerate() {
            if !criterion.essential {
                continue;
            }
            match met.get(place).copied().flatten() {
                Some(met) => withheld |= met < MET_FROM,
                None => {
                    return Err(format!(
                        "the essential criterion `{}` is not judged",
                        criterion.id
                    ));
                }
            }
        }
        let counted: Vec<Option<&CriterionJudgement>> = judged
            .iter()
            .enumerate()
            .map(|(place, own)| own.as_ref().filter(|_| counts(place).is_some()))
            .collect();
        let is_fault = |place: usize, own: &CriterionJudgement| {
            own.is_fault && counts(place).is_some_and(|reach| reach >= MET_FROM)
        };
        let criteria = || self.rubric.criteria.iter().zip(&counted).enumerate();
        for (place, (criterion, own)) in criteria() {
            let gates = criterion.kind == CriterionKind::Gate;
            withheld |= gates && own.is_some_and(|own| is_fault(place, own));
        }
        let remaining: Vec<Option<CriterionJudgement>> =
            counted.iter().map(|own| own.cloned()).collect();
        let Some(unit) = self.unit(&remaining) else {
            return Err("none of its bonuses is judged".to_owned());
        };
        let mut verdict = RubricVerdict { struck, ..RubricVerdict::default() };
        let mut sum = 0.0;
        for (place, (criterion, own)) in criteria() {
            let (Some(own), Some(reach)) = (own, counts(place)) else { continue };
            let points = own.points * reach * unit;
            let points = if withheld && points > 0.0 { 0.0 } else { points };
            sum += points;
            verdict.criteria.push(CriterionVerdict {
                prompt: ROLLOUT_RUBRIC.to_owned(),
                id: criterion.id.clone(),
                level: own.level.clone(),
                points: finite(points)?,
                evidence: own.evidence.clone(),
                veto: criterion.kind == CriterionKind::Veto && is_fault(place, own),
            });
        }
        if checked.is_weighted && sum < 0.0 {
            verdict.criteria.push(CriterionVerdict {
                prompt: ROLLOUT_RUBRIC.to_owned(),
                id: RUBRIC_CLIP.to_owned(),
                level: RUBRIC_CLIP.to_owned(),
                points: finite(-sum)?,
                evidence: None,
                veto: false,
            });
        }
        Ok(verdict)
    }
}

fn not_counted(id: &str, reason: &str) -> String {
    format!("prompt `{ROLLOUT_RUBRIC}`, criterion `{id}`: not counted, {reason}")
}

fn finite(points: f64) -> Result<Finite, String> {
    // Adding zero turns -0.0 into 0.0.
    Finite::new(points + 0.0).map_err(|_| "its points are not finite".to_owned())
}

/// The largest points of a criterion, at least 0.
fn most(criterion: &Criterion) -> f64 {
    criterion.levels.iter().fold(0.0, |most, level| level.points.get().max(most))
}

/// The share of its worth that a bonus got; 0 for faults, on which nothing builds.
fn met(criterion: &Criterion, points: f64) -> f64 {
    let most = most(criterion);
    if most > 0.0 { (points / most).clamp(0.0, 1.0) } else { 0.0 }
}

/// The judgement of a criterion on an empty turn.
fn silent(criterion: &Criterion) -> Option<CriterionJudgement> {
    let is_statement = criterion.levels.iter().any(|level| level.name == NOT_MET);
    let level = match criterion.kind {
        CriterionKind::Deduct if !is_statement => criterion.worst(),
        _ => criterion.levels.iter().find(|level| level.is_neutral()),
    }?;
    let CriterionLevel { name, points, .. } = level;
    let (level, points) = (name.clone(), points.get());
    Some(CriterionJudgement { level, points, met: 0.0, is_fault: points < 0.0, evidence: None })
}
