//! The set of prompts of a judge source, compiled together or not at all.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use guerdon_text::{Finding, Report, SourceText};
use serde::Serialize;

use crate::rubric::answer::Instructions;
use crate::rubric::asked::{self, AnswerForm};
use crate::rubric::lint::{self, AskedNumbers, AuthoredBody, PartPlaces};
use crate::rubric::parse::{FrontCheck, GroupMode};
use crate::rubric::template::ShownParts;
use crate::rubric::{
    ContextSelection, Rubric, RubricExample, Scoring, codes, order, parse, template, version,
};

/// Summary of a prompt for listings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PromptSummary {
    /// The id.
    pub id: String,
    /// The subject of the prompt.
    pub about: String,
    /// The version declared by the author.
    pub version: u32,
    /// The hash of the text without seal and calibration.
    pub hash: String,
    /// Set if the version is sealed to the text.
    pub sealed: bool,
    /// Ids of the criteria.
    pub criteria: Vec<String>,
    /// Context values that the body names, such as `context.sop_stage`.
    pub context: Vec<String>,
}

/// The reader of a report, which decides the checks that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// A server: rubrics are compiled without the checks for authors.
    Server,
    /// An author: the checks for authors run too.
    Author,
}

/// The rubrics of a source, in the order of their texts.
#[derive(Debug, Default)]
pub struct Prompts {
    rubrics: Vec<Arc<Rubric>>,
}

impl Prompts {
    /// Parses, checks and compiles `texts`. On success the report holds only warnings.
    ///
    /// # Errors
    /// The [`Report`], if any text has an error or two share an id.
    pub fn compile(texts: &[SourceText]) -> Result<(Self, Report), Report> {
        Self::compile_for(Audience::Server, texts)
    }

    /// Compiles as [`Self::compile`] does, with the checks for authors: parts that the judge is
    /// never shown are errors, and misleading wording is a warning.
    ///
    /// # Errors
    /// The [`Report`], as for [`Self::compile`].
    pub fn check(texts: &[SourceText]) -> Result<(Self, Report), Report> {
        Self::compile_for(Audience::Author, texts)
    }

    fn compile_for(audience: Audience, texts: &[SourceText]) -> Result<(Self, Report), Report> {
        let mut report = Report::default();
        let mut rubrics: Vec<Arc<Rubric>> = Vec::with_capacity(texts.len());
        for source in texts {
            let mut own = Report::default();
            let rubric = compile(source, audience, &mut own);
            report.append(own);
            let Some(rubric) = rubric else { continue };
            if rubrics.iter().any(|other| other.id == rubric.id) {
                let message = format!("prompt `{}` is defined twice", rubric.id);
                let help = "give one of them another id and file name";
                report.add(source, Finding::new(codes::DUPLICATE, 0..0, message).help(help));
            }
            rubrics.push(Arc::new(rubric));
        }
        if report.has_errors() { Err(report) } else { Ok((Self { rubrics }, report)) }
    }

    /// The content hash (`sha256:…`) of every prompt, by id.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<String, String> {
        self.rubrics.iter().map(|rubric| (rubric.id.clone(), rubric.hash.clone())).collect()
    }

    /// A summary of every prompt.
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

    /// True if a prompt about one reply has a probe with a known fault, which canaries are made of.
    #[must_use]
    pub fn has_known_faults(&self) -> bool {
        let mut absolute = self.rubrics.iter().filter(|rubric| !rubric.compares());
        absolute.any(|rubric| rubric.probes.iter().any(|probe| rubric.is_faulty(probe)))
    }

    /// True if a prompt compares the samples of a group.
    #[must_use]
    pub fn compare_replies(&self) -> bool {
        self.rubrics.iter().any(|rubric| rubric.compares())
    }

    /// The number of prompts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rubrics.len()
    }

    /// True if there are no prompts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rubrics.is_empty()
    }

    pub(crate) fn rubrics(&self) -> &[Arc<Rubric>] {
        &self.rubrics
    }
}

/// Compiles one text. `report` is about this text only.
fn compile(source: &SourceText, audience: Audience, report: &mut Report) -> Option<Rubric> {
    let sections = parse::split(source, report)?;
    let offset = sections.front.start;
    let mut check = FrontCheck { source, offset, report };
    let front = parse::front_matter(&mut check, sections.front.clone())?;
    let stem = Path::new(&source.name).file_stem().and_then(|stem| stem.to_str());
    let stem = stem.unwrap_or(&source.name);
    if stem != front.id.get_ref() {
        let message = format!("the id differs from the file's name, `{stem}`");
        let help = format!("write `id = \"{stem}\"`, or rename the file");
        let place = check.place(front.id.span());
        check.add(Finding::new(codes::ID, place, message).help(help));
    }
    let hash = version::content_hash(&source.text);
    parse::check_version(&mut check, &front, &hash);
    let criteria = parse::check_criteria(&mut check, &front);
    parse::check_examples(&mut check, &front, &criteria);
    let GroupMode { listwise, pairwise } = parse::check_mode(&mut check, &front, &criteria);
    let answer = parse::check_answer(&mut check, &front, &criteria);
    let (instructions, layout) = (answer.instructions, answer.layout);
    let places = PartPlaces {
        user: sections.user.clone(),
        criteria: parse::criterion_places(&check, &front),
        points: parse::point_places(&check, &front),
        examples: front.examples.iter().map(|example| check.place(example.span())).collect(),
    };
    if audience == Audience::Author {
        let scoring = front.scoring.as_ref().map(|scoring| *scoring.get_ref()).unwrap_or_default();
        let empty_points = front.empty_points.as_ref();
        let asked = AskedNumbers {
            criteria: &criteria,
            empty_points: empty_points.map(|one| (*one.get_ref(), check.place(one.span()))),
            max_tokens: (*front.max_tokens.get_ref(), check.place(front.max_tokens.span())),
            grouping: (scoring == Scoring::Chosen).then_some(front.grouping),
        };
        lint::check_numbers(source, &asked, &places, check.report);
    }
    let examples: Vec<RubricExample> =
        front.examples.into_iter().map(toml::Spanned::into_inner).collect();
    let shown = ShownParts { criteria: &criteria, examples: &examples };
    let body = template::compile(source, &sections, (shown, layout), report)?;
    check_shown_replies(
        source,
        &body,
        (instructions, listwise.is_some() || pairwise.is_some()),
        &places,
        report,
    );
    // A wrong number in the front matter does not hide what is wrong with the body.
    if audience == Audience::Author && body.is_sound && instructions == Instructions::Added {
        lint::check(source, &body, shown, &places, report);
        let facts = front.facts.as_ref().map(|facts| facts.get_ref().as_slice());
        let probes = front.probes.iter().map(toml::Spanned::get_ref);
        lint::check_body(
            &AuthoredBody { source, sections: &sections, body: &body, shown, facts },
            probes,
            report,
        );
    }
    let samples = front.samples.into_inner();
    let count = criteria.len();
    let shuffled = front.shuffle.unwrap_or(samples > 1);
    let scoring = front.scoring.map(toml::Spanned::into_inner).unwrap_or_default();
    let shown = ShownParts { criteria: &criteria, examples: &examples };
    let reasoning = front.reasoning.map(toml::Spanned::into_inner).unwrap_or_default();
    let form = AnswerForm { scoring, reasoning, mode: front.mode, answer: &answer };
    let asked = asked::digest(&body, shown, form);
    let seed = guerdon_text::hex(&asked);
    let order = |number| {
        if shuffled { order::shuffled(count, &seed, number) } else { (0..count).collect() }
    };
    let selection = match front.facts {
        Some(facts) => ContextSelection::Keys(facts.into_inner().into_iter().collect()),
        None => body.selection,
    };
    let orders = (0..samples).map(order).collect();
    Some(Rubric {
        id: front.id.into_inner(),
        about: front.about,
        version: front.version,
        hash,
        asked,
        sealed: front.hash.is_some(),
        max_tokens: front.max_tokens.into_inner(),
        temperature: front.temperature.into_inner(),
        grouping: front.grouping,
        scoring,
        reasoning,
        listwise,
        pairwise,
        answer: answer.syntax,
        scale: answer.scale,
        reply_names: answer.names,
        instructions,
        layout,
        empty_points: front.empty_points.map(toml::Spanned::into_inner),
        samples,
        orders,
        criteria,
        examples,
        probes: front.probes.into_iter().map(toml::Spanned::into_inner).collect(),
        context: body.context,
        selection,
        body: body.templates,
        is_fixed_work: body.is_fixed_work,
    })
}

/// Checks that a body shows replies by the slot `replies` only with words of its own, and both of two.
fn check_shown_replies(
    source: &SourceText,
    body: &template::CompiledBody,
    (instructions, compares): (Instructions, bool),
    places: &PartPlaces,
    report: &mut Report,
) {
    let place = places.user.start..places.user.start;
    let (message, help) = match (body.shown_replies, instructions) {
        (0, _) => return,
        (_, Instructions::Added) => (
            "the slot `replies` shows replies without the marks that keep them apart",
            "use `{{ turn }}`, or `instructions = \"own\"` with an `answer` of your own",
        ),
        (1, Instructions::Own) if compares => {
            ("the body shows one reply of several", "show all of `replies`, such as in a loop")
        }
        (2, Instructions::Own) if !compares => {
            ("the body shows more than one reply", "write `{{ replies[0].text }}`")
        }
        _ => return,
    };
    report.add(source, Finding::new(codes::TURN, place, message).help(help));
}

impl Prompts {
    /// Seals a prompt: writes the hash of `text` into it, with a raised version if the text was
    /// edited since it was sealed. The text must compile apart from its seal.
    #[must_use]
    pub fn sealed(text: &str) -> String {
        version::sealed(text)
    }
}
