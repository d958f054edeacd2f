//! The judge as a reward source. It asks every prompt about every turn concurrently; a question
//! that fails abstains under the name of its prompt.

mod asked_rubrics;
pub(crate) mod group;
pub(crate) mod outcome;
mod own_rubric;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use guerdon_fusion::{Ask, GroupSource, RewardSource, SourceVersion, WorstVerdict};
use guerdon_queue::Flow;
use guerdon_types::{
    AbstainWhy, Abstention, Finite, Part, ROLLOUT_RUBRIC, Rollout, Signal, SourceId, SourceKind,
    Usage,
};
use tokio::time::Instant;

use crate::ask::answer::{Failure, Outcome};
use crate::ask::case::{Case, RenderedDialogue};
use crate::ask::key::LAYOUT;
use crate::ask::nonce::Nonce;
use crate::ask::question::JudgeQuestion;
use crate::ask::reply::CriterionFinding;
use crate::ask::verdict::{self, Ballot, Pooling, RubricVerdict};
use crate::endpoint::{Asker, Endpoint};
use crate::quality::drift::{DriftMonitor, DriftReport};
use crate::quality::position::PositionMonitor;
use crate::rubric::prompts::Prompts;
use crate::rubric::request::RequestRubrics;
use crate::rubric::{Criterion, CriterionKind, Rubric, Scoring};
use crate::source::asked_rubrics::{AskedPrompt, AskedRubrics, OwnRubric};
use crate::source::outcome::{RubricOutcome, abstention, joint_signal};

/// A set of prompts asked of one judge, or of a panel of them.
#[derive(Debug)]
pub struct JudgeSource {
    id: SourceId,
    /// At least one.
    judges: Vec<Arc<Endpoint>>,
    pooling: Pooling,
    prompts: Arc<Prompts>,
    flow: Flow,
    nonce: Nonce,
    drift: DriftMonitor,
    position: PositionMonitor,
    /// Turns that judges were asked about, since they were last counted.
    asked_turns: AtomicU64,
    /// Set if rubrics of rollouts are asked.
    request_rubrics: Option<RequestRubrics>,
    /// Share of the criteria that are not asked about the samples of a group.
    dropout: Option<f64>,
}

/// A question that is put to a judge, as a part of a ballot.
pub(crate) struct BallotQuestion<'a> {
    pub(crate) judge: &'a Endpoint,
    pub(crate) question: JudgeQuestion<'a>,
    ballot: usize,
}

impl JudgeSource {
    /// Asks `prompts` of `endpoint`.
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>, prompts: Arc<Prompts>) -> Self {
        Self {
            id: SourceId::judge(),
            judges: vec![endpoint],
            pooling: Pooling::default(),
            prompts,
            flow: Flow::new("", 1),
            nonce: Nonce::random(),
            drift: DriftMonitor::default(),
            position: PositionMonitor::default(),
            asked_turns: AtomicU64::new(0),
            request_rubrics: None,
            dropout: None,
        }
    }

    /// Has the name `id`. Default: `judge`.
    #[must_use]
    pub fn named(self, id: SourceId) -> Self {
        Self { id, ..self }
    }

    /// Asks `more` judges, too, and pools what all of them say.
    #[must_use]
    pub fn with_panel(
        mut self,
        more: impl IntoIterator<Item = Arc<Endpoint>>,
        pooling: Pooling,
    ) -> Self {
        self.judges.extend(more);
        Self { pooling, ..self }
    }

    /// Queues as `name`. Sources with different names share an endpoint by weight, and so do the
    /// clients of one name. The questions of one client are served in order. Default: no name and a
    /// weight of 1.
    #[must_use]
    pub fn with_share(self, name: &str, weight: NonZeroU32) -> Self {
        Self { flow: Flow::new(name, weight.get()), ..self }
    }

    /// The bound of the fusion, to see how often the judge alone reaches it.
    #[must_use]
    pub fn with_bound(self, bound: Finite) -> Self {
        Self { drift: DriftMonitor::within(bound.get()), ..self }
    }

    /// Asks the rubrics that come with rollouts, too. Default: they are not asked.
    #[must_use]
    pub fn with_request_rubrics(self, rubrics: RequestRubrics) -> Self {
        Self { request_rubrics: Some(rubrics), ..self }
    }

    /// Leaves out a share of the criteria about the samples of a group, drawn by the group and the
    /// step. Default: every criterion is asked.
    #[must_use]
    pub fn with_dropout(self, share: f64) -> Self {
        Self { dropout: (share > 0.0).then_some(share), ..self }
    }

    /// Statistics of the points since the last call.
    pub fn drift(&self) -> DriftReport {
        self.drift.take_report()
    }

    /// Position bias of listwise prompts since the last call: the mean difference in points between
    /// the last place and the first place of a list. `None` if no group was judged.
    pub fn take_position_bias(&self) -> Option<f64> {
        self.position.take()
    }

    /// The number of turns that judges were asked about since the last call.
    pub fn take_asked_turns(&self) -> u64 {
        self.asked_turns.swap(0, Ordering::Relaxed)
    }

    /// The judges that are asked: the first, then the others of a panel.
    #[must_use]
    pub fn judges(&self) -> &[Arc<Endpoint>] {
        &self.judges
    }

    pub(crate) fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    pub(crate) const fn flow(&self) -> &Flow {
        &self.flow
    }

    pub(crate) const fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    pub(crate) async fn turn(
        &self,
        ask: Ask<'_>,
        asked: &AskedRubrics<'_>,
        dialogue: &RenderedDialogue,
        index: usize,
    ) -> Signal {
        let Some(case) = Case::new(dialogue, ask.rollout, index, &self.nonce) else {
            let detail = format!("turn {index} is not in the dialogue");
            return Signal::abstained(abstention(AbstainWhy::Internal, detail));
        };
        let AskedRubrics { prompts, own, .. } = asked;
        let rubrics = self.asked_prompts(own);
        if rubrics.is_empty() && matches!(own, OwnRubric::None) {
            return Signal::abstained(match self.request_rubrics {
                Some(_) => abstention(
                    AbstainWhy::MissingContext,
                    "the rollout has no `rubric`, and no judge prompt is configured",
                ),
                None => abstention(AbstainWhy::Internal, "no judge prompt is configured"),
            });
        }
        let flow = Flow { client: ask.client, ..self.flow.clone() };
        let asker = Asker::new(ask.deadline.map(Instant::from_std), flow);
        let is_asked = |id: &str| ask.prompts.is_none_or(|prompts| prompts.contains(id));
        let own_outcome = async {
            match own.asked().filter(|_| is_asked(ROLLOUT_RUBRIC)) {
                Some(own) => Some(self.judged_own(own, &case, &asker).await),
                None => None,
            }
        };
        let judged = if case.is_silent() {
            let prompts = (!rubrics.is_empty()).then(|| verdict::joint_silence_verdict(rubrics));
            let mut judged: Vec<RubricOutcome> =
                prompts.into_iter().map(RubricOutcome::without_call).collect();
            judged.extend(own_outcome.await);
            judged
        } else {
            self.asked_turns.fetch_add(1, Ordering::Relaxed);
            let prompts = prompts.iter().filter(|one| is_asked(&one.rubric.id));
            let prompts = join_all(prompts.map(|one| self.judged(one, &case, &asker, 0)));
            let (mut judged, own) = futures_util::future::join(prompts, own_outcome).await;
            judged.extend(own);
            judged
        };
        let mut signal = joint_signal(judged, || self.models());
        if let Some(Part::Judge(part)) = &mut signal.part {
            part.asked = asked.criteria(is_asked);
        }
        // A part of the rubrics has other points than all of them.
        if ask.prompts.is_none() {
            self.drift.observe(&case.turn, &signal);
        }
        signal
    }

    /// The verdict of `rubric` about the last message of `rollout`, asked afresh.
    pub(crate) async fn probed(
        &self,
        rubric: &Arc<Rubric>,
        rollout: &Rollout,
        round: u32,
    ) -> Result<RubricVerdict, Abstention> {
        let dialogue = RenderedDialogue::new(&rollout.messages);
        let last = rollout.messages.len().saturating_sub(1);
        let Some(case) = Case::new(&dialogue, rollout, last, &self.nonce) else {
            return Err(abstention(AbstainWhy::Internal, "a probe has a turn"));
        };
        let asker = Asker::new(None, Flow::new("probe", 1));
        let round = round.saturating_mul(rubric.samples).saturating_add(1 << 16);
        let orders = Cow::Borrowed(rubric.orders.as_slice());
        self.judged(&AskedPrompt { rubric, orders }, &case, &asker, round).await.verdict
    }

    /// The findings of the first judge about `case`; `None` if it does not answer. `repeat` asks
    /// afresh, `reversed` asks in the opposite order.
    pub(crate) async fn findings(
        &self,
        rubric: &Arc<Rubric>,
        case: &Case<'_>,
        repeat: u32,
        reversed: bool,
    ) -> Option<Vec<CriterionFinding>> {
        let judge = self.judges.first()?;
        let asker = Asker::new(None, Flow::new("calibrate", 1));
        let mut order: Vec<usize> = (0..rubric.criteria.len()).collect();
        if reversed {
            order.reverse();
        }
        let sample = repeat.saturating_mul(rubric.samples);
        let asked = rubric.calls(&order).map(|order| {
            let question = JudgeQuestion { rubric, order, sample, case };
            judge.ask(question, &asker)
        });
        let mut findings = Vec::new();
        for asked in join_all(asked).await {
            findings.extend(asked.result.ok()?.findings.iter().cloned());
        }
        Some(findings)
    }

    /// Asks a prompt about `case`. `round` is added to the number of each sample, so that a probe
    /// is asked afresh.
    async fn judged(
        &self,
        AskedPrompt { rubric, orders }: &AskedPrompt<'_>,
        case: &Case<'_>,
        asker: &Asker,
        round: u32,
    ) -> RubricOutcome {
        if case.is_silent() {
            return RubricOutcome::without_call(verdict::silence_verdict(rubric));
        }
        let questions = self.questions(rubric, orders, case, round);
        let outcomes = self.asked(&questions, asker).await;
        self.counted(rubric, case, questions.iter().zip(outcomes))
    }

    /// Asks `questions`. Returns their outcomes in the same order.
    pub(crate) async fn asked(
        &self,
        questions: &[BallotQuestion<'_>],
        asker: &Asker,
    ) -> Vec<Outcome> {
        // Nearly all are known, and then there is nothing to wait for.
        let mut asked = Vec::with_capacity(questions.len());
        let mut unknown = Vec::new();
        for (index, BallotQuestion { judge, question, .. }) in questions.iter().enumerate() {
            let known = judge.lookup(*question).await;
            unknown.extend(known.as_ref().err().map(|key| (index, *key)));
            asked.push(known.ok());
        }
        if !unknown.is_empty() {
            let bought = unknown.into_iter().filter_map(|(index, key)| {
                let BallotQuestion { judge, question, .. } = questions.get(index)?;
                Some(async move { (index, judge.fetch(key, *question, asker).await) })
            });
            // Boxed: it is large, and seldom there.
            for (index, bought) in Box::pin(join_all(bought)).await {
                if let Some(asked) = asked.get_mut(index) {
                    *asked = Some(bought);
                }
            }
        }
        asked.into_iter().flatten().collect()
    }

    /// The questions to all judges: for each sample one about all criteria in their order, or one
    /// about each.
    pub(crate) fn questions<'a>(
        &'a self,
        rubric: &'a Arc<Rubric>,
        orders: &'a [Vec<usize>],
        case: &'a Case<'a>,
        round: u32,
    ) -> Vec<BallotQuestion<'a>> {
        let mut questions = Vec::with_capacity(self.judges.len());
        let mut ballot = 0;
        for judge in &self.judges {
            for (number, order) in (0..).zip(orders) {
                let sample = round.saturating_add(number);
                let question = |order| JudgeQuestion { rubric, order, sample, case };
                let put = |order| BallotQuestion {
                    judge: judge.as_ref(),
                    question: question(order),
                    ballot,
                };
                questions.extend(rubric.calls(order).map(put));
                ballot += 1;
            }
        }
        questions
    }

    /// Counts the ballots about a prompt.
    pub(crate) fn counted<'a>(
        &self,
        rubric: &Rubric,
        case: &Case<'_>,
        asked: impl Iterator<Item = (&'a BallotQuestion<'a>, Outcome)>,
    ) -> RubricOutcome {
        // Samples of letters stand in for their probabilities: their mean is the expectation.
        let sampled = rubric.scoring == Scoring::Expected && !rubric.answer.is_schema();
        let is_mean = sampled && self.judges.len() == 1;
        let pooling = if is_mean { Pooling::Mean } else { self.pooling };
        self.counted_by(rubric, asked, |ballots| {
            Ok(verdict::weigh(rubric, ballots, pooling, &case.turn))
        })
    }

    /// Counts the ballots with the points of `weigh`, which returns the reason if there are none.
    pub(super) fn counted_by<'a>(
        &self,
        rubric: &Rubric,
        asked: impl Iterator<Item = (&'a BallotQuestion<'a>, Outcome)>,
        weigh: impl FnOnce(&[Ballot<'_>]) -> Result<RubricVerdict, String>,
    ) -> RubricOutcome {
        let mut usage = Usage::default();
        let mut cached: Option<bool> = None;
        let mut answers = Vec::new();
        let mut failures: Vec<Failure> = Vec::new();
        let mut asked_places = BTreeSet::new();
        for (put, one) in asked {
            asked_places.extend(put.question.order.iter().copied());
            usage.add(&one.usage);
            cached = Some(cached.unwrap_or(true) && one.cached);
            match one.result {
                Ok(answer) => answers.push((put.ballot, answer)),
                Err(failure) => failures.push(failure),
            }
        }
        let mut ballots: Vec<Ballot<'_>> =
            vec![Ballot::new(); self.judges.len() * rubric.orders.len()];
        for (number, answer) in &answers {
            if let Some(ballot) = ballots.get_mut(*number) {
                ballot.extend(&answer.findings);
            }
        }
        let why = |failure: &Failure, what: &dyn std::fmt::Display| {
            let detail = format!("prompt `{}`{what}: {}", rubric.id, failure.detail);
            abstention(failure.why, detail).because(failure.reason).about(&rubric.id)
        };
        let unjudged = |criterion: &&Criterion| {
            let says = |ballot: &&Ballot<'_>| verdict::finding(ballot, criterion).is_some();
            let answered = ballots.iter().filter(says).count();
            answered == 0 || answered * 2 < ballots.len()
        };
        // Who answers, answers about everything that was asked.
        let unjudged: Vec<&Criterion> = asked_places
            .iter()
            .filter_map(|place| rubric.criteria.get(*place))
            .filter(|_| !failures.is_empty())
            .filter(unjudged)
            .collect();
        if let (true, Some(first)) = (unjudged.len() == asked_places.len(), failures.first()) {
            let verdict = Err(why(first, &""));
            return RubricOutcome {
                prompt: Some(rubric.id.clone()),
                verdict,
                missing: Vec::new(),
                usage,
                cached: Some(false),
                model: None,
            };
        }
        let missing = unjudged.iter().zip(failures.first().into_iter().cycle());
        let missing = missing
            .map(|(criterion, failure)| {
                why(failure, &format_args!(", criterion `{}`", criterion.id))
            })
            .collect();
        let verdict = weigh(&ballots).map_err(|detail| {
            let detail = format!("prompt `{}`: {detail}", rubric.id);
            abstention(AbstainWhy::Malformed, detail).about(&rubric.id)
        });
        let model = answers.first().map(|(_, answer)| answer.model.clone());
        let prompt = Some(rubric.id.clone());
        RubricOutcome { prompt, verdict, missing, usage, cached, model }
    }

    /// The models that are asked.
    pub(crate) fn models(&self) -> String {
        self.judges.iter().map(|judge| judge.model()).collect::<Vec<_>>().join(", ")
    }
}

impl RewardSource for JudgeSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn kind(&self) -> SourceKind {
        SourceKind::Judge
    }

    fn about(&self) -> String {
        let prompts: Vec<&str> =
            self.prompts.rubrics().iter().map(|rubric| rubric.id.as_str()).collect();
        let judge = |judge: &Arc<Endpoint>| {
            // A query may hold a key.
            let url = judge.url().split('?').next().unwrap_or_default();
            format!("{} at {url}", judge.model())
        };
        let judges: Vec<String> = self.judges.iter().map(judge).collect();
        format!("{} judges {}", judges.join(" and "), prompts.join(", "))
    }

    fn version(&self) -> SourceVersion {
        let mut texts = self.prompts.versions();
        if self.takes_rubrics() {
            texts.insert(ROLLOUT_RUBRIC.to_owned(), RequestRubrics::version());
        }
        SourceVersion::Texts(texts)
    }

    fn takes_rubrics(&self) -> bool {
        self.request_rubrics.is_some() && self.group().is_none()
    }

    fn identity(&self) -> serde_json::Value {
        let judges: Vec<_> = self.judges.iter().map(|judge| judge.shape()).collect();
        let mut identity = serde_json::json!({
            "layout": LAYOUT,
            "texts": self.prompts.versions(),
            "judges": judges,
            "pooling": self.pooling,
        });
        // A source without them keeps the identity that it had before there were any.
        if let Some(rubrics) = self.request_rubrics.as_ref().filter(|_| self.takes_rubrics()) {
            identity["rubrics"] = rubrics.identity();
        }
        if let Some(share) = self.dropout {
            identity["dropout"] = share.into();
        }
        identity
    }

    fn worst(&self, prompt: Option<&str>) -> Option<WorstVerdict> {
        let rubrics = self.prompts.rubrics().iter();
        let rubrics = rubrics.filter(|rubric| prompt.is_none_or(|prompt| rubric.id == prompt));
        let criteria: Vec<&Criterion> = rubrics.flat_map(|rubric| &rubric.criteria).collect();
        let levels = || criteria.iter().filter_map(|one| Some((one.kind, one.worst()?)));
        let points =
            Finite::new(levels().fold(0.0, |sum, (_, level)| sum + level.points.get())).ok()?;
        let veto = levels().any(|(kind, level)| kind == CriterionKind::Veto && level.is_fault());
        (!criteria.is_empty()).then_some(WorstVerdict { points, veto })
    }

    fn group(&self) -> Option<&dyn GroupSource> {
        let judges_groups = self.prompts.rubrics().iter().any(|one| one.compares());
        judges_groups.then_some(self as &dyn GroupSource)
    }

    fn full_for(&self) -> Option<Duration> {
        self.full_for_client(0)
    }

    fn full_for_client(&self, client: u64) -> Option<Duration> {
        self.judges.iter().filter_map(|judge| judge.full_for(client)).max()
    }

    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        async move {
            let shown = ask.turns.last().map_or(0, |last| last + 1);
            let dialogue =
                RenderedDialogue::new(ask.rollout.messages.get(..shown).unwrap_or_default());
            let asked = self.asked_rubrics(&ask);
            join_all(ask.turns.iter().map(|index| self.turn(ask, &asked, &dialogue, *index))).await
        }
        .boxed()
    }
}
