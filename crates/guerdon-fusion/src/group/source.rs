//! The trait of sources that see all samples of a group.

use std::time::Instant;

use futures_util::future::BoxFuture;
use guerdon_types::{Rollout, Signal};

/// A rollout of a group that can be scored.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct GroupMember<'a> {
    /// The dialogue and its context.
    pub rollout: &'a Rollout,
    /// Indices of the asked turns, ascending; never empty.
    pub turns: &'a [usize],
    /// The source's own signals about this rollout alone, one for each turn. Empty if the source
    /// does not [score rollouts](GroupSource::scores_rollouts).
    pub signals: &'a [Signal],
}

/// The samples of one attempt at a group.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct GroupAsk<'a> {
    /// The rollouts that can be scored; at least one. All are of the same group and attempt.
    pub members: &'a [GroupMember<'a>],
    /// The number of samples that the group should have: at least the number of members.
    pub expected: usize,
    /// The reason why the members are not samples of one group, such as two sizes.
    pub conflict: Option<&'a str>,
    /// The reason why samples are missing, if it is known.
    pub note: Option<&'a str>,
    /// Time after which the signals are not needed any more: see [`Ask`](crate::Ask).
    pub deadline: Option<Instant>,
    /// Number of the client: see [`Ask`](crate::Ask).
    pub client: u64,
}

/// A source of signals that compares the samples of a group.
pub trait GroupSource: Send + Sync {
    /// True if the source also scores each rollout alone. [`RewardSource::score`](crate::RewardSource::score) is called only
    /// then.
    fn scores_rollouts(&self) -> bool {
        false
    }

    /// The signals of each member, one for each of its turns. They replace the source's own signals
    /// about the rollout alone.
    ///
    /// Samples are compared with each other, so a failure is an abstention on every member.
    fn score_group<'a>(&'a self, ask: GroupAsk<'a>) -> BoxFuture<'a, Vec<Vec<Signal>>>;
}
