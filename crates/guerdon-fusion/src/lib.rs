//! The trait of reward sources, and the fusion of several sources into one reward: pure arithmetic,
//! without a clock, a socket or a runtime.
//!
//! ```
//! use guerdon_fusion::{Standing, TurnSignals, fuse};
//! use guerdon_types::FusionConfig;
//!
//! let mut signals = TurnSignals::default();
//! signals.rm = Some(Standing::Scored(1.5)); // The reward model liked the reply,
//! signals.rules = Some(Standing::Scored(-20.0)); // but it said "work order" to the partner.
//! assert_eq!(fuse(&signals, &FusionConfig::default()), Some(1.5 * 0.8));
//!
//! signals.rm = Some(Standing::Silent); // Without its score there is no reward, never 0.0.
//! assert_eq!(fuse(&signals, &FusionConfig::default()), None);
//! ```
//!
//! | File | Contents |
//! |---|---|
//! | `source.rs` | the trait that every reward source implements |
//! | `sources/` | a source with its settings in a profile; several sources as one (ensemble) |
//! | `scorer.rs` | the sources of a profile with their fusion |
//! | `asked.rs` | a rollout whose sources have answered; the second question about missing rubrics |
//! | `group/` | the trait of sources that compare the samples of a group, and when they are asked |
//! | `settle.rs` | from the signals of a group to its results, by the causes of abstentions |
//! | `standing.rs` | a source's number on a turn: whole, in part, or missing |
//! | `source_signals.rs` | the signals of one source about one rollout, whatever the source does |
//! | `table.rs` | the standings of the sources that were asked about one turn |
//! | `digest.rs` | the digest of sources and fusion: everything that shapes a reward |
//! | `row.rs` | one turn in the scorer: its signals, and its result with the reward |
//! | `fuse.rs` | from signals to a turn's reward, from turns to the rollout's |
//! | `recompute.rs` | rewards from stored parts after an edit, and ranks within groups |
//! | `stages.rs` | after the fusion of turns: screened rollouts, and rewards of a group |
//! | `repo.rs` | the paper's bounded, sign-keeping modulation, and its floor |
//! | `weighted.rs` | the weighted sum, and the soft minimum of its terms |
//! | `hero.rs` | the RM's order within the strata of right and wrong replies |
//! | `calibrate.rs` | from the reward model's raw output to its score |
//! | `normalise/` | from a source's value to its number; fitted on reference sets |
//! | `ensemble.rs` | the values of several sources as one, with their disagreement |

mod asked;
mod calibrate;
mod digest;
mod ensemble;
mod fuse;
mod group;
mod hero;
mod normalise;
mod recompute;
mod repo;
mod row;
mod scorer;
mod settle;
mod source;
mod source_signals;
mod sources;
mod stages;
mod standing;
mod table;
mod weighted;

/// Re-exported so that a source's author needs no futures crate of their own.
pub use futures_util::future::BoxFuture;

pub use asked::AskedRollout;
pub use calibrate::calibrate;
pub use digest::SCORING_REVISION;
pub use ensemble::{EnsembleValue, Term, combine, soft_min};
pub use fuse::{aggregate, fuse, is_screened};
pub use group::{GroupAsk, GroupMember, GroupSource};
pub use hero::{HeroSample, hero};
pub use normalise::{
    FitError, FitKind, Moments, RunningNormaliser, Sample, fit, fit_running, normalise,
};
pub use recompute::{
    FusionChange, GroupRanks, NotRecomputable, group_ranks, recompute, recompute_with,
    reward_of_parts,
};
pub use repo::{enhancement, repo, repo_with_floor};
pub use scorer::Scorer;
pub use settle::{DroppedRubric, SettledGroup};
pub use source::{Ask, Channel, RewardSource, SourceVersion, WorstVerdict};
pub use sources::{Ensemble, EnsembleSource, ScorerSource, SourceSettings};
pub use stages::verdict;
pub use standing::Standing;
pub use table::TurnSignals;
pub use weighted::{soft_min_of_terms, weighted_sum};
