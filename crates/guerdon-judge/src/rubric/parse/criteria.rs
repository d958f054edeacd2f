//! The criteria of a prompt file, and what their author must not have meant.

use std::collections::BTreeSet;
use std::ops::Range;

use guerdon_types::Finite;
use serde::Deserialize;
use toml::Spanned;

use super::{Front, shifted};
use crate::rubric::report::{Report, Source};
use crate::rubric::{Criterion, Grouping, Kind, Level, MOST_LEVELS, Scoring};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCriterion {
    id: Spanned<String>,
    kind: Kind,
    about: String,
    #[serde(default)]
    fails_empty: bool,
    #[serde(default)]
    quote: bool,
    levels: Spanned<Vec<RawLevel>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLevel {
    name: Spanned<String>,
    points: Spanned<Finite>,
    anchor: String,
    #[serde(default)]
    fires: bool,
}

/// Reads and checks the criteria.
pub(crate) fn criteria(
    source: &Source<'_>,
    range: &Range<usize>,
    front: &Front,
    report: &mut Report,
) -> Vec<Criterion> {
    let mut ids = BTreeSet::new();
    let raw = front.criteria.get_ref();
    for criterion in raw {
        let criterion = criterion.get_ref();
        name(source, range, &criterion.id, report);
        if !ids.insert(criterion.id.get_ref().as_str()) {
            source
                .error(
                    shifted(criterion.id.span(), range),
                    format!("criterion `{}` is defined twice", criterion.id.get_ref()),
                )
                .into(report);
        }
        levels(source, range, criterion, report);
    }
    if !raw.iter().any(|criterion| criterion.get_ref().fails_empty) {
        source
            .error(
                raw.first().map_or(0..0, |first| shifted(first.get_ref().id.span(), range)),
                "no criterion fails an empty reply, so silence would be the best reply",
            )
            .help("mark one that an empty reply fails, such as \"answers the partner\", with `fails_empty = true`")
            .into(report);
    }
    expected(source, range, front, report);
    raw.iter().map(|criterion| criterion.get_ref().into()).collect()
}

/// Probabilities are those of one letter: of one criterion, without a quote.
fn expected(source: &Source<'_>, range: &Range<usize>, front: &Front, report: &mut Report) {
    let Some(scoring) =
        front.scoring.as_ref().filter(|scoring| *scoring.get_ref() == Scoring::Expected)
    else {
        return;
    };
    let raw = front.criteria.get_ref();
    let any =
        |wrong: fn(&RawCriterion) -> bool| raw.iter().any(|criterion| wrong(criterion.get_ref()));
    let wrong = if front.grouping != Grouping::Criterion {
        "needs `grouping = \"criterion\"`: one letter answers one question"
    } else if any(|criterion| criterion.quote) {
        "leaves no room for quotes: remove `quote = true`"
    } else if any(|criterion| criterion.levels.get_ref().len() > MOST_LEVELS) {
        "has letters for ten levels at most"
    } else {
        return;
    };
    let message = format!("`scoring = \"expected\"` {wrong}");
    source.error(shifted(scoring.span(), range), message).into(report);
}

fn levels(
    source: &Source<'_>,
    range: &Range<usize>,
    criterion: &RawCriterion,
    report: &mut Report,
) {
    let place = shifted(criterion.levels.span(), range);
    let levels = criterion.levels.get_ref();
    let mut names = BTreeSet::new();
    for level in levels {
        name(source, range, &level.name, report);
        if !names.insert(level.name.get_ref().as_str()) {
            source
                .error(
                    shifted(level.name.span(), range),
                    format!("level `{}` is defined twice", level.name.get_ref()),
                )
                .into(report);
        }
        let points = level.points.get_ref().get();
        let wrong = match criterion.kind {
            Kind::Bonus => points < 0.0,
            Kind::Deduct | Kind::Gate | Kind::Veto => points > 0.0,
        };
        if wrong {
            source
                .error(
                    shifted(level.points.span(), range),
                    format!("{points} points have the wrong sign for this kind"),
                )
                .help(
                    "`bonus` gives points; `deduct`, `gate` and `veto` take them; split the criterion in two",
                )
                .into(report);
        }
        if level.fires && criterion.kind != Kind::Veto {
            source
                .error(
                    shifted(level.name.span(), range),
                    "only a level of a `veto` criterion can be marked `fires`",
                )
                .into(report);
        }
    }
    let read = Criterion::from(criterion);
    if !read.levels.iter().any(Level::is_silent) {
        source
            .error(place.clone(), "no level of this criterion says that nothing is to be remarked")
            .help("add one with `points = 0`")
            .into(report);
    }
    if read.levels.iter().all(Level::is_silent) {
        source.error(place.clone(), "no level of this criterion changes anything").into(report);
    } else if read.fails_empty && !read.worst().is_some_and(Level::is_fault) {
        source
            .error(place, "`fails_empty` needs a level that costs points")
            .help("a bonus cannot fail an empty reply: not earning it leaves silence at 0")
            .into(report);
    }
}

/// Ids and level names become JSON keys and enum values: plain words travel best.
fn name(source: &Source<'_>, range: &Range<usize>, name: &Spanned<String>, report: &mut Report) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let text = name.get_ref();
    if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
        source
            .error(shifted(name.span(), range), format!("`{text}` is no plain name"))
            .help("use 1 to 64 of a-z, 0-9 and _")
            .into(report);
    }
}

impl From<&RawCriterion> for Criterion {
    fn from(raw: &RawCriterion) -> Self {
        let level = |raw: &RawLevel| Level {
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
