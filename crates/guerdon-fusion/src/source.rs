//! What a reward source is. Open on purpose: strangers implement it and hand it to a [`Scorer`](crate::Scorer).

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use guerdon_types::{Calibration, Rollout, Signal, SourceId};

/// One rollout, and which of its turns a source is asked about.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Ask<'a> {
    /// The dialogue and its context.
    pub rollout: &'a Rollout,
    /// Indices of assistant messages, ascending; never empty. A source judges message `turns[k]` by what came before it
    /// and by the message itself, never by what came after.
    pub turns: &'a [usize],
    /// When the answer stops being useful. A source that cannot make it abstains, turn by turn, with
    /// [`AbstainWhy::Deadline`](guerdon_types::AbstainWhy::Deadline).
    pub deadline: Option<Instant>,
    /// Who asks: equal for all requests of one client, different for two clients. A source that makes its askers wait
    /// serves clients evenly, so that one with much to ask does not keep another waiting.
    pub client: u64,
}

impl<'a> Ask<'a> {
    /// Asks about `turns` of `rollout`, for client 0.
    #[must_use]
    pub const fn new(rollout: &'a Rollout, turns: &'a [usize], deadline: Option<Instant>) -> Self {
        Self { rollout, turns, deadline, client: 0 }
    }

    /// The same, for `client`.
    #[must_use]
    pub const fn for_client(self, client: u64) -> Self {
        Self { client, ..self }
    }
}

/// Where a source's number enters the fusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// The primary signal that the others modulate: a calibrated score. (paper: RM)
    Base,
    /// The judge's points. (paper: RJ)
    Judge,
    /// The rules' points. (paper: RF)
    Rules,
    /// Points of a source that guerdon does not ship.
    Other,
}

/// What a source is right now. It goes into every reply, so that a reward can be explained later.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SourceVersion {
    /// A reward model: the hash of its files, and how its output is calibrated.
    Model {
        /// `sha256:…`
        hash: String,
        /// How the raw output becomes the score.
        calibration: Calibration,
    },
    /// Named texts, such as prompts or packs, each with its `sha256:…`.
    Texts(BTreeMap<String, String>),
}

/// A source of reward signals.
///
/// A source is an immutable value: packs, prompts and model are fixed when it is built, and a reload builds a new one.
/// So a request that holds a source holds one version of it, whatever is reloaded meanwhile. What must outlive a reload
/// (a model's device thread, a judge's cache and limits) is shared behind an `Arc` inside.
pub trait RewardSource: fmt::Debug + Send + Sync + 'static {
    /// The name used in configuration, in metric labels and in the reply.
    fn id(&self) -> &SourceId;

    /// Where this source's number enters the fusion.
    fn channel(&self) -> Channel;

    /// What it is, in a sentence for people: the model and its device, the endpoint, the packs.
    fn about(&self) -> String;

    /// What made the signals, for the reply.
    fn version(&self) -> SourceVersion;

    /// If it can take nothing more at the moment: how long that is going to last. Whoever answers for it then refuses new
    /// requests whole, rather than let them in to abstain.
    fn full_for(&self) -> Option<Duration> {
        None
    }

    /// One signal per asked turn, in the order of `ask.turns`.
    ///
    /// There is no error: what fails, abstains, in writing, turn by turn. Dropping the future means that the caller hung
    /// up; a source stops what is cheap to stop and lets finish what is already paid for.
    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>>;
}
