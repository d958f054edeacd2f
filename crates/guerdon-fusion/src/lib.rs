//! The trait of reward sources, and the fusion of several sources into one reward: pure arithmetic,
//! without a clock, a socket or a runtime.
//!
//! ```
//! use guerdon_fusion::{TurnSignals, fuse};
//! use guerdon_types::FusionConfig;
//!
//! let mut signals = TurnSignals::default();
//! signals.rm = Some(1.5); // the reward model liked the reply,
//! signals.rules = Some(-20.0); // but it said "work order" to the partner.
//! assert_eq!(fuse(&signals, &FusionConfig::default()), Some(1.5 * 0.8));
//!
//! signals.rm = None; // Without the reward model's score there is no reward, never 0.0.
//! assert_eq!(fuse(&signals, &FusionConfig::default()), None);
//! ```
//!
//! | File | Contents |
//! |---|---|
//! | `source.rs` | the trait that every reward source implements |
//! | `scorer.rs` | asks all sources about a rollout and fuses their signals |
//! | `table.rs` | the signals of one turn side by side; a missing cell stays missing |
//! | `row.rs` | one turn in the scorer: its signals, and its result with the reward |
//! | `fuse.rs` | from signals to a turn's reward, from turns to the rollout's |
//! | `repo.rs` | the paper's bounded, sign-keeping modulation |
//! | `weighted.rs` | the plain weighted sum |
//! | `calibrate.rs` | from the reward model's raw output to its score |

mod calibrate;
mod fuse;
mod repo;
mod row;
mod scorer;
mod source;
mod table;
mod weighted;

/// Re-exported so that a source's author needs no futures crate of their own.
pub use futures_util::future::BoxFuture;

pub use calibrate::calibrate;
pub use fuse::{aggregate, fuse};
pub use repo::{enhancement, repo};
pub use scorer::Scorer;
pub use source::{Ask, Channel, RewardSource, SourceVersion};
pub use table::TurnSignals;
pub use weighted::weighted_sum;
