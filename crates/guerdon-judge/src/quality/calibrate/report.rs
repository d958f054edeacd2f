//! The result of a calibration.

use serde::Serialize;

use crate::rubric::version::{self, KappaStamp};

/// A number and its 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct BootstrapEstimate {
    /// The number; nothing where it is not defined.
    pub value: Option<f64>,
    /// Lower and upper end of the interval.
    pub interval: Option<(f64, f64)>,
}

/// Agreement of the labels with the second labels on one criterion.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LabelAgreement {
    /// The criterion.
    pub name: String,
    /// Items that have both labels.
    pub items: usize,
    /// The share with the same label.
    pub agreement: BootstrapEstimate,
    /// Cohen's kappa.
    pub kappa: BootstrapEstimate,
    /// Kappa with squared distances between levels.
    pub weighted_kappa: BootstrapEstimate,
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
    /// Agreement of the two labellings of the gold file, if it has two.
    pub labels: Vec<LabelAgreement>,
    /// Criterion by criterion, or source by source.
    pub measured: Vec<CriterionCalibration>,
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
}
