//! The questions about a group, and its verdicts from their answers.
//!
//! A ballot is one list with all criteria, asked of one judge. Replies of a group are compared with
//! each other, so they are judged by the same ballots: a judge counts if all its questions about the
//! group were answered, and at least half of the judges must count.

use std::sync::Arc;

use guerdon_types::{Abstention, Usage};

use super::shared::SharedPrompt;
use super::verdicts::GroupVerdicts;
use crate::ask::answer::{Failure, JudgeAnswer, Outcome};
use crate::ask::case::Case;
use crate::ask::listing::shown_order;
use crate::ask::question::JudgeQuestion;
use crate::ask::reply::CriterionFinding;
use crate::ask::verdict::{self, Ballot, Pooling};
use crate::quality::position::{PlacedPoints, PositionSums};
use crate::rubric::{Listwise, Rubric};
use crate::source::outcome::abstention;
use crate::source::{BallotQuestion, JudgeSource};

/// A rubric and the lists in which it is asked about a group.
#[derive(Clone, Copy)]
pub(super) struct RubricGroup<'a> {
    pub(super) rubric: &'a Arc<Rubric>,
    pub(super) listwise: Listwise,
    /// The places of the group's replies in each list.
    pub(super) calls: &'a [Vec<usize>],
    /// The case of each list.
    pub(super) cases: &'a [Case<'a>],
    /// Distinguishes repeated judgements.
    pub(super) round: u32,
}

/// The number of a ballot: the list, the judge, and the shuffle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BallotPlace {
    list: usize,
    judge: usize,
    shuffle: u32,
}

impl RubricGroup<'_> {
    /// The places of all ballots, by their numbers.
    fn ballots(&self, judges: usize) -> Vec<BallotPlace> {
        let lists = 0..self.cases.len();
        let places = lists.flat_map(|list| (0..judges).map(move |judge| (list, judge)));
        let first = self.round.saturating_mul(self.listwise.shuffles);
        let shuffles = first..first.saturating_add(self.listwise.shuffles);
        let place = |(list, judge)| {
            shuffles.clone().map(move |shuffle| BallotPlace { list, judge, shuffle })
        };
        places.flat_map(place).collect()
    }
}

impl JudgeSource {
    /// The questions to all judges about all lists, in all orders.
    pub(super) fn group_questions<'a>(
        &'a self,
        group: &RubricGroup<'a>,
    ) -> Vec<BallotQuestion<'a>> {
        let order = group.rubric.orders.first().map_or(&[][..], Vec::as_slice);
        let mut questions = Vec::new();
        for (ballot, place) in group.ballots(self.judges.len()).into_iter().enumerate() {
            let BallotPlace { list, judge, shuffle: sample } = place;
            let (Some(case), Some(judge)) = (group.cases.get(list), self.judges.get(judge)) else {
                continue;
            };
            let rubric = group.rubric;
            questions.extend(rubric.calls(order).map(|order| BallotQuestion {
                judge: judge.as_ref(),
                question: JudgeQuestion { rubric, order, sample, case },
                ballot,
            }));
        }
        questions
    }

    /// The verdicts about all replies, from the outcomes of `questions`.
    pub(super) fn group_verdicts(
        &self,
        group: &RubricGroup<'_>,
        shared: &SharedPrompt,
        questions: &[BallotQuestion<'_>],
        outcomes: Vec<Outcome>,
    ) -> GroupVerdicts {
        let places = group.ballots(self.judges.len());
        let mut judged = GroupVerdicts::without_call(group.rubric, Ok(Vec::new()));
        judged.questions = questions.len();
        let mut ballots: Vec<Vec<Arc<JudgeAnswer>>> = vec![Vec::new(); places.len()];
        let mut failed: Vec<(usize, Failure)> = Vec::new();
        let mut usage = Usage::default();
        for (BallotQuestion { ballot, .. }, outcome) in questions.iter().zip(outcomes) {
            usage.add(&outcome.usage);
            judged.cached = Some(judged.cached.unwrap_or(true) && outcome.cached);
            match outcome.result {
                Ok(answer) => {
                    judged.model = judged.model.or_else(|| Some(answer.model.clone()));
                    if let Some(ballot) = ballots.get_mut(*ballot) {
                        ballot.push(answer);
                    }
                }
                Err(failure) => {
                    let judge = places.get(*ballot).map_or(0, |place| place.judge);
                    failed.push((judge, failure));
                }
            }
        }
        judged.usage = usage;
        let counts = |judge: usize| failed.iter().all(|(other, _)| *other != judge);
        let counting = (0..self.judges.len()).filter(|judge| counts(*judge)).count();
        if let Some((_, failure)) = failed.first()
            && (counting == 0 || counting * 2 < self.judges.len())
        {
            judged.verdicts = Err(unanswered(group.rubric, failure));
            return judged;
        }
        let counted = BallotCounts { group, shared, places: &places, ballots: &ballots };
        let pooling = if counting == 1 { Pooling::Mean } else { self.pooling };
        let verdicts = (0..shared.replies.len()).map(|reply| {
            let ballots = counted.ballots_of(reply, counts);
            let spoken = shared.replies.get(reply).map(|reply| &reply.spoken);
            let ballots: Vec<Ballot<'_>> =
                ballots.into_iter().map(|(_, findings)| findings).collect();
            spoken.map(|spoken| verdict::weigh(group.rubric, &ballots, pooling, spoken))
        });
        judged.verdicts = Ok(verdicts.map(Option::unwrap_or_default).collect());
        judged.sums = counted.position_sums(counts);
        judged
    }
}

/// The answers about a group, by ballot.
struct BallotCounts<'a> {
    group: &'a RubricGroup<'a>,
    shared: &'a SharedPrompt,
    places: &'a [BallotPlace],
    ballots: &'a [Vec<Arc<JudgeAnswer>>],
}

impl<'a> BallotCounts<'a> {
    /// The findings about a reply, of each ballot of a counting judge that has it.
    fn ballots_of(
        &self,
        reply: usize,
        counts: impl Fn(usize) -> bool,
    ) -> Vec<(BallotPlace, Vec<&'a CriterionFinding>)> {
        let mut found = Vec::new();
        for (place, answers) in self.places.iter().zip(self.ballots) {
            let list = self.group.calls.get(place.list).map_or(&[][..], Vec::as_slice);
            let Some(own) = list.iter().position(|other| *other == reply) else { continue };
            if !counts(place.judge) {
                continue;
            }
            let own = u32::try_from(own).ok();
            let findings = answers.iter().flat_map(|answer| &answer.findings);
            found.push((*place, findings.filter(|finding| finding.reply == own).collect()));
        }
        found
    }

    /// Sums of places and points: of each reply over its shuffles, or of each list if there is one
    /// shuffle.
    fn position_sums(&self, counts: impl Fn(usize) -> bool + Copy) -> PositionSums {
        let mut sums = PositionSums::default();
        let mut seen: Vec<(BallotPlace, usize, PlacedPoints)> = Vec::new();
        for (reply, listed) in self.shared.replies.iter().enumerate() {
            for (place, findings) in self.ballots_of(reply, counts) {
                let points = verdict::points_of(self.group.rubric, &findings, &listed.spoken);
                if let Some(at) = self.shown_at(place, reply) {
                    seen.push((place, reply, PlacedPoints { place: at, points }));
                }
            }
        }
        let together = |(place, reply, _): &(BallotPlace, usize, PlacedPoints)| {
            let reply = (self.group.listwise.shuffles > 1).then_some(*reply);
            (place.list, place.judge, reply)
        };
        seen.sort_by_key(together);
        for set in seen.chunk_by(|a, b| together(a) == together(b)) {
            let points: Vec<PlacedPoints> = set.iter().map(|(.., points)| *points).collect();
            sums.observe(&points);
        }
        sums
    }

    /// The place of a reply in the list of a ballot, in [0, 1]; `None` if it is the only one.
    #[expect(clippy::cast_precision_loss, reason = "a list has at most 64 replies")]
    fn shown_at(&self, place: BallotPlace, reply: usize) -> Option<f64> {
        let list = self.group.calls.get(place.list)?;
        let set = self.group.cases.get(place.list)?.digest;
        let own = list.iter().position(|other| *other == reply)?;
        let order = shown_order(list.len(), &set, place.shuffle);
        let at = order.iter().position(|shown| *shown == own)?;
        (list.len() > 1).then(|| at as f64 / (list.len() - 1) as f64)
    }
}

/// The abstention of a group about which a question has no answer.
pub(super) fn unanswered(rubric: &Rubric, failure: &Failure) -> Abstention {
    let detail = format!(
        "prompt `{}`: {}; the replies of a group are judged together, so all of them abstain",
        rubric.id, failure.detail
    );
    abstention(failure.why, detail).because(failure.reason).about(&rubric.id)
}
