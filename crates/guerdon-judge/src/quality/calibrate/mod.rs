//! Calibration of a judge: its agreement with people and its consistency with itself.
//!
//! Gold labels have two forms. *Levels* are turns with a level for each criterion. *Pairs* are two
//! replies with a preference, which is compared with the judge's points for each reply. Every
//! question goes through the cache, so a repeated calibration costs nothing. Repeats that measure
//! consistency are separate samples.

mod agreement;
mod gold;
mod labels;
mod report;
mod svg;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use guerdon_types::{Message, Role, Rollout};

use self::agreement::{RESAMPLES, Statistic};
use crate::ask::case::{Case, RenderedDialogue};
use crate::ask::reply::CriterionFinding;
use crate::ask::verdict::{self, Pooling};
use crate::rubric::{Criterion, Rubric};
use crate::source::JudgeSource;

pub use gold::{Gold, GoldError};
pub use report::{BootstrapEstimate, CalibrationReport, CriterionCalibration, LabelAgreement};

/// Items in flight at once. The endpoint's own limits apply as well.
const MAX_IN_FLIGHT: usize = 256;

/// The ratings of one item by people and by the judge.
struct RatedItem {
    /// Criterion or source of the item.
    name: String,
    /// Number of categories.
    categories: usize,
    /// Category that people chose.
    people: usize,
    /// Category that the judge chose.
    judge: Option<usize>,
    /// Set when a repeat gave another category. `None` if nothing was repeated.
    flipped: Option<bool>,
    /// Set when the reversed order of criteria gave another category.
    moved: Option<bool>,
    /// Contribution to the length bias.
    length: Option<(f64, f64)>,
}

impl JudgeSource {
    /// Judges every item of `gold` with this source's first prompt, and `repeats` more times to
    /// measure consistency. `None` if the source has no prompt.
    pub async fn calibrate(&self, gold: &Gold, repeats: u32) -> Option<CalibrationReport> {
        let rubric = self.prompts().rubrics().first()?;
        let rated: Vec<Vec<RatedItem>> = match gold {
            Gold::Levels { items, .. } => {
                let ratings = items.iter().map(|item| self.rate_levels(rubric, item, repeats));
                stream::iter(ratings).buffered(MAX_IN_FLIGHT).collect().await
            }
            Gold::Pairs { items, .. } => {
                let ratings = items.iter().map(|item| self.rate_pair(rubric, item, repeats));
                stream::iter(ratings).buffered(MAX_IN_FLIGHT).collect().await
            }
        };
        let mut by_name: BTreeMap<String, Vec<RatedItem>> = BTreeMap::new();
        for one in rated.into_iter().flatten() {
            by_name.entry(one.name.clone()).or_default().push(one);
        }
        let pairs = matches!(gold, Gold::Pairs { .. });
        Some(CalibrationReport {
            prompt: rubric.id.clone(),
            hash: rubric.hash.clone(),
            model: self.models(),
            gold: gold.hash().to_owned(),
            labels: self.prompts().label_agreement(gold).unwrap_or_default(),
            measured: by_name
                .into_iter()
                .map(|(name, rated)| measure_criterion(name, &rated, pairs))
                .collect(),
        })
    }

    async fn rate_levels(
        &self,
        rubric: &Arc<Rubric>,
        item: &gold::LabelledTurn,
        repeats: u32,
    ) -> Vec<RatedItem> {
        let dialogue = RenderedDialogue::new(&item.rollout.messages);
        let last = item.rollout.messages.len().saturating_sub(1);
        let Some(case) = Case::new(&dialogue, &item.rollout, last, self.nonce()) else {
            return Vec::new();
        };
        let first = self.findings(rubric, &case, 0, false).await;
        let mut others = Vec::new();
        for repeat in 1..=repeats {
            others.push(self.findings(rubric, &case, repeat, false).await);
        }
        let reversed = match rubric.criteria.len() {
            0 | 1 => None,
            _ => Some(self.findings(rubric, &case, 0, true).await),
        };
        let length = item.rollout.messages.last().map_or(0, |turn| turn.content.chars().count());
        let rate = |criterion: &Criterion, label: &String| {
            let index = |level: &str| criterion.levels.iter().position(|one| one.name == level);
            let level = |findings: &Option<Vec<CriterionFinding>>| {
                index(&findings.as_ref()?.iter().find(|finding| finding.id == criterion.id)?.level)
            };
            let points =
                |index: usize| criterion.levels.get(index).map_or(0.0, |level| level.points.get());
            let (people, judge) = (index(label)?, level(&first));
            let differs = |other: &Option<Vec<CriterionFinding>>| Some(level(other)? != judge?);
            let flips: Vec<bool> = others.iter().filter_map(differs).collect();
            #[expect(clippy::cast_precision_loss, reason = "turns are short of 2^53 characters")]
            Some(RatedItem {
                name: criterion.id.clone(),
                categories: criterion.levels.len(),
                people,
                judge,
                flipped: (!flips.is_empty()).then(|| flips.contains(&true)),
                moved: reversed.as_ref().and_then(differs),
                length: judge.map(|judge| (length as f64, points(judge) - points(people))),
            })
        };
        let labelled = rubric
            .criteria
            .iter()
            .filter_map(|criterion| Some((criterion, item.labels.get(&criterion.id)?)));
        labelled.filter_map(|(criterion, label)| rate(criterion, label)).collect()
    }

    async fn rate_pair(
        &self,
        rubric: &Arc<Rubric>,
        item: &gold::PreferencePair,
        repeats: u32,
    ) -> Vec<RatedItem> {
        if rubric.compares() {
            return vec![self.rate_compared(rubric, item, repeats).await];
        }
        let preferred = async |repeat: u32, reversed: bool| {
            let mut points = [0.0; 2];
            for (points, reply) in points.iter_mut().zip([&item.output_a, &item.output_b]) {
                let mut messages = item.prompt.clone();
                messages.push(Message::new(Role::Assistant, reply.clone()));
                let rollout = Rollout { messages, ..Rollout::default() };
                let dialogue = RenderedDialogue::new(&rollout.messages);
                let case = Case::new(&dialogue, &rollout, item.prompt.len(), self.nonce())?;
                *points = if case.is_silent() {
                    verdict::silence_verdict(rubric).points()
                } else {
                    let findings = self.findings(rubric, &case, repeat, reversed).await?;
                    verdict::weigh(
                        rubric,
                        &[findings.iter().collect()],
                        Pooling::Median,
                        &case.turn,
                    )
                    .points()
                };
            }
            Some(category(points))
        };
        let judge = preferred(0, false).await;
        let mut flips = Vec::new();
        for repeat in 1..=repeats {
            flips.extend(preferred(repeat, false).await.map(|other| Some(other) != judge));
        }
        let moved = match rubric.criteria.len() {
            0 | 1 => None,
            _ => preferred(0, true).await.map(|other| Some(other) != judge),
        };
        vec![rated_pair(item, judge, &flips, moved)]
    }

    /// Asks a rubric that compares replies about both replies of a pair together, as in a group. Its
    /// position bias is the share of pairs that another order of the replies changes.
    async fn rate_compared(
        &self,
        rubric: &Arc<Rubric>,
        item: &gold::PreferencePair,
        repeats: u32,
    ) -> RatedItem {
        let dialogues: Vec<Vec<Message>> = [&item.output_a, &item.output_b]
            .map(|reply| {
                let reply = Message::new(Role::Assistant, reply.clone());
                item.prompt.iter().cloned().chain([reply]).collect()
            })
            .into();
        let context = guerdon_types::Context::new();
        let judged = async |round: u32| {
            let judged = self.judged_replies(rubric, &dialogues, &context, round).await.ok()?;
            let &[a, b] = &judged.points[..] else { return None };
            Some((category([a, b]), judged.position_bias.map(|bias| bias.abs() > 1e-9)))
        };
        let first = judged(0).await;
        let (judge, moved) = (first.map(|(judge, _)| judge), first.and_then(|(_, moved)| moved));
        let mut flips = Vec::new();
        for round in 1..=repeats {
            flips.extend(judged(round).await.map(|(other, _)| Some(other) != judge));
        }
        rated_pair(item, judge, &flips, moved)
    }
}

/// The preferred reply of two with these points: 0 is a, 1 is b and 2 is neither.
fn category([a, b]: [f64; 2]) -> usize {
    if a > b {
        0
    } else if b > a {
        1
    } else {
        2
    }
}

/// A pair with the choice of people, the judge's choice, and what repeats and another order changed.
fn rated_pair(
    item: &gold::PreferencePair,
    judge: Option<usize>,
    flips: &[bool],
    moved: Option<bool>,
) -> RatedItem {
    let people = match item.human_label.as_str() {
        "a" => 0,
        "b" => 1,
        _ => 2,
    };
    let longer = match item.output_a.chars().count().cmp(&item.output_b.chars().count()) {
        Ordering::Greater => Some(0),
        Ordering::Less => Some(1),
        Ordering::Equal => None,
    };
    let to_longer =
        |choice: usize| Some(f64::from(u8::from(choice == longer?))).filter(|_| choice < 2);
    RatedItem {
        name: item.source.clone(),
        categories: 3,
        people,
        judge,
        flipped: (!flips.is_empty()).then(|| flips.contains(&true)),
        moved,
        length: to_longer(people).zip(judge.and_then(to_longer)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "gold sets are short of 2^53 items")]
fn measure_criterion(name: String, rated: &[RatedItem], pairs: bool) -> CriterionCalibration {
    let categories = rated.first().map_or(0, |one| one.categories);
    let answered: Vec<&RatedItem> = rated.iter().filter(|one| one.judge.is_some()).collect();
    let both: Vec<(usize, usize)> =
        answered.iter().filter_map(|one| Some((one.people, one.judge?))).collect();
    let measure = |statistic: &Statistic<'_>| BootstrapEstimate {
        value: statistic(&both),
        interval: agreement::bootstrap(&both, RESAMPLES, statistic),
    };
    let share = |of: Vec<bool>| {
        (!of.is_empty()).then(|| of.iter().filter(|one| **one).count() as f64 / of.len() as f64)
    };
    let lengths: Vec<(f64, f64)> = answered.iter().filter_map(|one| one.length).collect();
    let length_bias = if pairs {
        let count = lengths.len() as f64;
        (count > 0.0)
            .then(|| lengths.iter().map(|(people, judge)| judge - people).sum::<f64>() / count)
    } else {
        agreement::correlation(&lengths)
    };
    let kappa = measure(&|both| agreement::kappa(both, categories));
    CriterionCalibration {
        name,
        items: both.len(),
        abstained: rated.len() - both.len(),
        agreement: measure(&|both| (!both.is_empty()).then(|| agreement::agreement(both))),
        kappa,
        weighted_kappa: if pairs {
            kappa
        } else {
            measure(&|both| agreement::weighted_kappa(both, categories))
        },
        flip_rate: share(rated.iter().filter_map(|one| one.flipped).collect()),
        length_bias,
        position_bias: share(rated.iter().filter_map(|one| one.moved).collect()),
    }
}
