//! The members of an ensemble, with the function that combines them.

use guerdon_types::{Combine, SourceId};

/// The members of an ensemble, and the function that combines their terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    /// The names of the members, which are sources of the same scorer.
    pub of: Vec<SourceId>,
    /// The function.
    pub combine: Combine,
}
