//! Agreement of a judge with people and with itself.
//!
//! Gold labels have two forms. *Levels* are turns with a level for each criterion. *Pairs* are two
//! replies with a preference; the judge's points for each reply are compared. Every question goes
//! through the cache, so a repeated calibration costs nothing. Repeats that measure consistency are
//! separate samples.

mod agreement;
mod gold;
mod svg;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use guerdon_types::{Message, Role, Rollout};
use serde::Serialize;

use crate::ask::case::{Case, RenderedDialogue};
use crate::ask::reply::CriterionFinding;
use crate::ask::verdict::{self, Pooling};
use crate::rubric::version::{self, KappaStamp};
use crate::rubric::{Criterion, Rubric};
use crate::source::JudgeSource;

pub use gold::{Gold, GoldError};

/// Resamples of an interval.
const RESAMPLES: usize = 2000;
/// Questions in flight at once, in addition to the endpoint's own limits.
const AT_ONCE: usize = 256;

/// A statistic of pairs of ratings.
type Statistic<'a> = dyn Fn(&[(usize, usize)]) -> Option<f64> + 'a;

/// A number and its 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct BootstrapEstimate {
    /// The number; nothing where it is not defined.
    pub value: Option<f64>,
    /// Lower and upper end of the interval.
    pub interval: Option<(f64, f64)>,
}

/// Agreement on one criterion, or on the preferences of one source of pairs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CriterionCalibration {
    /// The criterion, or the pairs' source.
    pub name: String,
    /// Items that both people and the judge rated.
    pub items: usize,
    /// Items that the judge could not rate.
    pub abstained: usize,
    /// The share on which they agree.
    pub agreement: BootstrapEstimate,
    /// Cohen's kappa.
    pub kappa: BootstrapEstimate,
    /// Kappa with squared distances between levels; for pairs the same as `kappa`.
    pub weighted_kappa: BootstrapEstimate,
    /// The share of items on which at least one repeat differs from the first answer; nothing
    /// without repeats.
    pub flip_rate: Option<f64>,
    /// Levels: the correlation of (judge's points − people's points) with the turn's length. Pairs:
    /// the share of the judge's preferences that go to the longer reply, less people's share, where
    /// both have one.
    pub length_bias: Option<f64>,
    /// The share of items that the judge rates otherwise when the criteria are asked in reverse
    /// order; nothing if there is one criterion.
    pub position_bias: Option<f64>,
}

/// A calibration.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CalibrationReport {
    /// The prompt.
    pub prompt: String,
    /// Its content hash.
    pub hash: String,
    /// The models that judged.
    pub model: String,
    /// The hash of the gold file.
    pub gold: String,
    /// Criterion by criterion, or source by source.
    pub measured: Vec<CriterionCalibration>,
}

/// One item, rated.
struct RatedItem {
    /// Criterion or source of the item.
    name: String,
    categories: usize,
    people: usize,
    judge: Option<usize>,
    flipped: Option<bool>,
    moved: Option<bool>,
    /// Contribution to the length bias.
    length: Option<(f64, f64)>,
}

impl JudgeSource {
    /// Asks the first of this source's prompts about every item of `gold`, `repeats` more times
    /// each to see how steady it is. `None` if the source has no prompt.
    pub async fn calibrate(&self, gold: &Gold, repeats: u32) -> Option<CalibrationReport> {
        let rubric = self.prompts().rubrics().first()?;
        let rated: Vec<Vec<RatedItem>> = match gold {
            Gold::Levels { items, .. } => {
                let asked = items.iter().map(|item| self.levels(rubric, item, repeats));
                stream::iter(asked).buffered(AT_ONCE).collect().await
            }
            Gold::Pairs { items, .. } => {
                let asked = items.iter().map(|item| self.pair(rubric, item, repeats));
                stream::iter(asked).buffered(AT_ONCE).collect().await
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
            measured: by_name
                .into_iter()
                .map(|(name, rated)| measured(name, &rated, pairs))
                .collect(),
        })
    }

    async fn levels(
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

    async fn pair(
        &self,
        rubric: &Arc<Rubric>,
        item: &gold::PreferencePair,
        repeats: u32,
    ) -> Vec<RatedItem> {
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
                    verdict::weigh(rubric, &[findings.iter().collect()], Pooling::Median, &case)
                        .points()
                };
            }
            let [a, b] = points;
            // a, b, or neither
            Some(if a > b {
                0
            } else if b > a {
                1
            } else {
                2
            })
        };
        let people = match item.human_label.as_str() {
            "a" => 0,
            "b" => 1,
            _ => 2,
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
        let longer = match item.output_a.chars().count().cmp(&item.output_b.chars().count()) {
            Ordering::Greater => Some(0),
            Ordering::Less => Some(1),
            Ordering::Equal => None,
        };
        let to_longer =
            |choice: usize| Some(f64::from(u8::from(choice == longer?))).filter(|_| choice < 2);
        vec![RatedItem {
            name: item.source.clone(),
            categories: 3,
            people,
            judge,
            flipped: (!flips.is_empty()).then(|| flips.contains(&true)),
            moved,
            length: to_longer(people).zip(judge.and_then(to_longer)),
        }]
    }
}

#[expect(clippy::cast_precision_loss, reason = "gold sets are short of 2^53 items")]
fn measured(name: String, rated: &[RatedItem], pairs: bool) -> CriterionCalibration {
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

impl CalibrationReport {
    /// The least kappa of all criteria that have one: what a rubric's `least_kappa` is compared
    /// with.
    #[must_use]
    pub fn least_kappa(&self) -> Option<f64> {
        self.measured.iter().filter_map(|one| one.kappa.value).min_by(f64::total_cmp)
    }

    /// `text`, the prompt that was measured, with the least kappa written into it. `None` if it is
    /// another text, or there is no kappa.
    #[must_use]
    pub fn stamped(&self, text: &str) -> Option<String> {
        let kappa = self.least_kappa().filter(|_| version::content_hash(text) == self.hash)?;
        let (model, gold, hash) = (self.model.clone(), self.gold.clone(), self.hash.clone());
        Some(version::stamped(text, &KappaStamp { kappa, model, gold, hash }))
    }

    /// Kappa by criterion with its interval, as an SVG picture.
    #[must_use]
    pub fn svg(&self) -> String {
        svg::picture(self)
    }
}
