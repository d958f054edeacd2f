//! The criteria of a prompt file, with checks for likely mistakes.

use std::collections::BTreeSet;
use std::ops::Range;

use guerdon_text::Finding;
use toml::Spanned;

use super::front::{FrontCheck, FrontMatter, RawCriterion, RawLevel};
use crate::rubric::{
    Criterion, CriterionKind, CriterionLevel, Grouping, MAX_LETTERS, Reasoning, Scoring, codes,
};

/// Reads and checks the criteria.
pub(crate) fn check_criteria(check: &mut FrontCheck<'_>, front: &FrontMatter) -> Vec<Criterion> {
    let mut ids = BTreeSet::new();
    let raw = front.criteria.get_ref();
    for criterion in raw {
        let criterion = criterion.get_ref();
        check_name(check, &criterion.id);
        if !ids.insert(criterion.id.get_ref().as_str()) {
            let message = format!("criterion `{}` is defined twice", criterion.id.get_ref());
            let place = check.place(criterion.id.span());
            check.add(Finding::new(codes::DUPLICATE, place, message));
        }
        check_levels(check, criterion);
    }
    if let Some(points) = &front.empty_points {
        if points.get_ref().get() >= 0.0 {
            let message =
                format!("`empty_points` is {}, so silence costs nothing", points.get_ref());
            let finding = Finding::new(codes::SILENCE, check.place(points.span()), message);
            check.add(finding.help("write a negative number, worse than that of most faults"));
        }
    } else if !raw.iter().any(|criterion| criterion.get_ref().fails_empty) {
        let place = raw.first().map_or(0..0, |first| check.place(first.get_ref().id.span()));
        let message = "no criterion fails an empty reply, so silence would be the best reply";
        let help = "mark one that an empty reply fails, such as \"answers the partner\", with `fails_empty = true`, or set `empty_points`";
        check.add(Finding::new(codes::SILENCE, place, message).help(help));
    }
    check_scoring(check, front);
    raw.iter().map(|criterion| criterion.get_ref().into()).collect()
}

/// The places of the criteria's ids in the file.
pub(crate) fn criterion_places(check: &FrontCheck<'_>, front: &FrontMatter) -> Vec<Range<usize>> {
    let place = |criterion: &Spanned<RawCriterion>| check.place(criterion.get_ref().id.span());
    front.criteria.get_ref().iter().map(place).collect()
}

/// The places of the points of each criterion's levels in the file.
pub(crate) fn point_places(check: &FrontCheck<'_>, front: &FrontMatter) -> Vec<Vec<Range<usize>>> {
    let place = |level: &RawLevel| check.place(level.points.span());
    let criteria = front.criteria.get_ref().iter();
    criteria.map(|one| one.get_ref().levels.get_ref().iter().map(place).collect()).collect()
}

/// Checks that criteria scored by probabilities can be answered with one letter each.
fn check_scoring(check: &mut FrontCheck<'_>, front: &FrontMatter) {
    let Some(scoring) =
        front.scoring.as_ref().filter(|scoring| *scoring.get_ref() == Scoring::Expected)
    else {
        return;
    };
    let raw = front.criteria.get_ref();
    let any =
        |wrong: fn(&RawCriterion) -> bool| raw.iter().any(|criterion| wrong(criterion.get_ref()));
    let reasons = front.reasoning.as_ref().is_some_and(|one| *one.get_ref() == Reasoning::Before);
    let problem = if reasons {
        "leaves no room for reasons: remove `reasoning`"
    } else if front.grouping != Grouping::Criterion {
        "needs `grouping = \"criterion\"`: one letter answers one question"
    } else if any(|criterion| criterion.quote) {
        "leaves no room for quotes: remove `quote = true`"
    } else if any(|criterion| criterion.levels.get_ref().len() > MAX_LETTERS) {
        "has letters for at most ten levels"
    } else {
        return;
    };
    let message = format!("`scoring = \"expected\"` {problem}");
    check.add(Finding::new(codes::SCORING, check.place(scoring.span()), message));
}

fn check_levels(check: &mut FrontCheck<'_>, criterion: &RawCriterion) {
    let mut names = BTreeSet::new();
    for level in criterion.levels.get_ref() {
        check_name(check, &level.name);
        let (name, place) = (level.name.get_ref(), check.place(level.name.span()));
        if !names.insert(name.as_str()) {
            let message = format!("level `{name}` is defined twice");
            check.add(Finding::new(codes::DUPLICATE, place.clone(), message));
        }
        let points = level.points.get_ref().get();
        let wrong_sign = match criterion.kind {
            CriterionKind::Bonus => points < 0.0,
            CriterionKind::Deduct | CriterionKind::Gate | CriterionKind::Veto => points > 0.0,
        };
        if wrong_sign {
            let message = format!("{points} points have the wrong sign for this kind");
            let help = "`bonus` gives points; `deduct`, `gate` and `veto` take them; split the criterion in two";
            let place = check.place(level.points.span());
            check.add(Finding::new(codes::LEVELS, place, message).help(help));
        }
        if level.fires && criterion.kind != CriterionKind::Veto {
            let message = "only a level of a `veto` criterion can be marked `fires`";
            check.add(Finding::new(codes::LEVELS, place, message));
        }
    }
    let place = check.place(criterion.levels.span());
    let read = Criterion::from(criterion);
    if !read.levels.iter().any(CriterionLevel::is_neutral) {
        let message = "no level of this criterion stands for \"nothing to remark\"";
        let finding = Finding::new(codes::LEVELS, place.clone(), message);
        check.add(finding.help("add one with `points = 0`"));
    }
    if read.levels.iter().all(CriterionLevel::is_neutral) {
        let message = "no level of this criterion changes anything";
        check.add(Finding::new(codes::LEVELS, place, message));
    } else if read.fails_empty && !read.worst().is_some_and(CriterionLevel::is_fault) {
        let message = "`fails_empty` needs a level that costs points";
        let help = "a bonus cannot fail an empty reply: without it, silence still gets 0 points";
        check.add(Finding::new(codes::SILENCE, place, message).help(help));
    }
}

/// Checks an id or level name. Both become JSON keys and enum values, so only plain words are
/// accepted.
fn check_name(check: &mut FrontCheck<'_>, name: &Spanned<String>) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let text = name.get_ref();
    if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
        let finding =
            Finding::new(codes::NAME, check.place(name.span()), format!("invalid name `{text}`"));
        check.add(finding.help("use 1 to 64 of a-z, 0-9 and _"));
    }
}

impl From<&RawCriterion> for Criterion {
    fn from(raw: &RawCriterion) -> Self {
        let level = |raw: &RawLevel| CriterionLevel {
            name: raw.name.get_ref().clone(),
            points: *raw.points.get_ref(),
            anchor: raw.anchor.clone(),
            fires: raw.fires,
        };
        Self {
            id: raw.id.get_ref().clone(),
            kind: raw.kind,
            about: raw.about.clone(),
            levels: raw.levels.get_ref().iter().map(level).collect(),
            fails_empty: raw.fails_empty,
            quote: raw.quote,
        }
    }
}
