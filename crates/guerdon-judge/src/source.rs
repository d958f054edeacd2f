//! The judge as a reward source: every prompt about every turn, all at once; what fails abstains by name.

use std::num::NonZeroU32;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use guerdon_fusion::{Ask, Channel, RewardSource, SourceVersion};
use guerdon_types::{AbstainWhy, Abstained, Finite, JudgePart, Part, Rollout, Signal, SourceId, Usage};
use tokio::time::Instant;

use crate::call::Failure;
use crate::drift::{Drift, DriftReport};
use crate::endpoint::{Asker, Endpoint};
use crate::key::Question;
use crate::limit::Flow;
use crate::nonce::Nonce;
use crate::order;
use crate::prompt::{Criterion, Grouping, Prompts, Rubric};
use crate::render::{self, RenderError, Scene};
use crate::verdict::{self, Ballot, Pooling, Verdict};

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
    drift: Drift,
}

/// What came of one prompt about one turn.
struct Judged {
    verdict: Result<Verdict, Abstained>,
    /// What could not be asked beside what was.
    missing: Vec<Abstained>,
    usage: Usage,
    /// Whether the cache knew all of it; nothing if nobody was asked.
    cached: Option<bool>,
    model: Option<String>,
}

/// One turn, as every prompt is asked about it.
#[derive(Clone, Copy)]
struct Scoring<'a> {
    ask: Ask<'a>,
    before: &'a [guerdon_types::Message],
    turn: &'a str,
    asker: &'a Asker,
    /// Added to each sample's number: a probe's round, so that it is asked afresh.
    round: u32,
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
            flow: Flow { name: "".into(), weight: 1 },
            nonce: Nonce::random(),
            drift: Drift::default(),
        }
    }

    /// Asks `more` judges, too, and pools what all of them say.
    #[must_use]
    pub fn with_panel(mut self, more: impl IntoIterator<Item = Arc<Endpoint>>, pooling: Pooling) -> Self {
        self.judges.extend(more);
        Self { pooling, ..self }
    }

    /// Queues as `name`: those who queue under different names share an endpoint by weight, those under the same name are
    /// served in order. Default: no name and a weight of 1.
    #[must_use]
    pub fn with_share(self, name: &str, weight: NonZeroU32) -> Self {
        Self { flow: Flow { name: name.into(), weight: weight.get() }, ..self }
    }

    /// The bound of the fusion, to see how often the judge alone reaches it.
    #[must_use]
    pub fn with_bound(self, bound: Finite) -> Self {
        Self { drift: Drift::within(bound.get()), ..self }
    }

    /// What the points look like since this was last called.
    pub fn drift(&self) -> DriftReport {
        self.drift.look()
    }

    pub(crate) fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    async fn turn(&self, ask: Ask<'_>, index: usize) -> Signal {
        let messages = &ask.rollout.messages;
        let (Some(turn), Some(before)) = (messages.get(index), messages.get(..index)) else {
            let detail = format!("turn {index} is not in the dialogue");
            return Signal::abstained(self.abstained(AbstainWhy::Internal, detail));
        };
        if self.prompts.is_empty() {
            return Signal::abstained(self.abstained(AbstainWhy::Internal, "no judge prompt is configured"));
        }
        let asker = &Asker { deadline: ask.deadline.map(Instant::from_std), flow: self.flow.clone() };
        let scoring = Scoring { ask, before, turn: &turn.content, asker, round: 0 };
        let asked = self.prompts.rubrics().iter().map(|rubric| self.judged(rubric, scoring));
        let signal = self.signal(join_all(asked).await);
        self.drift.saw(&turn.content, &signal);
        signal
    }

    /// What `rubric` says of the last message of `rollout`, asked afresh.
    pub(crate) async fn probed(
        &self,
        rubric: &Arc<Rubric>,
        rollout: &Rollout,
        round: u32,
    ) -> Result<Verdict, Abstained> {
        let Some((turn, before)) = rollout.messages.split_last() else {
            return Err(self.abstained(AbstainWhy::Internal, "a probe has a turn"));
        };
        let asker = &Asker { deadline: None, flow: Flow { name: "probe".into(), weight: 1 } };
        let ask = Ask::new(rollout, &[], None);
        let round = round.saturating_mul(rubric.samples).saturating_add(1 << 16);
        self.judged(rubric, Scoring { ask, before, turn: &turn.content, asker, round }).await.verdict
    }

    /// What the first judge finds about the last message of `rollout`; nothing if it does not answer. `repeat` asks
    /// afresh, `reversed` in the opposite order.
    pub(crate) async fn ballot(
        &self,
        rubric: &Arc<Rubric>,
        rollout: &Rollout,
        repeat: u32,
        reversed: bool,
    ) -> Option<Ballot> {
        let (turn, before) = rollout.messages.split_last()?;
        let asker = &Asker { deadline: None, flow: Flow { name: "calibrate".into(), weight: 1 } };
        let ask = Ask::new(rollout, &[], None);
        let round = repeat.saturating_mul(rubric.samples);
        let scoring = Scoring { ask, before, turn: &turn.content, asker, round };
        let mut order: Vec<usize> = (0..rubric.criteria.len()).collect();
        if reversed {
            order.reverse();
        }
        let questions = self.sample(rubric, scoring, order, round).ok()?;
        let judge = self.judges.first()?;
        let mut ballot = Ballot::new();
        for asked in join_all(questions.iter().map(|question| judge.ask(question, asker))).await {
            let answer = asked.result.ok()?;
            ballot.extend(answer.findings.iter().map(|found| (found.id.clone(), found.clone())));
        }
        Some(ballot)
    }

    async fn judged(&self, rubric: &Arc<Rubric>, scoring: Scoring<'_>) -> Judged {
        let nothing = |verdict| Judged {
            verdict,
            missing: Vec::new(),
            usage: Usage::default(),
            cached: None,
            model: None,
        };
        if verdict::is_silence(scoring.turn) {
            return nothing(Ok(verdict::of_silence(rubric)));
        }
        match self.questions(rubric, scoring) {
            Ok(questions) => self.polled(rubric, &questions, scoring).await,
            Err(error) => {
                let (why, detail) = match error {
                    RenderError::MissingContext(detail) => (AbstainWhy::MissingContext, detail),
                    RenderError::Failed(detail) => (AbstainWhy::Internal, detail),
                };
                nothing(Err(self.abstained(why, detail)))
            }
        }
    }

    /// The questions of each sample.
    fn questions(
        &self,
        rubric: &Arc<Rubric>,
        scoring: Scoring<'_>,
    ) -> Result<Vec<Vec<Question>>, RenderError> {
        let count = rubric.criteria.len();
        let sample = |number: u32| {
            let order = if rubric.shuffle {
                order::shuffled(count, &rubric.hash, number)
            } else {
                (0..count).collect()
            };
            self.sample(rubric, scoring, order, scoring.round.saturating_add(number))
        };
        (0..rubric.samples).map(sample).collect()
    }

    /// The questions of one sample: one about all criteria in their order, or one about each.
    fn sample(
        &self,
        rubric: &Arc<Rubric>,
        scoring: Scoring<'_>,
        order: Vec<usize>,
        sample: u32,
    ) -> Result<Vec<Question>, RenderError> {
        let Scoring { ask, before, turn, asker: _, round: _ } = scoring;
        let tag = self.nonce.tag(turn);
        let question = |order: Vec<usize>| {
            let criteria: Vec<&Criterion> =
                order.iter().filter_map(|index| rubric.criteria.get(*index)).collect();
            let scene = Scene { before, turn, facts: &ask.rollout.context, tag: &tag };
            let messages = render::messages(rubric, &criteria, scene)?;
            Ok(Question { rubric: Arc::clone(rubric), order, messages, tag: tag.clone(), sample })
        };
        match rubric.grouping {
            Grouping::Rubric => Ok(vec![question(order)?]),
            Grouping::Criterion => order.into_iter().map(|one| question(vec![one])).collect(),
        }
    }

    /// Asks all questions of all judges, and counts the ballots.
    async fn polled(&self, rubric: &Rubric, samples: &[Vec<Question>], scoring: Scoring<'_>) -> Judged {
        let ballot = async |judge: &Arc<Endpoint>, questions: &[Question]| {
            join_all(questions.iter().map(|question| judge.ask(question, scoring.asker))).await
        };
        let ballot = &ballot;
        let all =
            self.judges.iter().flat_map(|judge| samples.iter().map(move |sample| ballot(judge, sample)));
        let mut usage = Usage::default();
        let mut cached: Option<bool> = None;
        let mut model = None;
        let mut ballots: Vec<Ballot> = Vec::new();
        let mut failures: Vec<Failure> = Vec::new();
        for asked in join_all(all).await {
            let mut ballot = Ballot::new();
            for one in asked {
                usage.add(&one.usage);
                cached = Some(cached.unwrap_or(true) && one.cached);
                match one.result {
                    Ok(answer) => {
                        model = model.or_else(|| Some(answer.model.clone()));
                        ballot.extend(answer.findings.iter().map(|found| (found.id.clone(), found.clone())));
                    }
                    Err(failure) => failures.push(failure),
                }
            }
            ballots.push(ballot);
        }
        let why = |failure: &Failure| {
            self.abstained(failure.why, format!("prompt `{}`: {}", rubric.id, failure.detail))
        };
        let unjudged = |criterion: &&Criterion| {
            let answered = ballots.iter().filter(|ballot| ballot.contains_key(&criterion.id)).count();
            answered == 0 || answered * 2 < ballots.len()
        };
        let unjudged: Vec<&Criterion> = rubric.criteria.iter().filter(unjudged).collect();
        if let (true, Some(first)) = (unjudged.len() == rubric.criteria.len(), failures.first()) {
            return Judged {
                verdict: Err(why(first)),
                missing: Vec::new(),
                usage,
                cached: Some(false),
                model: None,
            };
        }
        let missing =
            unjudged.iter().zip(failures.first().into_iter().cycle()).map(|(criterion, failure)| {
                let detail =
                    format!("prompt `{}`, criterion `{}`: {}", rubric.id, criterion.id, failure.detail);
                self.abstained(failure.why, detail)
            });
        let missing = missing.collect();
        let verdict = Ok(verdict::weigh(rubric, &ballots, self.pooling, scoring.turn));
        Judged { verdict, missing, usage, cached, model }
    }

    /// One signal of all prompts: the criteria of those that answered, and the names of those that did not.
    fn signal(&self, judged: Vec<Judged>) -> Signal {
        let mut usage = Usage::default();
        let mut abstained = Vec::new();
        let mut criteria = Vec::new();
        let mut points = 0.0;
        let mut answered = false;
        let mut cached: Option<bool> = None;
        let mut model = None;
        for one in judged {
            usage.add(&one.usage);
            abstained.extend(one.missing);
            match one.verdict {
                Ok(verdict) => {
                    answered = true;
                    points += verdict.points();
                    criteria.extend(verdict.criteria);
                    let struck = verdict.struck.into_iter();
                    abstained.extend(struck.map(|detail| self.abstained(AbstainWhy::Malformed, detail)));
                    cached = match (cached, one.cached) {
                        (Some(all), Some(this)) => Some(all && this),
                        (all, this) => all.or(this),
                    };
                    model = model.or(one.model);
                }
                Err(why_not) => abstained.push(why_not),
            }
        }
        let part = match Finite::new(points) {
            Ok(points) if answered => Some(Part::Judge(JudgePart {
                points,
                criteria,
                cached: cached.unwrap_or(false),
                model: model.unwrap_or_else(|| self.models()),
            })),
            Ok(_) => None,
            Err(_) => {
                abstained.push(
                    self.abstained(AbstainWhy::NotFinite, "the sum of the criteria's points is not finite"),
                );
                None
            }
        };
        let mut signals = abstained.into_iter();
        let signal = match part {
            Some(part) => Signal::scored(part),
            // Not answered means that each prompt left its reason, and there is at least one prompt.
            None => Signal::abstained(
                signals
                    .next()
                    .unwrap_or_else(|| self.abstained(AbstainWhy::Internal, "no judge prompt was answered")),
            ),
        };
        signal.and_abstained(signals).with_usage(usage)
    }

    /// The models that are asked.
    pub(crate) fn models(&self) -> String {
        self.judges.iter().map(|judge| judge.model()).collect::<Vec<_>>().join(", ")
    }

    fn abstained(&self, why: AbstainWhy, detail: impl Into<String>) -> Abstained {
        Abstained::new(self.id.clone(), why, detail)
    }
}

impl RewardSource for JudgeSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn channel(&self) -> Channel {
        Channel::Judge
    }

    fn about(&self) -> String {
        let prompts: Vec<&str> = self.prompts.rubrics().iter().map(|rubric| rubric.id.as_str()).collect();
        let judge = |judge: &Arc<Endpoint>| {
            // A query may hold a key.
            let url = judge.url().split('?').next().unwrap_or_default();
            format!("{} at {url}", judge.model())
        };
        let judges: Vec<String> = self.judges.iter().map(judge).collect();
        format!("{} judges {}", judges.join(" and "), prompts.join(", "))
    }

    fn version(&self) -> SourceVersion {
        SourceVersion::Texts(self.prompts.versions())
    }

    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        join_all(ask.turns.iter().map(move |index| self.turn(ask, *index))).boxed()
    }
}
