//! The set of prompts that a source asks: read, checked and compiled together, all or none.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::rubric::report::{Report, Source};
use crate::rubric::{Example, Rubric};
use crate::rubric::{order, parse, template, version};

/// A prompt file as it was read, by whoever reads files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptText {
    /// The file's name or path, for reports; its stem is the prompt's id.
    pub name: String,
    /// Everything in it.
    pub text: String,
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
    let stem =
        Path::new(source.file).file_stem().and_then(|stem| stem.to_str()).unwrap_or(source.file);
    if stem != front.id.get_ref() {
        source
            .error(
                parse::shifted(front.id.span(), &parts.front),
                format!("the id differs from the file's name, `{stem}`"),
            )
            .help(format!("write `id = \"{stem}\"`, or rename the file"))
            .into(report);
    }
    let hash = version::content_hash(source.text);
    parse::seal(source, &parts.front, &front, &hash, report);
    let criteria = parse::criteria(source, &parts.front, &front, report);
    parse::examples(source, &parts.front, (&front.examples, &front.probes), &criteria, report);
    let bare = |spanned: Vec<toml::Spanned<Example>>| {
        spanned.into_iter().map(toml::Spanned::into_inner).collect()
    };
    let examples: Vec<Example> = bare(front.examples);
    let body =
        template::compile(source, [&parts.system, &parts.user], (&criteria, &examples), report)?;
    let samples = front.samples.into_inner();
    let count = criteria.len();
    let shuffled = front.shuffle.unwrap_or(samples > 1);
    let order = |number| {
        if shuffled { order::shuffled(count, &hash, number) } else { (0..count).collect() }
    };
    let orders = (0..samples).map(order).collect();
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
        orders,
        criteria,
        examples,
        probes: front.probes.into_iter().map(toml::Spanned::into_inner).collect(),
        context: body.context,
        facts: body.facts,
        body: body.templates,
    })
}

impl Prompts {
    /// The text of a prompt, sealed: with its hash, and with a raised version if it was edited since it was sealed. The
    /// text must compile, but for its seal.
    #[must_use]
    pub fn sealed(text: &str) -> String {
        version::sealed(text)
    }
}
