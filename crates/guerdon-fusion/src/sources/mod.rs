//! The sources of a profile: settings of each, and ensembles of several.

mod ensemble_source;
mod scorer_source;

pub use self::ensemble_source::{Ensemble, EnsembleSource};
pub(crate) use self::ensemble_source::{EnsemblePlaces, in_order};
pub use self::scorer_source::{ScorerSource, SourceSettings};
