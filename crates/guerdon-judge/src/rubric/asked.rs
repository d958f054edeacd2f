//! The hash of what is asked with a rubric, which the keys of answers are made of.

use serde_json::Value;

use crate::ask::digest::{Digest, PartsHasher, json};
use crate::rubric::answer::{Instructions, MessageLayout};
use crate::rubric::parse::AnswerSettings;
use crate::rubric::template::{CompiledBody, SECTIONS, ShownParts};
use crate::rubric::{Criterion, CriterionLevel, Mode, Reasoning, Scoring};

/// The settings that decide the form of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerForm<'a> {
    pub(super) scoring: Scoring,
    pub(super) reasoning: Reasoning,
    pub(super) mode: Mode,
    pub(super) answer: &'a AnswerSettings,
}

/// The hash of what a question shows of a rubric: its templates, and the criteria and examples as
/// far as the templates can show them.
pub(super) fn digest(
    body: &CompiledBody,
    shown: ShownParts<'_>,
    AnswerForm { scoring, reasoning, mode, answer }: AnswerForm<'_>,
) -> Digest {
    let mut hash = PartsHasher::default();
    for section in SECTIONS {
        let template = body.templates.get_template(section);
        hash.add(
            template.map(|template| template.source().to_owned()).unwrap_or_default().as_bytes(),
        );
    }
    let points = body.shows_points(shown);
    hash.add(&json(
        &shown.criteria.iter().map(|one| criterion_shown(one, points)).collect::<Vec<_>>(),
    ));
    hash.add(&json(&shown.examples));
    hash.add(&[u8::from(scoring == Scoring::Expected), u8::from(reasoning == Reasoning::Before)]);
    // Absolute prompts keep the hashes that they had before there were others.
    match mode {
        Mode::Absolute => {}
        Mode::Listwise => hash.add(b"listwise"),
        Mode::Pairwise => hash.add(b"pairwise"),
    }
    let AnswerSettings { syntax, scale, names, instructions, layout } = answer;
    if !syntax.is_schema() {
        hash.add(syntax.words().as_bytes());
        let (first, second) = scale.unwrap_or_default();
        hash.add(&first.to_le_bytes());
        hash.add(&second.to_le_bytes());
        hash.add(names.name(0).as_bytes());
        hash.add(&[
            u8::from(*instructions == Instructions::Own),
            u8::from(*layout == MessageLayout::Roles),
        ]);
    }
    hash.finish()
}

/// The hash of `prompt`, a built-in prompt that shows no kinds and no points, with these criteria.
pub(super) fn with_criteria(prompt: &Digest, criteria: &[Criterion]) -> Digest {
    let shown = |criterion: &Criterion| {
        let levels = criterion.levels.iter().map(|level| (&level.name, &level.anchor));
        let levels: Vec<(&String, &String)> = levels.collect();
        serde_json::json!({"id": criterion.id, "about": criterion.about, "levels": levels})
    };
    let mut hash = PartsHasher::default();
    hash.add(prompt);
    hash.add(&json(&criteria.iter().map(shown).collect::<Vec<_>>()));
    hash.finish()
}

/// A criterion as a template sees it; points only if they may be shown.
fn criterion_shown(criterion: &Criterion, points: bool) -> Value {
    let level = |level: &CriterionLevel| {
        let points = points.then_some(level.points);
        serde_json::json!({"name": level.name, "anchor": level.anchor, "points": points})
    };
    let levels: Vec<Value> = criterion.levels.iter().map(level).collect();
    serde_json::json!({"id": criterion.id, "kind": criterion.kind, "about": criterion.about, "levels": levels})
}
