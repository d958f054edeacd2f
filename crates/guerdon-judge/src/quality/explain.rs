//! A verdict with everything that led to it, for authors of prompts: the level of every criterion,
//! including levels without points, and the reason why a level does not count.

use futures_util::future::join_all;
use guerdon_fusion::Ask;
use guerdon_types::{AbstainWhy, Finite, Rollout, Signal};
use serde::Serialize;

use crate::ask::answer::{Failure, JudgeAnswer};
use crate::ask::case::{Case, RenderedDialogue};
use crate::ask::verdict;
use crate::endpoint::Asker;
use crate::rubric::Rubric;
use crate::source::JudgeSource;
use crate::source::outcome::joint_signal;

/// A turn's signal, and the ballots that it was made of.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The signal, as in a reply of the server.
    pub signal: Signal,
    /// One for each prompt, judge and sample. Empty for a turn without text, which no judge sees.
    pub ballots: Vec<ExplainedBallot>,
}

/// One judge's answer to one prompt, or to one criterion of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ExplainedBallot {
    /// The prompt.
    pub prompt: String,
    /// The model that answered, or was asked.
    pub model: String,
    /// The number of the sample.
    pub sample: u32,
    /// Set if the answer came from the cache, so that there is no reply to show.
    pub cached: bool,
    /// The chosen levels, in the order in which they were asked.
    pub criteria: Vec<ExplainedLevel>,
    /// The reason why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abstained: Option<ExplainedAbstention>,
}

/// The level that a judge chose.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ExplainedLevel {
    /// The criterion.
    pub id: String,
    /// The level.
    pub level: String,
    /// The points of the level.
    pub points: Finite,
    /// The judge's quote.
    pub evidence: Option<String>,
    /// The reason why the level does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub struck: Option<&'static str>,
}

/// The reason why there is no answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ExplainedAbstention {
    /// Its class.
    pub why: AbstainWhy,
    /// The details.
    pub detail: String,
}

impl JudgeSource {
    /// Judges message `turn` of `rollout`. `None` if there is no such message.
    pub async fn explain(&self, rollout: &Rollout, turn: usize) -> Option<Explanation> {
        let dialogue = RenderedDialogue::new(rollout.messages.get(..=turn)?);
        let case = Case::new(&dialogue, rollout, turn, self.nonce())?;
        let asker = Asker::new(None, self.flow().clone());
        if case.is_silent() || self.prompts().is_empty() {
            let turns = [turn];
            let ask = Ask::new(rollout, &turns, None);
            let signal = self.turn(ask, &self.asked_rubrics(&ask), &dialogue, turn).await;
            return Some(Explanation { signal, ballots: Vec::new() });
        }
        // A prompt that compares has nothing to say about one reply.
        let rubrics = self.prompts().rubrics().iter().filter(|one| !one.compares());
        let asked = rubrics.map(async |rubric| {
            let questions = self.questions(rubric, &rubric.orders, &case, 0);
            let outcomes = self.asked(&questions, &asker).await;
            let ballots: Vec<ExplainedBallot> = questions
                .iter()
                .zip(&outcomes)
                .map(|(asked, outcome)| ExplainedBallot {
                    sample: asked.question.sample,
                    cached: outcome.cached,
                    ..explained(rubric, asked.judge.model(), &outcome.result, &case)
                })
                .collect();
            (self.counted(rubric, &case, questions.iter().zip(outcomes)), ballots)
        });
        let (judged, ballots): (Vec<_>, Vec<_>) = join_all(asked).await.into_iter().unzip();
        let ballots = ballots.into_iter().flatten().collect();
        Some(Explanation { signal: joint_signal(judged, || self.models()), ballots })
    }
}

fn explained(
    rubric: &Rubric,
    model: &str,
    result: &Result<std::sync::Arc<JudgeAnswer>, Failure>,
    case: &Case<'_>,
) -> ExplainedBallot {
    let mut ballot = ExplainedBallot {
        prompt: rubric.id.clone(),
        model: model.to_owned(),
        sample: 0,
        cached: false,
        criteria: Vec::new(),
        abstained: None,
    };
    match result {
        Ok(answer) => {
            ballot.model.clone_from(&answer.model);
            for finding in &answer.findings {
                let Some(criterion) = rubric.criteria.iter().find(|one| one.id == finding.id)
                else {
                    continue;
                };
                let points = criterion.level(&finding.level).map_or(Finite::ZERO, |one| one.points);
                ballot.criteria.push(ExplainedLevel {
                    id: finding.id.clone(),
                    level: finding.level.clone(),
                    points,
                    evidence: finding.evidence.clone(),
                    struck: verdict::struck(criterion, finding, &case.turn),
                });
            }
        }
        Err(failure) => {
            let detail = failure.detail.clone();
            ballot.abstained = Some(ExplainedAbstention { why: failure.why, detail });
        }
    }
    ballot
}
