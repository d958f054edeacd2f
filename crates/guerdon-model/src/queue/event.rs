//! What a model tells of its work: batches that ran, and scores that were known.

use std::sync::Arc;
use std::time::Duration;

/// What a model tells of its work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelEvent {
    /// A batch was run.
    Batch(BatchEvent),
    /// So many turns had been scored before, and were not scored again.
    CacheHits(usize),
}

/// One batch that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchEvent {
    /// Distinct sequences.
    pub items: usize,
    /// Turns beyond those, which asked what another had asked.
    pub coalesced: usize,
    /// Tokens that the device computed: the longest sequence times `items`; in a packed graph, each distinct one once.
    pub computed_tokens: usize,
    /// Tokens that were asked about.
    pub tokens: usize,
    /// How long it took; batches of other instances may have run meanwhile.
    pub duration: Duration,
    /// How long the turn that waited longest had waited.
    pub queue_wait: Duration,
    /// How it went.
    pub outcome: BatchOutcome,
}

/// How a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BatchOutcome {
    /// Every sequence has a score.
    Scored,
    /// Some have none: the engine failed on them alone, or their score was not finite.
    Partial,
    /// None has.
    Failed,
}

impl BatchOutcome {
    /// The outcome as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scored => "scored",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }
}

/// Who is told of it, often on a device thread: keep it quick.
pub(crate) type Observer = Arc<dyn Fn(&ModelEvent) + Send + Sync>;
