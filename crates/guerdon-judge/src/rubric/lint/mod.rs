//! Checks for authors of rubrics: parts that the judge is never shown, and criteria whose wording
//! misleads it. A server does not run them, so a rubric that loads today keeps loading.

mod chinese;
mod english;
mod predicate;
mod shown;
#[cfg(test)]
mod tests;
mod wording;

use std::ops::Range;

use guerdon_text::{Report, SourceText};

use crate::rubric::template::{CompiledBody, ShownParts};

/// The places of a rubric's parts in its file.
#[derive(Debug)]
pub(crate) struct PartPlaces {
    /// The body's `# user` section.
    pub(crate) user: Range<usize>,
    /// The ids of the criteria.
    pub(crate) criteria: Vec<Range<usize>>,
    /// The examples.
    pub(crate) examples: Vec<Range<usize>>,
}

/// Adds the findings about a rubric that compiles.
pub(crate) fn check(
    source: &SourceText,
    body: &CompiledBody,
    shown: ShownParts<'_>,
    places: &PartPlaces,
    report: &mut Report,
) {
    let unshown = shown::findings(body, shown, places);
    let misleading = wording::findings(shown.criteria, places);
    unshown.into_iter().chain(misleading).for_each(|finding| report.add(source, finding));
}
