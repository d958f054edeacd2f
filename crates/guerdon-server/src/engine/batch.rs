//! One request's rollouts, scored concurrently on one snapshot. Results are yielded as they become
//! final; dropping the stream cancels the rest.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use guerdon_fusion::Scorer;
use guerdon_ledger::{Labels, LedgerWriter};
use guerdon_types::{
    IncomingRequest, IncomparableGroup, Invalid, Limits, Problem, ProblemCode, ProfileName,
    RequestId, Rollout, RolloutEntry, RolloutResult, ScoreRequest, Usage, Versions,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{Instrument as _, Span};

use crate::engine::advantages::GroupBuffer;
use crate::engine::cohorts::{CohortAccess, Cohorts, PlaceRelease};
use crate::engine::group_report::GroupReport;
use crate::engine::recording::Recording;
use crate::engine::request_profiles::{ProfileInUse, RequestProfiles};
use crate::engine::results::{PendingResults, RequestInHand, RolloutAnswer, trace_result};
use crate::engine::scored_rollout::ScoredRollout;
use crate::engine::snapshot::{Snapshot, check_digest};
use crate::observe::metrics::Metrics;

/// Rollouts per task: few enough to spread the rules over the cores.
const ROLLOUTS_PER_TASK: usize = 32;

/// The size in bytes above which a request is large. Sources do not distinguish larger requests.
const LARGE_REQUEST: usize = 1 << 20;

/// A checked request, bound to the snapshot it will be scored on.
#[derive(Debug)]
pub struct Batch {
    profiles: Arc<RequestProfiles>,
    entries: Arc<Vec<RolloutEntry>>,
    groups: Option<GroupBuffer>,
    deadline: Option<Instant>,
    limits: Limits,
    metrics: Arc<Metrics>,
    cohorts: CohortAccess,
    recording: Option<Recording>,
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
    /// The cost of each rollout.
    pub costs: Vec<Usage>,
}

/// The parts of a [`Batch`] that do not come from its request.
#[derive(Debug)]
pub(crate) struct BatchContext<'a> {
    /// The snapshot that scores.
    pub(crate) snapshot: &'a Snapshot,
    /// Another generation whose rules are run on the same turns, for comparison. A profile that it
    /// does not have is not compared.
    pub(crate) compared: Option<&'a Snapshot>,
    pub(crate) asker: Asker,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) cohorts: Arc<Cohorts>,
    pub(crate) ledger: Option<LedgerWriter>,
}

/// The caller of a request, and the form of the reply that it reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asker {
    /// The caller: see [`Ask::client`](guerdon_fusion::Ask::client).
    pub(crate) client: u64,
    /// Set if results have the part of every source by name, whatever the profile.
    pub(crate) reports_parts: bool,
    /// The id of the request. Without one, nothing is recorded.
    pub(crate) request_id: Option<RequestId>,
}

impl BatchContext<'_> {
    /// The profile called `name`, or the default one, with the settings of `request`.
    fn profile(
        &self,
        request: &ScoreRequest,
        bytes: usize,
        name: Option<&ProfileName>,
    ) -> Result<ProfileInUse, Invalid> {
        let profile = self.snapshot.profile(name)?;
        let mut scorer = profile
            .scorer
            .narrowed(request.sources.as_deref(), request.fusion.as_ref())?
            .for_client(self.asker.client)
            .of_request(bytes)
            .at_step(request.step);
        if self.asker.reports_parts {
            scorer = scorer.reporting_parts();
        }
        if let Some(other) = self.compared
            && let Some(profile) = other.profiles.get(profile.name.as_str())
        {
            scorer = scorer.compared_with(&profile.scorer, other.generation);
        }
        Ok(ProfileInUse {
            scorer,
            name: profile.name.clone(),
            generation: self.snapshot.generation,
            metrics: Arc::clone(&profile.metrics),
            takes_rubrics: profile.scorer.takes_rubrics(),
        })
    }
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
        let limits = context.snapshot.config.limits;
        request.check_count(limits.max_rollouts)?;
        let IncomingRequest { mut entries, settings: request } = request;
        request.check()?;
        let bytes = weight(&entries);
        let open = |name: Option<&ProfileName>| context.profile(&request, bytes, name);
        let profiles = RequestProfiles::open(request.profile.as_ref(), &mut entries, open)?;
        if let Some(expected) = &request.expect {
            let ProfileInUse { scorer, name, .. } = profiles.first();
            check_digest(name.as_str(), scorer.digest(), &expected.digest, "/expect/digest")?;
            context.snapshot.check_listed(expected)?;
        }
        context.snapshot.rubrics.prepare(&mut entries, &profiles);
        let profile = |index| (profiles.number(index), &profiles.of(index).scorer);
        let groups = request
            .advantages
            .as_ref()
            .map(|asked| GroupBuffer::new(asked, &entries, profile))
            .transpose()?;
        let (profiles, entries) = (Arc::new(profiles), Arc::new(entries));
        let cohorts = CohortAccess::new(context.cohorts, context.asker.client);
        let recording = context.ledger.zip(context.asker.request_id).map(|(ledger, id)| {
            let labels = Labels { run: request.run, step: request.step, split: request.split };
            Recording::new(ledger, &id, labels, (Arc::clone(&profiles), Arc::clone(&entries)))
        });
        let allowed = limits.max_deadline_ms.min(request.deadline_ms.unwrap_or(u64::MAX));
        Ok(Self {
            profiles,
            entries,
            groups,
            deadline: Instant::now().checked_add(Duration::from_millis(allowed)),
            limits,
            metrics: context.metrics,
            cohorts,
            recording,
        })
    }

    /// A batch that gives back its place among the requests that are worked on while it only waits
    /// for samples that other requests bring.
    pub(crate) fn while_waiting(self, release: PlaceRelease) -> Self {
        Self { cohorts: self.cohorts.releasing(release), ..self }
    }

    /// The versions behind these rewards, of the request's profile.
    #[must_use]
    pub fn versions(&self) -> Versions {
        self.profiles.first().versions()
    }

    /// The profiles that score the rollouts.
    pub(crate) fn profiles(&self) -> Arc<RequestProfiles> {
        Arc::clone(&self.profiles)
    }

    /// The recording of the results in the ledger, if there is one.
    pub(crate) fn recording(&self) -> Option<Recording> {
        self.recording.clone()
    }

    /// The sources and the fusion that will score, of the request's profile.
    pub(crate) fn scorer(&self) -> &Scorer {
        &self.profiles.first().scorer
    }

    /// The expected wait until every source accepts work again; `None` if all do now.
    #[must_use]
    pub fn full_for(&self) -> Option<Duration> {
        self.profiles.full_for()
    }

    /// The number of results.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether the request has no rollouts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Scores the rollouts. Yields exactly one result for each, in the order they become final.
    pub fn run(self) -> impl Stream<Item = ScoredRollout> + Send + 'static {
        let request = RequestInHand {
            profiles: self.profiles,
            entries: self.entries,
            deadline: self.deadline,
            metrics: self.metrics,
            cohorts: self.cohorts,
        };
        let count = request.entries.len();
        let (send, receive) = mpsc::channel(count.clamp(1, 1_024));
        let mut tasks = JoinSet::new();
        for start in (0..count).step_by(ROLLOUTS_PER_TASK) {
            let share = start..(start + ROLLOUTS_PER_TASK).min(count);
            let task = ScoringTask { request: request.clone(), limits: self.limits };
            // In a JoinSet, so that the tasks end with the stream when the caller hangs up.
            tasks.spawn(task.run(share, send.clone()).in_current_span());
        }
        drop(send);
        let state = PendingResults::new(request, receive, tasks);
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
        GroupReport::new(&self.entries, Arc::clone(&self.profiles))
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
        let (results, costs) =
            results.into_iter().map(|scored| (scored.result, scored.usage)).unzip();
        BatchResults { results, groups: groups.finish(), usage, costs }
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

struct ScoringTask {
    request: RequestInHand,
    limits: Limits,
}

impl ScoringTask {
    async fn run(self, share: Range<usize>, send: mpsc::Sender<RolloutAnswer>) {
        let mut scoring: FuturesUnordered<_> = share.map(|index| self.one(index)).collect();
        while let Some(answered) = scoring.next().await {
            if let RolloutAnswer::Scored(scored) = &answered {
                self.request.record(scored);
            }
            if send.send(answered).await.is_err() {
                return;
            }
        }
    }

    async fn one(&self, index: usize) -> RolloutAnswer {
        let RequestInHand { profiles, entries, deadline, .. } = &self.request;
        let scorer = &profiles.of(index).scorer;
        let died = |id| {
            ScoredRollout::failed(
                index,
                id,
                Problem::new(ProblemCode::Internal, "scoring this rollout failed"),
            )
        };
        let Some(entry) = entries.get(index) else {
            return self.request.refused(died(index.to_string().into()));
        };
        let rollout = match (entry.refusal(index), &entry.rollout) {
            (None, Ok(rollout)) => rollout,
            (Some(result), _) => {
                return self.request.refused(ScoredRollout {
                    index,
                    result,
                    usage: Usage::default(),
                });
            }
            (None, Err(invalid)) => {
                let problem = invalid.clone().into();
                return self.request.refused(ScoredRollout::failed(
                    index,
                    entry.id_or_index(index),
                    problem,
                ));
            }
        };
        if let Some(problem) = too_large(&self.limits, index, rollout) {
            return self.request.refused(ScoredRollout::failed(
                index,
                entry.id_or_index(index),
                problem,
            ));
        }
        let profile = profiles.of(index);
        let span = tracing::debug_span!(
            "rl.reward",
            rl.sample.id = %entry.id_or_index(index),
            rl.group.id = entry.group.as_ref().map(|group| group.as_str()),
            guerdon.profile = profile.name.as_str(),
            guerdon.digest = %profile.scorer.digest(),
            guerdon.generation = profile.generation,
            rl.reward.score = tracing::field::Empty,
            error.type = tracing::field::Empty,
        );
        let scoring = async {
            if scorer.settles_groups() {
                let asked = scorer.ask(index, rollout, *deadline).await;
                return RolloutAnswer::Asked(index, asked, Span::current());
            }
            let (result, usage) = scorer.score(index, rollout, *deadline).await;
            trace_result(&Span::current(), &result);
            RolloutAnswer::Scored(ScoredRollout { index, result, usage })
        };
        match std::panic::AssertUnwindSafe(scoring.instrument(span)).catch_unwind().await {
            Ok(answered) => answered,
            Err(_) => {
                tracing::error!(
                    index,
                    "scoring a rollout panicked; the rest of its batch is scored"
                );
                self.request.refused(died(entry.id_or_index(index)))
            }
        }
    }
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
        .find(|(_, m)| m.longest_text() > limits.max_message_bytes)?;
    let detail = format!(
        "a message of {} bytes exceeds this server's limit of {}",
        longest.1.longest_text(),
        limits.max_message_bytes
    );
    Some(
        Problem::new(ProblemCode::RolloutTooLarge, detail)
            .pointer(format!("/rollouts/{index}/messages/{}/content", longest.0))
            .hint("shorten the message, or raise `limits.max_message_bytes`"),
    )
}
