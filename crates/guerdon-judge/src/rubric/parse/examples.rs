//! Examples and probes: that they speak of what exists, and that no probe is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;

use super::shifted;
use crate::rubric::report::{Report, Source};
use crate::rubric::{Criterion, Example, Probe};

/// Checks that examples and probes speak of criteria and levels that exist, and that no probe is shown.
pub(crate) fn examples(
    source: &Source<'_>,
    range: &Range<usize>,
    (examples, probes): (&[Spanned<Example>], &[Spanned<Probe>]),
    criteria: &[Criterion],
    report: &mut Report,
) {
    let mut levels = |span: Range<usize>, levels: &BTreeMap<String, String>| {
        let place = shifted(span, range);
        if levels.is_empty() {
            source.error(place.clone(), "`levels` says nothing of any criterion").into(report);
        }
        for (id, level) in levels {
            let Some(criterion) = criteria.iter().find(|criterion| criterion.id == *id) else {
                source
                    .error(place.clone(), format!("`{id}` is no criterion of this rubric"))
                    .nearest(id, criteria.iter().map(|criterion| criterion.id.as_str()))
                    .into(report);
                continue;
            };
            if criterion.level(level).is_none() {
                source
                    .error(place.clone(), format!("`{level}` is no level of criterion `{id}`"))
                    .nearest(level, criterion.levels.iter().map(|level| level.name.as_str()))
                    .into(report);
            }
        }
    };
    for example in examples {
        levels(example.span(), &example.get_ref().levels);
    }
    for probe in probes {
        levels(probe.span(), &probe.get_ref().levels);
    }
    let mut names = BTreeSet::new();
    for probe in probes {
        let Probe { name, turn, .. } = probe.get_ref();
        let place = shifted(probe.span(), range);
        if !names.insert(name) {
            source.error(place.clone(), format!("probe `{name}` is defined twice")).into(report);
        }
        if examples.iter().any(|example| example.get_ref().turn == *turn) {
            source
                .error(
                    place,
                    format!("probe `{name}` is also an example, so the judge is told its verdict"),
                )
                .into(report);
        }
    }
}
