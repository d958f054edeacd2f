//! The trait of reward sources. Other crates may implement it and pass their sources to a
//! [`Scorer`](crate::Scorer).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use guerdon_types::{Calibration, Finite, Rollout, Signal, SourceId, SourceKind, SourceRole};

use crate::{Ensemble, GroupSource};

/// A rollout and the turns of it that a source scores.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Ask<'a> {
    /// The dialogue and its context.
    pub rollout: &'a Rollout,
    /// Indices of assistant messages, ascending; never empty. A source scores message `turns[k]` by
    /// that message and those before it, never by later ones.
    pub turns: &'a [usize],
    /// Time after which the signals are not needed any more. A source that is not ready by then
    /// abstains on each turn with [`AbstainWhy::Deadline`](guerdon_types::AbstainWhy::Deadline).
    pub deadline: Option<Instant>,
    /// Number of the client: equal for all requests of one client, different for two clients. A
    /// source with a queue serves clients evenly, so that a large batch of one does not delay
    /// another.
    pub client: u64,
    /// Approximate size of the whole request in bytes, as [`Rollout::weight`] counts. A source may
    /// compute a small request on the calling thread, and a large one on threads of its own.
    pub request_bytes: usize,
    /// The step of the training run, if the request names one. A source that asks a random part of
    /// its criteria draws another one for each step.
    pub step: Option<u64>,
    /// The prompts that are asked, by name; `None` for all. A source without prompts ignores it.
    pub prompts: Option<&'a BTreeSet<String>>,
}

impl<'a> Ask<'a> {
    /// A question about `turns` of `rollout`, for client 0.
    #[must_use]
    pub const fn new(rollout: &'a Rollout, turns: &'a [usize], deadline: Option<Instant>) -> Self {
        Self { rollout, turns, deadline, client: 0, request_bytes: 0, step: None, prompts: None }
    }

    /// A copy for `client`.
    #[must_use]
    pub const fn for_client(self, client: u64) -> Self {
        Self { client, ..self }
    }

    /// A copy for a request of `step`.
    #[must_use]
    pub const fn at_step(self, step: Option<u64>) -> Self {
        Self { step, ..self }
    }

    /// A copy for a request of about `request_bytes` bytes.
    #[must_use]
    pub const fn of_request(self, request_bytes: usize) -> Self {
        Self { request_bytes, ..self }
    }
}

/// The worst verdict that a source can give.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorstVerdict {
    /// The points.
    pub points: Finite,
    /// True if it forbids a reward above the floor.
    pub veto: bool,
}

/// The place of a source's number in the fusion: of its role, and for points of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// The primary signal, which the others modulate: a calibrated score. (paper: RM)
    Base,
    /// The judge's points. (paper: RJ)
    Judge,
    /// The rules' points. (paper: RF)
    Rules,
    /// Points of sources of all other kinds.
    Other,
}

impl Channel {
    /// The channel of a source of `kind` in `role`; `None` if its number is not fused.
    #[must_use]
    pub const fn of(kind: SourceKind, role: SourceRole) -> Option<Self> {
        match (role, kind) {
            (SourceRole::Base, _) => Some(Self::Base),
            (SourceRole::Points, SourceKind::Judge) => Some(Self::Judge),
            (SourceRole::Points, SourceKind::Rules) => Some(Self::Rules),
            (SourceRole::Points, _) => Some(Self::Other),
            _ => None,
        }
    }
}

/// The version of a source. Every reply contains it, so that a reward can be explained later.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SourceVersion {
    /// A reward model: the hash of its files, and how its output is calibrated.
    Model {
        /// `sha256:…`
        hash: String,
        /// Calibration of the raw output.
        calibration: Calibration,
    },
    /// Named texts, such as prompts or packs, each with its `sha256:…`.
    Texts(BTreeMap<String, String>),
}

impl From<SourceVersion> for serde_json::Value {
    fn from(version: SourceVersion) -> Self {
        match version {
            SourceVersion::Model { hash, calibration } => {
                serde_json::json!({ "model": hash, "calibration": calibration })
            }
            SourceVersion::Texts(texts) => serde_json::json!({ "texts": texts }),
        }
    }
}

/// A source of reward signals.
///
/// A source is an immutable value: packs, prompts and model are fixed when it is built, and a
/// reload builds a new one. A request that holds a source therefore holds one version of it. State
/// that outlives a reload (a model's device thread, a judge's cache and limits) is shared behind an
/// `Arc` inside.
pub trait RewardSource: fmt::Debug + Send + Sync + 'static {
    /// The name used in configuration, in metric labels and in the reply.
    fn id(&self) -> &SourceId;

    /// The kind of the source. Its default role in the fusion follows from it.
    fn kind(&self) -> SourceKind;

    /// A sentence for people: the model and its device, the endpoint, or the packs.
    fn about(&self) -> String;

    /// The version behind the signals, for the reply.
    fn version(&self) -> SourceVersion;

    /// Everything that shapes this source's numbers, for the digest of a configuration
    /// ([`Scorer::digest`](crate::Scorer::digest)): equal for sources that give equal numbers, on
    /// any machine, and different otherwise. Addresses, secrets and limits of time or load do not
    /// belong to it. Default: the version.
    fn identity(&self) -> serde_json::Value {
        self.version().into()
    }

    /// The expected wait until the source accepts work again; `None` if it does now. The server
    /// refuses requests meanwhile, since their turns would only abstain.
    fn full_for(&self) -> Option<Duration> {
        None
    }

    /// As [`full_for`](Self::full_for), for one client (see [`Ask::client`]). A source that shares
    /// its queue between clients accepts work of a client that has less than its share of it.
    fn full_for_client(&self, client: u64) -> Option<Duration> {
        let _ = client;
        self.full_for()
    }

    /// The worst verdict of a prompt, or of all prompts together; `None` if there is no such thing.
    /// It stands for a missing verdict with `on_abstain = { content = "worst" }`.
    fn worst(&self, prompt: Option<&str>) -> Option<WorstVerdict> {
        let _ = prompt;
        None
    }

    /// The members, if the source is an ensemble: the scorer computes its signals from theirs, and
    /// does not ask it.
    fn ensemble(&self) -> Option<&Ensemble> {
        None
    }

    /// The source as one that compares the samples of a group; `None` if it sees rollouts alone.
    fn group(&self) -> Option<&dyn GroupSource> {
        None
    }

    /// True if the source asks the rubric that comes with a rollout ([`Rollout::rubric`]). A rollout
    /// with a rubric is refused by a server whose profile has no such source.
    fn takes_rubrics(&self) -> bool {
        false
    }

    /// Takes note of the signals that the scorer computed for an ensemble, for example to count its
    /// abstentions. Other sources see their own signals.
    fn combined(&self, signals: &[Signal]) {
        let _ = signals;
    }

    /// One signal per asked turn, in the order of `ask.turns`.
    ///
    /// A failure is a signal that abstains, with the reason, on each turn concerned. The future is
    /// dropped when the caller hangs up; a source then stops cheap work and completes calls that
    /// are already paid for.
    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>>;
}
