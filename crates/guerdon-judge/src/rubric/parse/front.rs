//! The front matter as TOML, and the state of its check.

use std::ops::Range;

use guerdon_text::{Finding, Report, SourceText};
use guerdon_types::Finite;
use serde::Deserialize;
use toml::Spanned;

use crate::rubric::answer::{Instructions, MessageLayout, WrittenAnswer};
use crate::rubric::version::KappaStamp;
use crate::rubric::{
    CriterionKind, Estimate, Grouping, Mode, Reasoning, Rounds, RubricExample, RubricProbe, Scoring,
};

/// The front matter as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FrontMatter {
    /// The name of the rubric: the file's name without `.md`, 1 to 64 of `a-z`, `0-9` and `_`.
    pub(crate) id: Spanned<String>,
    /// One sentence of documentation.
    pub(crate) about: String,
    /// The number of the version. `guerdon judge bump` raises it.
    pub(crate) version: u32,
    /// The hash of the content, if the version is sealed; `guerdon judge bump` writes it.
    pub(crate) hash: Option<Spanned<String>>,
    /// Distribution of the criteria over calls. Default: `"rubric"`.
    #[serde(default)]
    pub(crate) grouping: Grouping,
    /// Source of the points. Default: `"chosen"`.
    pub(crate) scoring: Option<Spanned<Scoring>>,
    /// Place of the judge's reasons. Default: `"none"`.
    pub(crate) reasoning: Option<Spanned<Reasoning>>,
    /// Syntax of the answer: `"schema"`, `"letter"`, `"number"`, `"ranking"`, or `{ regex = "..." }`.
    /// All but the first are about one criterion. Default: `"schema"`.
    pub(crate) answer: Option<Spanned<WrittenAnswer>>,
    /// Pairwise with numbers: the number by which the first reply is preferred completely, then that
    /// of the second one, such as `[1, 6]`.
    pub(crate) scale: Option<Spanned<[f64; 2]>>,
    /// The names of replies in answers that are no schema: a text with `{n}` for the number from 1, or
    /// `{l}` for the letter. Default: `"{l}"`.
    pub(crate) reply_names: Option<Spanned<String>>,
    /// `"added"`: guerdon says the form of the answer and closes the question. `"own"`: the text is
    /// sent as it is written, and shows replies by the slot `replies`. Default: `"added"`.
    pub(crate) instructions: Option<Spanned<Instructions>>,
    /// `"sections"`: one message for each section. `"roles"`: the section `# system`, the messages of
    /// the dialogue, and each reply in a message whose role is its name. Default: `"sections"`.
    pub(crate) messages: Option<Spanned<MessageLayout>>,
    /// Form of the question: `"absolute"` shows the judge one reply, `"listwise"` all replies of a
    /// group, `"pairwise"` two of them, in both orders. Default: `"absolute"`.
    #[serde(default)]
    pub(crate) mode: Mode,
    /// Listwise: number of calls that show the replies in another order, 1 to 10; their points are
    /// averaged. Default: 1.
    pub(crate) shuffles: Option<Spanned<u32>>,
    /// Listwise: largest number of replies in one call, 4 to 64. A larger group is split, and two of
    /// its replies are in every call. Default: 16.
    pub(crate) per_call: Option<Spanned<u32>>,
    /// Listwise and pairwise: least number of replies at which a group is judged although samples of
    /// it are missing; at least 2. Default: only complete groups are judged.
    pub(crate) min_size: Option<Spanned<u32>>,
    /// Pairwise: `"round_robin"` compares every pair, `{ swiss = N }` plays N rounds in which each
    /// reply meets another of about the same strength, 1 to 32. Default: `"round_robin"`.
    pub(crate) rounds: Option<Spanned<Rounds>>,
    /// Pairwise: `"bradley_terry"` or `"mean_wins"`, the estimate that becomes points. Default:
    /// `"bradley_terry"`.
    pub(crate) estimate: Option<Spanned<Estimate>>,
    /// Pairwise: largest number of calls about a group, 2 to 65536. A group that needs more is not
    /// judged. Default: 1024.
    pub(crate) max_calls: Option<Spanned<u32>>,
    /// Points of an empty reply; negative. Default: the worst levels of the criteria that it fails.
    pub(crate) empty_points: Option<Spanned<Finite>>,
    /// Number of samples from each judge. The median of their verdicts counts. Default: 1.
    #[serde(default = "default_samples")]
    pub(crate) samples: Spanned<u32>,
    /// Set to ask the criteria in another order in each sample. Default: set with several samples.
    pub(crate) shuffle: Option<bool>,
    /// The context values that the body is shown. Default: those that it names.
    pub(crate) facts: Option<Spanned<Vec<String>>>,
    /// The lowest agreement with people at which this prompt may load.
    pub(crate) least_kappa: Option<Spanned<f64>>,
    /// The measured agreement with people; `guerdon judge calibrate --stamp` writes it.
    pub(crate) calibrated: Option<Spanned<KappaStamp>>,
    /// Turns with their levels, shown to the judge.
    #[serde(default)]
    pub(crate) examples: Vec<Spanned<RubricExample>>,
    /// Turns with a known verdict, never shown; asked periodically to check the judge.
    #[serde(default)]
    pub(crate) probes: Vec<Spanned<RubricProbe>>,
    /// Limit of the answer in tokens, reasoning included. Default: 512.
    #[serde(default = "default_max_tokens")]
    pub(crate) max_tokens: Spanned<u32>,
    /// Temperature of the judge. Default: 0.
    #[serde(default = "default_temperature")]
    pub(crate) temperature: Spanned<f64>,
    /// The questions.
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
    /// The name of the criterion: 1 to 64 of `a-z`, `0-9` and `_`.
    pub(super) id: Spanned<String>,
    /// Effect on the points.
    pub(super) kind: CriterionKind,
    /// The fault, or the reason of a bonus.
    pub(super) about: String,
    /// Set if an empty reply gets the worst level.
    #[serde(default)]
    pub(super) fails_empty: bool,
    /// Set if a level counts only with a quote from the turn.
    #[serde(default)]
    pub(super) quote: bool,
    /// The levels, of which the judge chooses one.
    pub(super) levels: Spanned<Vec<RawLevel>>,
}

/// A level as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLevel {
    /// The name of the level, which describes what is seen.
    pub(super) name: Spanned<String>,
    /// Points of the level; the judge does not see them.
    pub(super) points: Spanned<Finite>,
    /// The observation for which the judge chooses this level.
    pub(super) anchor: String,
    /// Set if the level fires the veto of a criterion of the kind `veto`.
    #[serde(default)]
    pub(super) fires: bool,
}
