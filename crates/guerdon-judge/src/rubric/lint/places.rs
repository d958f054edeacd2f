//! The places of a rubric's parts in its file, for findings.

use std::ops::Range;

/// The places of a rubric's parts in its file.
#[derive(Debug)]
pub(crate) struct PartPlaces {
    /// The body's `# user` section.
    pub(crate) user: Range<usize>,
    /// The ids of the criteria.
    pub(crate) criteria: Vec<Range<usize>>,
    /// The points of each criterion's levels.
    pub(crate) points: Vec<Vec<Range<usize>>>,
    /// The examples.
    pub(crate) examples: Vec<Range<usize>>,
}
