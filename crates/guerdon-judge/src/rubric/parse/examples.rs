//! Examples and probes of a prompt file.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use guerdon_text::Finding;

use super::front::{FrontCheck, FrontMatter};
use crate::rubric::{Criterion, RubricProbe, codes};

/// Checks that examples and probes name existing criteria and levels, and that no probe is also
/// shown as an example.
pub(crate) fn check_examples(
    check: &mut FrontCheck<'_>,
    front: &FrontMatter,
    criteria: &[Criterion],
) {
    for example in &front.examples {
        check_labels(check, check.place(example.span()), &example.get_ref().levels, criteria);
    }
    for probe in &front.probes {
        check_labels(check, check.place(probe.span()), &probe.get_ref().levels, criteria);
    }
    let mut names = BTreeSet::new();
    for probe in &front.probes {
        let RubricProbe { name, turn, .. } = probe.get_ref();
        let place = check.place(probe.span());
        if !names.insert(name) {
            let message = format!("probe `{name}` is defined twice");
            check.add(Finding::new(codes::DUPLICATE, place.clone(), message));
        }
        if front.examples.iter().any(|example| example.get_ref().turn == *turn) {
            let message =
                format!("probe `{name}` is also an example, so the judge is shown its verdict");
            check.add(Finding::new(codes::PROBE_SHOWN, place, message));
        }
    }
}

/// Checks the levels of one example or probe at `place`, by criterion.
fn check_labels(
    check: &mut FrontCheck<'_>,
    place: Range<usize>,
    levels: &BTreeMap<String, String>,
    criteria: &[Criterion],
) {
    if levels.is_empty() {
        let message = "`levels` names no criterion";
        check.add(Finding::new(codes::EXAMPLE, place.clone(), message));
    }
    for (id, level) in levels {
        let Some(criterion) = criteria.iter().find(|criterion| criterion.id == *id) else {
            let message = format!("this rubric has no criterion `{id}`");
            let known = criteria.iter().map(|criterion| criterion.id.as_str());
            check.add(Finding::new(codes::EXAMPLE, place.clone(), message).nearest(id, known));
            continue;
        };
        if criterion.level(level).is_none() {
            let message = format!("criterion `{id}` has no level `{level}`");
            let known = criterion.levels.iter().map(|level| level.name.as_str());
            check.add(Finding::new(codes::EXAMPLE, place.clone(), message).nearest(level, known));
        }
    }
}
