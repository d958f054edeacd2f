//! The judge as a reward source: every prompt about every turn, all at once; what fails abstains by name.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use guerdon_fusion::{Ask, Channel, RewardSource, SourceVersion};
use guerdon_types::{AbstainWhy, Abstained, Finite, JudgePart, Part, Signal, SourceId, Usage};
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::key::Question;
use crate::prompt::{Prompts, Rubric};
use crate::render::{self, RenderError};
use crate::verdict::{self, Verdict};

/// A set of prompts asked of one endpoint.
#[derive(Debug)]
pub struct JudgeSource {
    id: SourceId,
    endpoint: Arc<Endpoint>,
    prompts: Arc<Prompts>,
}

/// What came of one prompt about one turn.
struct Judged {
    verdict: Result<Verdict, Abstained>,
    usage: Usage,
    /// Whether the cache knew it; nothing if nobody was asked.
    cached: Option<bool>,
    model: Option<String>,
}

impl JudgeSource {
    /// Asks `prompts` of `endpoint`.
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>, prompts: Arc<Prompts>) -> Self {
        Self { id: SourceId::judge(), endpoint, prompts }
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
        let deadline = ask.deadline.map(Instant::from_std);
        let asked = self.prompts.rubrics().iter().map(|rubric| async move {
            if verdict::is_silence(&turn.content) {
                let verdict = verdict::of_silence(rubric);
                return Judged { verdict: Ok(verdict), usage: Usage::default(), cached: None, model: None };
            }
            match render::messages(rubric, before, &turn.content, &ask.rollout.context) {
                Ok(messages) => {
                    let question = Question { rubric: Arc::clone(rubric), messages, sample: 0 };
                    self.judged(&question, &turn.content, deadline).await
                }
                Err(error) => {
                    let (why, detail) = match error {
                        RenderError::MissingContext(detail) => (AbstainWhy::MissingContext, detail),
                        RenderError::Failed(detail) => (AbstainWhy::Internal, detail),
                    };
                    let verdict = Err(self.abstained(why, detail));
                    Judged { verdict, usage: Usage::default(), cached: None, model: None }
                }
            }
        });
        self.signal(join_all(asked).await)
    }

    async fn judged(&self, question: &Question, turn: &str, deadline: Option<Instant>) -> Judged {
        let asked = self.endpoint.ask(question, deadline).await;
        let rubric: &Rubric = &question.rubric;
        match asked.result {
            Ok(answer) => Judged {
                verdict: Ok(verdict::weigh(rubric, &answer.findings, turn)),
                usage: asked.usage,
                cached: Some(asked.cached),
                model: Some(answer.model.clone()),
            },
            Err(failure) => {
                let detail = format!("prompt `{}`: {}", rubric.id, failure.detail);
                let verdict = Err(self.abstained(failure.why, detail));
                Judged { verdict, usage: asked.usage, cached: Some(false), model: None }
            }
        }
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
                model: model.unwrap_or_else(|| self.endpoint.model().to_owned()),
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
        // A query may hold a key.
        let url = self.endpoint.url().split('?').next().unwrap_or_default();
        format!("{} at {url} judges {}", self.endpoint.model(), prompts.join(", "))
    }

    fn version(&self) -> SourceVersion {
        SourceVersion::Texts(self.prompts.versions())
    }

    fn score<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Vec<Signal>> {
        join_all(ask.turns.iter().map(move |index| self.turn(ask, *index))).boxed()
    }
}
