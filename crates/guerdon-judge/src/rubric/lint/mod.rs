//! Checks for authors of rubrics: parts that the judge is never shown, and criteria whose wording
//! misleads it. A server does not run them, so a rubric that loads today keeps loading.

mod body;
mod chinese;
mod english;
mod numbers;
mod places;
mod predicate;
mod shown;
#[cfg(test)]
mod tests;
mod wording;

use guerdon_text::{Report, SourceText};

pub(crate) use self::body::{AuthoredBody, check_body};
pub(crate) use self::numbers::{AskedNumbers, check_numbers};
pub(crate) use self::places::PartPlaces;
use crate::rubric::template::{CompiledBody, ShownParts};

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
