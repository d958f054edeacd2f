//! Settings of the fusion, which combines several sources into one reward. guerdon-fusion has the
//! arithmetic.
//!
//! | File | Contents |
//! |---|---|
//! | `config.rs` | the fusion of a profile, and a request's changes to it |
//! | `method.rs` | the methods, and the aggregates of turn rewards |
//! | `verdict.rs` | the verdict of a fusion on a turn |
//! | `weights.rs` | the weights of sums |
//! | `hero.rs` | the settings of `hero` |
//! | `calibration.rs` | the calibration of a reward model's raw output |
//! | `normaliser.rs` | the normalisation of a source's value |
//! | `combine.rs` | the combination of an ensemble's values |
//! | `invalid.rs` | an invalid setting |

mod calibration;
mod combine;
mod config;
mod hero;
mod invalid;
mod method;
mod normaliser;
mod verdict;
mod weights;

pub use calibration::Calibration;
pub use combine::{Combine, CombineMethod};
pub use config::{FusionConfig, FusionPatch};
pub(crate) use config::{is_one, is_zero};
pub use hero::HeroConfig;
pub use invalid::InvalidFusion;
pub use method::{Aggregate, FusionMethod, InnerMethod};
pub use normaliser::{ManifestNormaliser, Normaliser, NormaliserConfig, RunningState};
pub use verdict::Verdict;
pub use weights::Weights;
