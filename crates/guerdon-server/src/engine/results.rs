//! The results of a request's rollouts as they become final. With `on_abstain` by cause, those of a
//! group are settled together: a rollout waits for its own group, and for no other.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use guerdon_fusion::AskedRollout;
use guerdon_types::{Problem, ProblemCode, RolloutEntry, RolloutId, RolloutResult, Usage};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{Instrument as _, Span};

use crate::engine::cohorts::{CohortAccess, CohortMember};
use crate::engine::group_sets::GroupSets;
use crate::engine::request_profiles::RequestProfiles;
use crate::engine::scored_rollout::ScoredRollout;
use crate::observe::metrics::Metrics;
use crate::observe::traces::EVALUATION;

/// A rollout whose sources have answered.
#[derive(Debug)]
pub(crate) enum RolloutAnswer {
    /// With its result.
    Scored(ScoredRollout),
    /// Without a result yet, which its group decides; with the span of its scoring, which gets it.
    Asked(usize, AskedRollout, Span),
}

/// The parts of a request that its results need.
#[derive(Debug, Clone)]
pub(crate) struct RequestInHand {
    pub(crate) profiles: Arc<RequestProfiles>,
    pub(crate) entries: Arc<Vec<RolloutEntry>>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) cohorts: CohortAccess,
}

/// The channel of answers, and the rollouts whose result is missing.
pub(crate) struct PendingResults {
    request: RequestInHand,
    answers: mpsc::Receiver<RolloutAnswer>,
    /// Ends with the stream when the caller hangs up.
    _tasks: JoinSet<()>,
    groups: GroupSets<(usize, AskedRollout)>,
    /// Groups about which the sources are asked once more.
    settling: JoinSet<Vec<ScoredRollout>>,
    ready: VecDeque<ScoredRollout>,
    /// The spans of rollouts that wait for their group.
    spans: HashMap<usize, Span>,
    /// Rollouts whose sources have not answered.
    unasked: BTreeSet<usize>,
    /// Rollouts without a result.
    missing: BTreeMap<usize, RolloutId>,
    is_open: bool,
}

impl PendingResults {
    pub(crate) fn new(
        request: RequestInHand,
        answers: mpsc::Receiver<RolloutAnswer>,
        tasks: JoinSet<()>,
    ) -> Self {
        let entries = &request.entries;
        let ids = entries.iter().enumerate();
        let missing = ids.map(|(index, entry)| (index, entry.id_or_index(index))).collect();
        Self {
            groups: GroupSets::new(group_numbers(entries, &request.profiles)),
            unasked: (0..entries.len()).collect(),
            request,
            answers,
            _tasks: tasks,
            settling: JoinSet::new(),
            ready: VecDeque::new(),
            spans: HashMap::new(),
            missing,
            is_open: true,
        }
    }

    /// The next result. If a task died, each of its rollouts gets a result with an `internal`
    /// error.
    pub(crate) async fn next(&mut self) -> Option<ScoredRollout> {
        loop {
            if let Some(scored) = self.ready.pop_front() {
                self.missing.remove(&scored.index);
                if let Some(span) = self.spans.remove(&scored.index) {
                    trace_result(&span, &scored.result);
                }
                return Some(scored);
            }
            tokio::select! {
                biased;
                Some(settled) = self.settling.join_next() => {
                    // The rollouts of a task that died stay missing.
                    self.ready.extend(settled.unwrap_or_default());
                }
                answer = self.answers.recv(), if self.is_open => match answer {
                    Some(RolloutAnswer::Scored(scored)) => self.ready.push_back(scored),
                    Some(RolloutAnswer::Asked(index, asked, span)) => {
                        if !span.is_disabled() {
                            self.spans.insert(index, span);
                        }
                        self.enter(index, asked);
                    }
                    None => self.close(),
                },
                else => {
                    let (index, id) = self.missing.pop_first()?;
                    return Some(ScoredRollout::failed(index, id, died()));
                }
            }
        }
    }

    /// Settles the group of a rollout if it is complete.
    fn enter(&mut self, index: usize, asked: AskedRollout) {
        self.unasked.remove(&index);
        let Some(mut group) = self.groups.push(index, (index, asked)) else { return };
        // The order of arrival is random, and the first failure is named.
        group.sort_unstable_by_key(|(index, _)| *index);
        let RequestInHand { profiles, deadline, .. } = &self.request;
        let scorer = &profiles.of(index).scorer;
        let has_time = deadline.is_none_or(|deadline| Instant::now() < deadline);
        let asks_again =
            || has_time && group.iter().any(|(_, asked)| scorer.wants_second_ask(asked));
        if scorer.asks_groups() || asks_again() {
            let mut request = self.request.clone();
            if !self.unasked.is_empty() {
                request.cohorts = request.cohorts.keeping_place();
            }
            self.settling.spawn(request.ask_together_and_settle(group).in_current_span());
        } else {
            self.ready.extend(self.request.settle(group));
        }
    }

    /// Gives the rollouts of tasks that died an error, so that their siblings wait no longer.
    fn close(&mut self) {
        self.is_open = false;
        if !self.request.profiles.settles_groups() {
            return;
        }
        for index in std::mem::take(&mut self.unasked) {
            if !self.request.profiles.of(index).scorer.settles_groups() {
                continue;
            }
            if let Some(id) = self.missing.get(&index) {
                self.enter(index, AskedRollout::failed(id.clone(), died()));
            }
        }
    }
}

impl RequestInHand {
    /// Asks the sources that compare the rollouts of a group, asks once more about rollouts that
    /// lack something, then settles their group.
    async fn ask_together_and_settle(
        self,
        mut group: Vec<(usize, AskedRollout)>,
    ) -> Vec<ScoredRollout> {
        let request = &self;
        let scorer = |index: usize| &request.profiles.of(index).scorer;
        // The rollouts of a group are of one profile.
        let first = group.first().map_or(0, |(index, _)| *index);
        if scorer(first).asks_groups() {
            let (indices, mut asked): (Vec<usize>, Vec<AskedRollout>) = group.into_iter().unzip();
            let rollout = |index: &usize| self.entries.get(*index)?.rollout.as_ref().ok();
            let rollouts: Vec<_> = indices.iter().map(rollout).collect();
            let members = indices.iter().zip(&asked);
            let members = members.map(|(index, asked)| {
                CohortMember::new(&self.profiles, &self.entries, self.deadline, *index, asked)
            });
            match self.cohorts.joined(members.collect(), self.deadline).await {
                Ok(Some(judged)) => {
                    let judged = asked.into_iter().zip(&judged);
                    asked = judged.map(|(own, judged)| judged.apply(own)).collect();
                }
                Ok(None) => {
                    scorer(first).ask_group(&mut asked, &rollouts, None, self.deadline).await;
                }
                Err(note) => {
                    let note = Some(note.as_str());
                    scorer(first).ask_group(&mut asked, &rollouts, note, self.deadline).await;
                }
            }
            group = indices.into_iter().zip(asked).collect();
        }
        let again =
            group.iter_mut().filter(|(index, asked)| scorer(*index).wants_second_ask(asked));
        let again = again.map(|(index, asked)| async move {
            let entry = request.entries.get(*index).map(|entry| &entry.rollout);
            if let Some(Ok(rollout)) = entry {
                scorer(*index).ask_again(asked, rollout, request.deadline).await;
            }
        });
        join_all(again).await;
        self.settle(group)
    }

    fn settle(&self, group: Vec<(usize, AskedRollout)>) -> Vec<ScoredRollout> {
        let (indices, asked): (Vec<usize>, Vec<AskedRollout>) = group.into_iter().unzip();
        // The rollouts of a group are of one profile.
        let first = indices.first().copied().unwrap_or_default();
        let settled = self.profiles.of(first).scorer.settle(asked);
        for dropped in &settled.dropped {
            self.metrics.rubric_dropped(&dropped.source, dropped.prompt.as_deref());
        }
        let results = indices.into_iter().zip(settled.results);
        let scored = results.map(|(index, (result, usage))| ScoredRollout { index, result, usage });
        scored.inspect(|scored| self.record(scored)).collect()
    }

    /// Counts a result.
    pub(crate) fn record(&self, scored: &ScoredRollout) {
        let profile = self.profiles.of(scored.index);
        profile.metrics.record(&scored.result, profile.scorer.fusion());
        for turn in &scored.result.turns {
            if let Some(compared) = &turn.beside {
                self.metrics.compared_turn(compared.reward != turn.reward);
            }
        }
    }

    /// A rollout of this request that is settled although it cannot be scored.
    pub(crate) fn refused(&self, scored: ScoredRollout) -> RolloutAnswer {
        let ScoredRollout { index, result, usage } = scored;
        match result.error {
            Some(problem)
                if self.profiles.of(index).scorer.settles_groups() && usage == Usage::default() =>
            {
                RolloutAnswer::Asked(index, AskedRollout::failed(result.id, problem), Span::none())
            }
            error => {
                let result = RolloutResult { error, ..result };
                RolloutAnswer::Scored(ScoredRollout { index, result, usage })
            }
        }
    }
}

/// The number of each rollout's group, and attempt at it, within its profile. One without a group is a group of its
/// own.
fn group_numbers(entries: &[RolloutEntry], profiles: &RequestProfiles) -> Vec<usize> {
    let mut numbers = HashMap::new();
    let mut count = 0;
    let mut next = || {
        count += 1;
        count - 1
    };
    let number = |entry| match entry {
        Some(group) => *numbers.entry(group).or_insert_with(&mut next),
        None => next(),
    };
    let entries = entries.iter().enumerate();
    let groups = entries.map(|(index, entry)| Some((profiles.number(index), entry.cohort()?)));
    groups.map(number).collect()
}

/// Notes the reward, or the reason of its absence, in the span of its scoring.
pub(crate) fn trace_result(span: &Span, result: &RolloutResult) {
    if span.is_disabled() {
        return;
    }
    if let Some(reward) = result.reward {
        span.record("rl.reward.score", reward.get());
        let _entered = span.enter();
        tracing::trace!(
            target: EVALUATION,
            { gen_ai.evaluation.name = "reward",
            gen_ai.evaluation.score.value = reward.get() },
            "gen_ai.evaluation.result"
        );
    }
    if let Some(error) = &result.error {
        span.record("error.type", error.code.as_str());
    }
}

fn died() -> Problem {
    Problem::new(ProblemCode::Internal, "scoring this rollout failed")
}
