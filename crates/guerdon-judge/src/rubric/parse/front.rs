//! The front matter as TOML, and the state of its check.

use std::ops::Range;

use guerdon_text::{Finding, Report, SourceText};
use guerdon_types::Finite;
use serde::Deserialize;
use toml::Spanned;

use crate::rubric::version::KappaStamp;
use crate::rubric::{CriterionKind, Grouping, Reasoning, RubricExample, RubricProbe, Scoring};

/// The front matter as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FrontMatter {
    pub(crate) id: Spanned<String>,
    pub(crate) about: String,
    pub(crate) version: u32,
    /// The hash of the content, if the version is sealed.
    pub(crate) hash: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) grouping: Grouping,
    pub(crate) scoring: Option<Spanned<Scoring>>,
    pub(crate) reasoning: Option<Spanned<Reasoning>>,
    /// Points of an empty reply. Default: the worst levels of the criteria that it fails.
    pub(crate) empty_points: Option<Spanned<Finite>>,
    #[serde(default = "default_samples")]
    pub(crate) samples: Spanned<u32>,
    pub(crate) shuffle: Option<bool>,
    /// The context values that the body is shown. Default: those that it names.
    pub(crate) facts: Option<Vec<String>>,
    /// The lowest agreement with people at which this prompt may load.
    pub(crate) least_kappa: Option<Spanned<f64>>,
    pub(crate) calibrated: Option<Spanned<KappaStamp>>,
    #[serde(default)]
    pub(crate) examples: Vec<Spanned<RubricExample>>,
    #[serde(default)]
    pub(crate) probes: Vec<Spanned<RubricProbe>>,
    #[serde(default = "default_max_tokens")]
    pub(crate) max_tokens: Spanned<u32>,
    #[serde(default = "default_temperature")]
    pub(crate) temperature: Spanned<f64>,
    pub(super) criteria: Spanned<Vec<Spanned<RawCriterion>>>,
}

fn default_max_tokens() -> Spanned<u32> {
    Spanned::new(0..0, 512)
}

fn default_samples() -> Spanned<u32> {
    Spanned::new(0..0, 1)
}

fn default_temperature() -> Spanned<f64> {
    Spanned::new(0..0, 0.0)
}

/// A prompt file whose front matter is being checked.
pub(crate) struct FrontCheck<'a> {
    pub(crate) source: &'a SourceText,
    /// Byte offset of the front matter in the file.
    pub(crate) offset: usize,
    pub(crate) report: &'a mut Report,
}

impl FrontCheck<'_> {
    /// A span of the front matter as a span of the file.
    pub(crate) const fn place(&self, span: Range<usize>) -> Range<usize> {
        span.start + self.offset..span.end + self.offset
    }

    /// Reports a finding, whose span is one of the file.
    pub(crate) fn add(&mut self, finding: Finding) {
        self.report.add(self.source, finding);
    }
}

/// A criterion as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCriterion {
    pub(super) id: Spanned<String>,
    pub(super) kind: CriterionKind,
    pub(super) about: String,
    #[serde(default)]
    pub(super) fails_empty: bool,
    #[serde(default)]
    pub(super) quote: bool,
    pub(super) levels: Spanned<Vec<RawLevel>>,
}

/// A level as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLevel {
    pub(super) name: Spanned<String>,
    pub(super) points: Spanned<Finite>,
    pub(super) anchor: String,
    #[serde(default)]
    pub(super) fires: bool,
}
