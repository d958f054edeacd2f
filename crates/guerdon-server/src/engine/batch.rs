//! One request's rollouts, scored concurrently on one snapshot. Results are yielded as they become
//! final; dropping the stream cancels the rest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use guerdon_fusion::Scorer;
use guerdon_types::{
    IncomingRequest, IncomparableGroup, Invalid, Limits, Problem, ProblemCode, Rollout,
    RolloutEntry, RolloutId, RolloutResult, Usage, Versions,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::engine::advantages::GroupBuffer;
use crate::engine::group_report::GroupReport;
use crate::engine::scored_rollout::ScoredRollout;
use crate::engine::snapshot::Snapshot;
use crate::observe::metrics::Metrics;

/// Rollouts per task: few enough to spread the rules over the cores.
const ROLLOUTS_PER_TASK: usize = 32;

/// The size in bytes above which a request is large. Sources do not distinguish larger requests.
const LARGE_REQUEST: usize = 1 << 20;

/// A checked request, bound to the snapshot it will be scored on.
#[derive(Debug)]
pub struct Batch {
    scorer: Arc<Scorer>,
    entries: Vec<RolloutEntry>,
    groups: Option<GroupBuffer>,
    deadline: Option<Instant>,
    limits: Limits,
    versions: Versions,
    metrics: Arc<Metrics>,
}

/// The results of a whole request, in its order.
#[derive(Debug, Clone)]
pub struct BatchResults {
    /// One for each rollout.
    pub results: Vec<RolloutResult>,
    /// The groups that are not comparable.
    pub groups: Vec<IncomparableGroup>,
    /// The cost.
    pub usage: Usage,
}

/// The parts of a [`Batch`] that do not come from its request.
#[derive(Debug)]
pub(crate) struct BatchContext<'a> {
    /// The snapshot that scores.
    pub(crate) snapshot: &'a Snapshot,
    /// Another generation whose rules are run on the same turns, for comparison. A profile that it
    /// does not have is not compared.
    pub(crate) compared: Option<&'a Snapshot>,
    /// The caller: see [`Ask::client`](guerdon_fusion::Ask::client).
    pub(crate) client: u64,
    pub(crate) metrics: Arc<Metrics>,
}

impl Batch {
    /// Checks `request` against the snapshot.
    ///
    /// # Errors
    /// [`Invalid`] if the request as a whole cannot be served: it is too large, names an unknown
    /// profile or source, asks for a fusion that its sources do not allow, or expects another
    /// configuration.
    pub(crate) fn open(
        context: BatchContext<'_>,
        request: IncomingRequest,
    ) -> Result<Self, Invalid> {
        let BatchContext { snapshot, compared, client, metrics } = context;
        let limits = snapshot.config.limits;
        request.check_count(limits.max_rollouts)?;
        let IncomingRequest { entries, settings: request } = request;
        request.check()?;
        let profile = snapshot.profile(request.profile.as_ref())?;
        if let Some(expected) = &request.expect {
            profile.check_digest(&expected.digest)?;
        }
        let mut scorer = profile
            .scorer
            .narrowed(request.sources.as_deref(), request.fusion.as_ref())?
            .for_client(client)
            .of_request(weight(&entries));
        if let Some(other) = compared
            && let Some(profile) = other.profiles.get(profile.name.as_str())
        {
            scorer = scorer.compared_with(&profile.scorer, other.generation);
        }
        let groups = request
            .advantages
            .as_ref()
            .map(|asked| GroupBuffer::new(asked, &entries))
            .transpose()?;
        let allowed = limits.max_deadline_ms.min(request.deadline_ms.unwrap_or(u64::MAX));
        Ok(Self {
            versions: scorer.versions(profile.name.clone(), snapshot.generation),
            scorer: Arc::new(scorer),
            entries,
            groups,
            deadline: Instant::now().checked_add(Duration::from_millis(allowed)),
            limits,
            metrics,
        })
    }

    /// The versions behind these rewards.
    #[must_use]
    pub const fn versions(&self) -> &Versions {
        &self.versions
    }

    /// The sources and the fusion that will score.
    pub(crate) fn scorer(&self) -> &Scorer {
        &self.scorer
    }

    /// The expected wait until every source accepts work again; `None` if all do now.
    #[must_use]
    pub fn full_for(&self) -> Option<Duration> {
        self.scorer.full_for()
    }

    /// The number of results.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether the request has no rollouts.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Scores the rollouts. Yields exactly one result for each, in the order they become final.
    pub fn run(self) -> impl Stream<Item = ScoredRollout> + Send + 'static {
        let missing = self
            .entries
            .iter()
            .enumerate()
            .map(|(index, entry)| (index, entry.id_or_index(index)))
            .collect();
        let (send, receive) = mpsc::channel(self.entries.len().clamp(1, 1_024));
        let mut tasks = JoinSet::new();
        let mut rest: VecDeque<(usize, RolloutEntry)> =
            self.entries.into_iter().enumerate().collect();
        while !rest.is_empty() {
            let share: Vec<_> = rest.drain(..rest.len().min(ROLLOUTS_PER_TASK)).collect();
            let task = ScoringTask {
                scorer: Arc::clone(&self.scorer),
                deadline: self.deadline,
                limits: self.limits,
                profile: self.versions.profile.to_string(),
                metrics: Arc::clone(&self.metrics),
            };
            // In a JoinSet, so that the tasks end with the stream when the caller hangs up.
            tasks.spawn(task.run(share, send.clone()).in_current_span());
        }
        drop(send);
        let state = PendingResults { receive, _tasks: tasks, missing };
        let results = stream::unfold(state, async |mut state| {
            state.next().await.map(|scored| (scored, state))
        });
        let mut groups = self.groups;
        results.flat_map(move |scored| {
            stream::iter(match &mut groups {
                None => vec![scored],
                Some(groups) => groups.push(scored),
            })
        })
    }

    /// A comparison of the groups, to which the caller adds the results of [`Self::run`].
    #[must_use]
    pub fn group_report(&self) -> GroupReport {
        GroupReport::new(&self.entries)
    }

    /// Scores the rollouts. Results are in the request's order.
    pub async fn collect(self) -> BatchResults {
        let (mut usage, mut groups) = (Usage::default(), self.group_report());
        let mut results: Vec<ScoredRollout> = self.run().collect().await;
        results.sort_unstable_by_key(|scored| scored.index);
        for scored in &results {
            usage.add(&scored.usage);
            groups.add(scored);
        }
        let results = results.into_iter().map(|scored| scored.result).collect();
        BatchResults { results, groups: groups.finish(), usage }
    }
}

/// The approximate size of all valid rollouts, in bytes. Counting ends above [`LARGE_REQUEST`].
fn weight(entries: &[RolloutEntry]) -> usize {
    let mut bytes: usize = 0;
    for rollout in entries.iter().filter_map(|entry| entry.rollout.as_ref().ok()) {
        bytes = bytes.saturating_add(rollout.weight(rollout.messages.len()));
        if bytes > LARGE_REQUEST {
            break;
        }
    }
    bytes
}

/// The channel of results, and the rollouts whose result is missing.
struct PendingResults {
    receive: mpsc::Receiver<ScoredRollout>,
    _tasks: JoinSet<()>,
    missing: BTreeMap<usize, RolloutId>,
}

impl PendingResults {
    /// The next result. If a task died, each of its rollouts gets a result with an `internal`
    /// error.
    async fn next(&mut self) -> Option<ScoredRollout> {
        if let Some(scored) = self.receive.recv().await {
            self.missing.remove(&scored.index);
            return Some(scored);
        }
        let (index, id) = self.missing.pop_first()?;
        Some(failed(index, id, Problem::new(ProblemCode::Internal, "scoring this rollout failed")))
    }
}

struct ScoringTask {
    scorer: Arc<Scorer>,
    deadline: Option<Instant>,
    limits: Limits,
    profile: String,
    metrics: Arc<Metrics>,
}

impl ScoringTask {
    async fn run(self, share: Vec<(usize, RolloutEntry)>, send: mpsc::Sender<ScoredRollout>) {
        let mut scoring: FuturesUnordered<_> =
            share.iter().map(|(index, entry)| self.one(*index, entry)).collect();
        while let Some(scored) = scoring.next().await {
            self.metrics.rollout(&self.profile, scored.result.reward.is_some());
            for turn in &scored.result.turns {
                if let Some(compared) = &turn.beside {
                    self.metrics.compared_turn(compared.reward != turn.reward);
                }
            }
            if send.send(scored).await.is_err() {
                return;
            }
        }
    }

    async fn one(&self, index: usize, entry: &RolloutEntry) -> ScoredRollout {
        let rollout = match (entry.refusal(index), &entry.rollout) {
            (None, Ok(rollout)) => rollout,
            (Some(result), _) => return ScoredRollout { index, result, usage: Usage::default() },
            (None, Err(invalid)) => {
                return failed(index, entry.id_or_index(index), invalid.clone().into());
            }
        };
        if let Some(problem) = too_large(&self.limits, index, rollout) {
            return failed(index, entry.id_or_index(index), problem);
        }
        let scoring =
            std::panic::AssertUnwindSafe(self.scorer.score(index, rollout, self.deadline));
        match scoring.catch_unwind().await {
            Ok((result, usage)) => ScoredRollout { index, result, usage },
            Err(_) => {
                tracing::error!(
                    index,
                    "scoring a rollout panicked; the rest of its batch is scored"
                );
                failed(
                    index,
                    entry.id_or_index(index),
                    Problem::new(ProblemCode::Internal, "scoring this rollout failed"),
                )
            }
        }
    }
}

fn failed(index: usize, id: RolloutId, problem: Problem) -> ScoredRollout {
    let result = RolloutResult {
        id,
        reward: None,
        advantage: None,
        turns: Vec::new(),
        error: Some(problem),
    };
    ScoredRollout { index, result, usage: Usage::default() }
}

/// The problem of a rollout beyond a limit; the rest of its batch is scored.
pub(crate) fn too_large(limits: &Limits, index: usize, rollout: &Rollout) -> Option<Problem> {
    if rollout.messages.len() > limits.max_messages {
        let detail = format!(
            "{} messages exceed this server's limit of {}",
            rollout.messages.len(),
            limits.max_messages
        );
        return Some(
            Problem::new(ProblemCode::RolloutTooLarge, detail)
                .pointer(format!("/rollouts/{index}/messages"))
                .hint("shorten the dialogue, or raise `limits.max_messages`"),
        );
    }
    let longest = rollout
        .messages
        .iter()
        .enumerate()
        .find(|(_, m)| m.content.len() > limits.max_message_bytes)?;
    let detail = format!(
        "a message of {} bytes exceeds this server's limit of {}",
        longest.1.content.len(),
        limits.max_message_bytes
    );
    Some(
        Problem::new(ProblemCode::RolloutTooLarge, detail)
            .pointer(format!("/rollouts/{index}/messages/{}/content", longest.0))
            .hint("shorten the message, or raise `limits.max_message_bytes`"),
    )
}
