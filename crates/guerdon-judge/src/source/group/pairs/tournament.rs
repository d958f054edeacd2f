//! The tournament of one judge: its questions round by round, and what they compared.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use guerdon_types::{Context, Usage};

use super::schedule::{Pair, Schedule};
use super::strength::Comparison;
use crate::ask::answer::{Failure, Outcome};
use crate::ask::case::Case;
use crate::ask::digest::PartsHasher;
use crate::ask::key::QuestionKey;
use crate::ask::listing::{ListedReply, shown_order};
use crate::ask::nonce::Nonce;
use crate::ask::question::JudgeQuestion;
use crate::ask::reply::CriterionFinding;
use crate::call::token_estimate::text_tokens;
use crate::endpoint::{Asker, Endpoint};
use crate::quality::position::{PlacedPoints, PositionSums};
use crate::rubric::Rubric;
use crate::source::group::shared::SharedPrompt;

/// The orders in which a pair is shown: first the one that is drawn, then its reverse.
const ORDERS: u32 = 2;

/// The most questions of a tournament that wait or are in flight at the same time.
const MOST_IN_FLIGHT: usize = 64;

/// A judge that compares the replies of a group.
#[derive(Clone, Copy)]
pub(super) struct Tournament<'a> {
    pub(super) rubric: &'a Arc<Rubric>,
    pub(super) judge: &'a Endpoint,
    pub(super) shared: &'a SharedPrompt,
    pub(super) facts: &'a Context,
    pub(super) nonce: &'a Nonce,
    pub(super) asker: &'a Asker,
    /// Distinguishes repeated judgements.
    pub(super) round: u32,
}

/// The result of a tournament.
#[derive(Debug, Default)]
pub(super) struct PlayedTournament {
    /// The comparisons by criterion.
    pub(super) compared: Vec<Vec<Comparison>>,
    pub(super) sums: PositionSums,
    pub(super) usage: Usage,
    /// True if all answers came from the cache; `None` if no question was asked.
    pub(super) cached: Option<bool>,
    pub(super) model: Option<String>,
    /// The number of questions that were asked.
    pub(super) questions: usize,
    /// The reason why a question has no answer. The comparisons are not whole then.
    pub(super) failure: Option<Failure>,
}

/// The number of questions about `pairs` pairs.
pub(super) fn questions(rubric: &Rubric, pairs: usize) -> usize {
    let calls = rubric.calls(criteria_order(rubric)).len();
    pairs.saturating_mul(calls).saturating_mul(usize::try_from(ORDERS).unwrap_or(2))
}

fn criteria_order(rubric: &Rubric) -> &[usize] {
    rubric.orders.first().map_or(&[], Vec::as_slice)
}

/// A pair's two replies as a case.
struct PairCase<'a> {
    pair: Pair,
    case: Case<'a>,
}

impl<'a> Tournament<'a> {
    /// Plays all rounds, or until a question has no answer.
    pub(super) async fn played(self, mut schedule: Schedule) -> PlayedTournament {
        let mut played = PlayedTournament {
            compared: vec![Vec::new(); self.rubric.criteria.len()],
            ..PlayedTournament::default()
        };
        let mut hold = None;
        while schedule.most_pairs() > 0 && played.failure.is_none() {
            let pairs = schedule.next_round(&played.scores(self.rubric, self.shared.replies.len()));
            let cases: Vec<PairCase<'_>> =
                pairs.into_iter().filter_map(|pair| self.case(pair)).collect();
            let questions: Vec<JudgeQuestion<'_>> =
                cases.iter().flat_map(|pair| self.about(&pair.case)).collect();
            played.questions += questions.len();
            let (mut outcomes, unknown) = self.known(&questions).await;
            if !unknown.is_empty() && hold.is_none() {
                let later = self::questions(self.rubric, schedule.most_pairs());
                let calls = unknown.len().saturating_add(later);
                match self.admitted(calls).await {
                    Ok(admitted) => hold = Some(admitted),
                    Err(failure) => {
                        played.failure = Some(failure);
                        return played;
                    }
                }
            }
            let paying = hold.as_ref().map(|hold| self.asker.paid_from(hold));
            let asker = paying.as_ref().unwrap_or(self.asker);
            self.fetched(&questions, unknown, asker, &mut outcomes).await;
            played.take_round(&self, &cases, &outcomes);
        }
        played
    }

    fn case(&self, pair: Pair) -> Option<PairCase<'a>> {
        let replies = &self.shared.replies;
        let listed: Vec<&ListedReply> = vec![replies.get(pair.0)?, replies.get(pair.1)?];
        let mut set = PartsHasher::default();
        set.add(self.shared.before.as_bytes());
        listed.iter().for_each(|reply| set.add(&reply.digest));
        let case = Case {
            before: &self.shared.before,
            dialogue: &self.shared.dialogue,
            turn: Default::default(),
            listed,
            facts: self.facts,
            nonce: self.nonce,
            digest: set.finish(),
        };
        Some(PairCase { pair, case })
    }

    /// The questions about a pair: in both orders, and all calls of an order together.
    fn about<'q>(&self, case: &'q Case<'q>) -> Vec<JudgeQuestion<'q>>
    where
        'a: 'q,
    {
        let rubric = self.rubric;
        let calls = self.samples().flat_map(|sample| {
            rubric.calls(criteria_order(rubric)).map(move |order| (sample, order))
        });
        calls.map(|(sample, order)| JudgeQuestion { rubric, order, sample, case }).collect()
    }

    /// The numbers of the two orders.
    fn samples(&self) -> std::ops::Range<u32> {
        let first = self.round.saturating_mul(ORDERS);
        first..first.saturating_add(ORDERS)
    }

    /// The outcomes that are known already, and the places and keys of the other questions.
    async fn known(
        &self,
        questions: &[JudgeQuestion<'_>],
    ) -> (Vec<Option<Outcome>>, Vec<(usize, QuestionKey)>) {
        let mut outcomes = Vec::with_capacity(questions.len());
        let mut unknown = Vec::new();
        for (place, question) in questions.iter().enumerate() {
            let known = self.judge.lookup(*question).await;
            unknown.extend(known.as_ref().err().map(|key| (place, *key)));
            outcomes.push(known.ok());
        }
        (outcomes, unknown)
    }

    /// Admits `calls` questions, each of the size of the two longest replies.
    async fn admitted(
        &self,
        calls: usize,
    ) -> Result<crate::store::budget::BudgetHold<'a>, Failure> {
        let mut places: Vec<usize> = (0..self.shared.replies.len()).collect();
        let size =
            |place: &usize| self.shared.replies.get(*place).map(|one| text_tokens(&one.shown));
        places.sort_by(|a, b| size(b).partial_cmp(&size(a)).unwrap_or(std::cmp::Ordering::Equal));
        let longest = match places[..] {
            [one, other, ..] => self.case((one.min(other), one.max(other))),
            _ => None,
        };
        let Some(PairCase { case, .. }) = longest else {
            let detail = "a tournament has at least two replies";
            return Err(Failure::new(guerdon_types::AbstainWhy::Internal, detail));
        };
        let rubric = self.rubric;
        let largest = rubric.calls(criteria_order(rubric));
        let largest: Vec<JudgeQuestion<'_>> =
            largest.map(|order| JudgeQuestion { rubric, order, sample: 0, case: &case }).collect();
        self.judge.admit(&largest, calls, self.asker).await
    }

    /// Asks the unknown questions. After a failure no other one is begun; those in flight are waited
    /// for, because they are paid.
    async fn fetched(
        &self,
        questions: &[JudgeQuestion<'_>],
        unknown: Vec<(usize, QuestionKey)>,
        asker: &Asker,
        outcomes: &mut [Option<Outcome>],
    ) {
        let (mut waiting, mut failed) = (unknown.into_iter(), false);
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < MOST_IN_FLIGHT && !failed {
                let Some((place, key)) = waiting.next() else { break };
                let Some(question) = questions.get(place) else { continue };
                in_flight.push(Box::pin(async move {
                    (place, self.judge.fetch(key, *question, asker).await)
                }));
            }
            let Some((place, outcome)) = in_flight.next().await else { return };
            failed |= outcome.result.is_err();
            if let Some(own) = outcomes.get_mut(place) {
                *own = Some(outcome);
            }
        }
    }
}

impl PlayedTournament {
    /// The points of each reply so far, of which one comparison gives at most the range of the
    /// rubric.
    fn scores(&self, rubric: &Rubric, count: usize) -> Vec<f64> {
        let mut scores = vec![0.0; count];
        for (criterion, compared) in rubric.criteria.iter().zip(&self.compared) {
            for Comparison { first, second, outcome } in compared {
                for (reply, won) in [(first, *outcome), (second, 1.0 - outcome)] {
                    if let Some(score) = scores.get_mut(*reply) {
                        *score += won * criterion.range();
                    }
                }
            }
        }
        scores
    }

    /// Takes in the outcomes of a round, which are those of the [questions](Tournament::about) about
    /// its pairs.
    fn take_round(
        &mut self,
        tournament: &Tournament<'_>,
        cases: &[PairCase<'_>],
        outcomes: &[Option<Outcome>],
    ) {
        let rubric = tournament.rubric;
        for outcome in outcomes.iter().flatten() {
            self.usage.add(&outcome.usage);
            self.cached = Some(self.cached.unwrap_or(true) && outcome.cached);
            match &outcome.result {
                Ok(answer) if self.model.is_none() => self.model = Some(answer.model.clone()),
                Ok(_) => {}
                Err(failure) if self.failure.is_none() => self.failure = Some(failure.clone()),
                Err(_) => {}
            }
        }
        if self.failure.is_some() {
            return;
        }
        let orders = usize::try_from(ORDERS).unwrap_or(2);
        let calls = rubric.calls(criteria_order(rubric)).len().max(1);
        for (PairCase { pair, case }, answers) in cases.iter().zip(outcomes.chunks(orders * calls))
        {
            let by_order: Vec<Vec<&CriterionFinding>> = answers
                .chunks(calls)
                .map(|answers| {
                    let answers =
                        answers.iter().flatten().filter_map(|one| one.result.as_ref().ok());
                    answers.flat_map(|answer| &answer.findings).collect()
                })
                .collect();
            self.take_pair(rubric, *pair, &by_order);
            self.take_places(tournament, case, &by_order);
        }
    }

    fn take_pair(&mut self, rubric: &Rubric, pair: Pair, by_order: &[Vec<&CriterionFinding>]) {
        let (first, second) = pair;
        for (criterion, compared) in rubric.criteria.iter().zip(&mut self.compared) {
            let of_order = |findings: &Vec<&CriterionFinding>| {
                Some(findings.iter().find(|one| one.id == criterion.id)?.preference())
            };
            let seen: Vec<f64> = by_order.iter().filter_map(of_order).collect();
            if let [one, other] = seen[..] {
                let outcome = f64::midpoint(one, other);
                compared.push(Comparison { first, second, outcome });
            }
        }
    }

    /// Adds what each reply of a pair got at the first place and at the second one, in points.
    fn take_places(
        &mut self,
        tournament: &Tournament<'_>,
        case: &Case<'_>,
        by_order: &[Vec<&CriterionFinding>],
    ) {
        let rubric = tournament.rubric;
        for reply in 0..2 {
            let mut seen = Vec::with_capacity(by_order.len());
            for (sample, findings) in tournament.samples().zip(by_order) {
                let points = |one: &&CriterionFinding| {
                    let criterion = rubric.criteria.iter().find(|own| own.id == one.id)?;
                    let first = one.preference();
                    Some(criterion.range() * if reply == 0 { first } else { 1.0 - first })
                };
                let points = findings.iter().filter_map(points).sum();
                let order = shown_order(2, &case.digest, sample);
                let place = if order.first() == Some(&reply) { 0.0 } else { 1.0 };
                seen.push(PlacedPoints { place, points });
            }
            self.sums.observe(&seen);
        }
    }
}
