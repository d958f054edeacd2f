//! Judge prompts: what a rubric is once it is read, and the set that a source asks.
//!
//! A rubric's points stay here. The judge model chooses levels by name; what a level is worth is looked up and summed in
//! Rust, so a model can neither misadd nor be talked into a number.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use guerdon_types::Finite;
use minijinja::Environment;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::examples::{self, Example, Probe};
use crate::report::{Report, Source};
use crate::{parse, render, seal};

/// A prompt file as it was read, by whoever reads files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptText {
    /// The file's name or path, for reports; its stem is the prompt's id.
    pub name: String,
    /// Everything in it.
    pub text: String,
}

/// What a criterion may do to the points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// Takes points away.
    Deduct,
    /// Gives points.
    Bonus,
    /// Takes points away and withholds the prompt's bonuses.
    Gate,
    /// Takes points away and forbids a reward above the floor, where the fusion is gated.
    Veto,
}

/// One degree of a criterion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Level {
    pub(crate) name: String,
    pub(crate) points: Finite,
    pub(crate) anchor: String,
    #[serde(skip)]
    pub(crate) fires: bool,
}

impl Level {
    /// Whether this level is a fault: it costs points, or is flagged.
    pub(crate) fn is_fault(&self) -> bool {
        self.fires || self.points.get() < 0.0
    }

    /// Whether this level says anything at all.
    pub(crate) fn is_silent(&self) -> bool {
        !self.fires && self.points == Finite::ZERO
    }
}

/// One question of a rubric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Criterion {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) about: String,
    pub(crate) levels: Vec<Level>,
    #[serde(skip)]
    pub(crate) fails_empty: bool,
    #[serde(skip)]
    pub(crate) quote: bool,
}

impl Criterion {
    /// The level with the fewest points; a flagged one before its equals.
    pub(crate) fn worst(&self) -> Option<&Level> {
        self.levels
            .iter()
            .min_by(|a, b| a.points.get().total_cmp(&b.points.get()).then(b.fires.cmp(&a.fires)))
    }

    pub(crate) fn level(&self, name: &str) -> Option<&Level> {
        self.levels.iter().find(|level| level.name == name)
    }
}

/// How criteria are put into calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Grouping {
    /// All in one: a third or a quarter of the tokens; one criterion may colour another.
    #[default]
    Rubric,
    /// One call each.
    Criterion,
}

/// What an answer's points are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scoring {
    /// The level that the judge chose.
    #[default]
    Chosen,
    /// The mean over all levels, by the probability that the judge gave to each.
    Expected,
}

/// A rubric, ready to be asked.
#[derive(Debug)]
pub(crate) struct Rubric {
    pub(crate) id: String,
    pub(crate) about: String,
    pub(crate) version: u32,
    /// Of its content: see [`seal`](crate::seal).
    pub(crate) hash: String,
    pub(crate) sealed: bool,
    pub(crate) max_tokens: u32,
    pub(crate) temperature: f64,
    pub(crate) grouping: Grouping,
    pub(crate) scoring: Scoring,
    /// How often it is asked of each judge.
    pub(crate) samples: u32,
    /// Whether each sample asks the criteria in an order of its own.
    pub(crate) shuffle: bool,
    pub(crate) criteria: Vec<Criterion>,
    pub(crate) examples: Vec<Example>,
    pub(crate) probes: Vec<Probe>,
    /// `context.…` values that the body names; which of them it can do without is its own affair.
    pub(crate) context: BTreeSet<String>,
    pub(crate) body: Environment<'static>,
}

/// What a rubric is, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PromptSummary {
    /// Its id.
    pub id: String,
    /// What it judges.
    pub about: String,
    /// The version that its author declared.
    pub version: u32,
    /// The hash of its text, its seal and calibration aside.
    pub hash: String,
    /// Whether the version is sealed to the text.
    pub sealed: bool,
    /// Its criteria.
    pub criteria: Vec<String>,
    /// Context values that its body names, such as `context.sop_stage`.
    pub context: Vec<String>,
}

/// The rubrics that a source asks, in the order they were given.
#[derive(Debug, Default)]
pub struct Prompts {
    rubrics: Vec<Arc<Rubric>>,
}

impl Prompts {
    /// Reads, checks and compiles `texts`; all or none. The report of a success holds warnings at most.
    ///
    /// # Errors
    /// The [`Report`], if any text has an error or two share an id.
    pub fn compile(texts: &[PromptText]) -> Result<(Self, Report), Report> {
        let mut report = Report::default();
        let mut rubrics: Vec<Arc<Rubric>> = Vec::with_capacity(texts.len());
        for PromptText { name, text } in texts {
            let source = Source { file: name, text };
            let Some(rubric) = compile(&source, &mut report) else { continue };
            if rubrics.iter().any(|other| other.id == rubric.id) {
                source
                    .error(0..0, format!("prompt `{}` is defined twice", rubric.id))
                    .help("give one of them another id and file name")
                    .into(&mut report);
            }
            rubrics.push(Arc::new(rubric));
        }
        if report.has_errors() { Err(report) } else { Ok((Self { rubrics }, report)) }
    }

    /// Each prompt's `sha256:…`.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<String, String> {
        self.rubrics.iter().map(|rubric| (rubric.id.clone(), rubric.hash.clone())).collect()
    }

    /// What each prompt is, for people.
    #[must_use]
    pub fn summaries(&self) -> Vec<PromptSummary> {
        let summary = |rubric: &Arc<Rubric>| PromptSummary {
            id: rubric.id.clone(),
            about: rubric.about.clone(),
            version: rubric.version,
            hash: rubric.hash.clone(),
            sealed: rubric.sealed,
            criteria: rubric.criteria.iter().map(|criterion| criterion.id.clone()).collect(),
            context: rubric.context.iter().cloned().collect(),
        };
        self.rubrics.iter().map(summary).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rubrics.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rubrics.is_empty()
    }

    pub(crate) fn rubrics(&self) -> &[Arc<Rubric>] {
        &self.rubrics
    }
}

fn compile(source: &Source<'_>, report: &mut Report) -> Option<Rubric> {
    let parts = parse::split(source, report)?;
    let front = parse::front(source, parts.front.clone(), report)?;
    let stem = Path::new(source.file).file_stem().and_then(|stem| stem.to_str()).unwrap_or(source.file);
    if stem != front.id.get_ref() {
        source
            .error(
                parse::shifted(front.id.span(), &parts.front),
                format!("the id differs from the file's name, `{stem}`"),
            )
            .help(format!("write `id = \"{stem}\"`, or rename the file"))
            .into(report);
    }
    let hash = seal::content_hash(source.text);
    parse::seal(source, &parts.front, &front, &hash, report);
    let criteria = parse::criteria(source, &parts.front, &front, report);
    examples::check(source, &parts.front, (&front.examples, &front.probes), &criteria, report);
    let bare =
        |spanned: Vec<toml::Spanned<Example>>| spanned.into_iter().map(toml::Spanned::into_inner).collect();
    let examples: Vec<Example> = bare(front.examples);
    let (body, context) = render::compile(source, &parts, (&criteria, &examples), report)?;
    let samples = front.samples.into_inner();
    Some(Rubric {
        id: front.id.into_inner(),
        about: front.about,
        version: front.version,
        hash,
        sealed: front.hash.is_some(),
        max_tokens: front.max_tokens.into_inner(),
        temperature: front.temperature.into_inner(),
        grouping: front.grouping,
        scoring: front.scoring.map(toml::Spanned::into_inner).unwrap_or_default(),
        samples,
        shuffle: front.shuffle.unwrap_or(samples > 1),
        criteria,
        examples,
        probes: front.probes.into_iter().map(toml::Spanned::into_inner).collect(),
        context,
        body,
    })
}

impl Prompts {
    /// The text of a prompt, sealed: with its hash, and with a raised version if it was edited since it was sealed. The
    /// text must compile, but for its seal.
    #[must_use]
    pub fn sealed(text: &str) -> String {
        seal::sealed(text)
    }
}

/// `sha256:` and the hash of `text`, in hexadecimal.
pub(crate) fn sha256(text: &str) -> String {
    format!("sha256:{}", hex(&Sha256::digest(text.as_bytes())))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
