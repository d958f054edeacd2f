//! The sources of a profile: settings of each, and ensembles of several.
//!
//! | File | Contents |
//! |---|---|
//! | `scorer_source.rs` | a source with its settings in a profile |
//! | `ensemble.rs` | the members of an ensemble, with the function that combines them |
//! | `ensemble_places.rs` | the places of ensembles and members in a scorer, members first |
//! | `ensemble_source.rs` | an ensemble as one source, and its signals from those of its members |

mod ensemble;
mod ensemble_places;
mod ensemble_source;
mod sampled;
mod scorer_source;

pub use self::ensemble::Ensemble;
pub(crate) use self::ensemble_places::{EnsemblePlaces, in_order};
pub use self::ensemble_source::EnsembleSource;
pub use self::scorer_source::{ScorerSource, SourceSettings};
