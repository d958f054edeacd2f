//! Events that a model reports: batches and cache hits.

use std::sync::Arc;
use std::time::Duration;

/// An event of a model's work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelEvent {
    /// A batch ran.
    Batch(BatchEvent),
    /// The number of turns of a request, or of a batch, whose scores were in the cache.
    CacheHits(usize),
}

/// A batch that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchEvent {
    /// Number of distinct sequences.
    pub items: usize,
    /// Number of further turns with the same tokens as one of these sequences.
    pub coalesced: usize,
    /// Tokens that the device computed. In a padded batch, the longest sequence times `items`; in a
    /// packed batch, each distinct token once.
    pub computed_tokens: usize,
    /// Tokens of the distinct sequences, without padding.
    pub tokens: usize,
    /// Run time of the batch. Batches of other instances may run at the same time.
    pub duration: Duration,
    /// The longest time that a turn of this batch waited.
    pub queue_wait: Duration,
    /// The outcome.
    pub outcome: BatchOutcome,
}

/// The outcome of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BatchOutcome {
    /// Every sequence has a score.
    Scored,
    /// Some sequences have no score: the engine failed on them alone, or their score was not
    /// finite.
    Partial,
    /// No sequence has a score.
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

/// A callback for events. It often runs on a device thread and must be quick.
pub(crate) type ModelObserver = Arc<dyn Fn(&ModelEvent) + Send + Sync>;
