//! Pairwise prompts: a judge compares the replies of a group two by two, each pair in both orders.
//!
//! Each judge plays a tournament of its own, so that Swiss rounds follow its own opinion. Before its
//! first call the whole tournament is [admitted](crate::endpoint::Endpoint::admit): the budget holds
//! the money of all questions, and the quotas allow them before the deadline. Otherwise the group
//! abstains and nothing was spent. Pairs are keyed by the two replies, so a pair that was compared in
//! another group costs nothing.

mod schedule;
mod strength;
mod tournament;

use std::sync::Arc;

use guerdon_types::{AbstainWhy, Usage};

use self::schedule::Schedule;
use self::strength::Share;
use self::tournament::{PlayedTournament, Tournament};
use super::GroupQuestion;
use super::ballots::unanswered;
use super::shared::SharedPrompt;
use super::verdicts::GroupVerdicts;
use crate::ask::digest::PartsHasher;
use crate::ask::reply::CriterionFinding;
use crate::ask::verdict::{self, Ballot, Pooling, RubricVerdict};
use crate::rubric::{Criterion, Pairwise, Rubric};
use crate::source::JudgeSource;
use crate::source::outcome::abstention;

/// The most replies that are compared two by two. More make a listwise prompt, which splits them.
const MOST_REPLIES: usize = 256;

/// Number of replies from which the estimates are computed on another thread.
const MANY_REPLIES: usize = 24;

impl JudgeSource {
    /// Compares the replies of a whole group by `rubric`.
    pub(super) async fn compared(
        &self,
        (rubric, pairwise): (&Arc<Rubric>, Pairwise),
        shared: &SharedPrompt,
        GroupQuestion { facts, asker, round }: GroupQuestion<'_>,
    ) -> GroupVerdicts {
        let count = shared.replies.len();
        let mut set = PartsHasher::default();
        set.add(shared.before.as_bytes());
        shared.replies.iter().for_each(|reply| set.add(&reply.digest));
        let set = set.finish();
        let most_pairs = Schedule::new(count, pairwise.rounds, &set).most_pairs();
        if let Err(detail) = self.check_size((rubric, pairwise), count, most_pairs) {
            let why = abstention(AbstainWhy::TooLong, detail).about(&rubric.id);
            return GroupVerdicts::without_call(rubric, Err(why));
        }
        let (nonce, rounds) = (&self.nonce, pairwise.rounds);
        let tournaments = self.judges.iter().map(|judge| {
            let schedule = Schedule::new(count, rounds, &set);
            Tournament { rubric, judge, shared, facts, nonce, asker, round }.played(schedule)
        });
        let played = Box::pin(futures_util::future::join_all(tournaments)).await;
        self.pair_verdicts((rubric, pairwise), shared, played).await
    }

    /// Checks that the group has few enough replies and pairs.
    fn check_size(
        &self,
        (rubric, pairwise): (&Rubric, Pairwise),
        count: usize,
        most_pairs: usize,
    ) -> Result<(), String> {
        let id = &rubric.id;
        if count > MOST_REPLIES {
            return Err(format!(
                "prompt `{id}`: the group has {count} distinct replies, and at most {MOST_REPLIES} are compared two \
                 by two; use `mode = \"listwise\"`"
            ));
        }
        let calls = tournament::questions(rubric, most_pairs).saturating_mul(self.judges.len());
        if calls > pairwise.max_calls {
            return Err(format!(
                "prompt `{id}`: comparing the {count} replies of the group takes {calls} calls, and `max_calls` is \
                 {}; raise it, or use `rounds = {{ swiss = N }}` with fewer rounds",
                pairwise.max_calls
            ));
        }
        Ok(())
    }

    /// The verdicts about all replies, from the tournaments of all judges.
    async fn pair_verdicts(
        &self,
        (rubric, pairwise): (&Arc<Rubric>, Pairwise),
        shared: &SharedPrompt,
        played: Vec<PlayedTournament>,
    ) -> GroupVerdicts {
        let mut judged = GroupVerdicts::without_call(rubric, Ok(Vec::new()));
        let mut usage = Usage::default();
        for one in &played {
            usage.add(&one.usage);
            judged.questions += one.questions;
            judged.cached = match (judged.cached, one.cached) {
                (Some(all), Some(this)) => Some(all && this),
                (all, this) => all.or(this),
            };
            judged.model = judged.model.or_else(|| one.model.clone());
        }
        judged.usage = usage;
        let counting: Vec<&PlayedTournament> =
            played.iter().filter(|one| one.failure.is_none()).collect();
        let failure = played.iter().find_map(|one| one.failure.as_ref());
        if let Some(failure) = failure
            && (counting.is_empty() || counting.len() * 2 < played.len())
        {
            judged.verdicts = Err(unanswered(rubric, failure));
            return judged;
        }
        let count = shared.replies.len();
        let mut shares: Vec<Vec<Vec<Share>>> = Vec::with_capacity(counting.len());
        for one in &counting {
            judged.sums.add(one.sums);
            let (compared, estimate) = (one.compared.clone(), pairwise.estimate);
            let estimated = move || -> Vec<Vec<Share>> {
                compared.iter().map(|one| strength::shares(count, one, estimate)).collect()
            };
            if count < MANY_REPLIES {
                shares.push(estimated());
                continue;
            }
            match tokio::task::spawn_blocking(estimated).await {
                Ok(estimated) => shares.push(estimated),
                Err(_) => {
                    let detail = format!("prompt `{}`: the estimate did not end", rubric.id);
                    judged.verdicts =
                        Err(abstention(AbstainWhy::Internal, detail).about(&rubric.id));
                    return judged;
                }
            }
        }
        let pooling = if counting.len() == 1 { Pooling::Mean } else { self.pooling };
        let verdicts =
            (0..count).map(|reply| reply_verdict(rubric, reply, &shares, pooling, shared));
        judged.verdicts = Ok(verdicts.collect());
        judged.errors = (0..count).map(|reply| standard_error(rubric, reply, &shares)).collect();
        judged
    }
}

/// The verdict about one reply, from its shares by judge and criterion.
fn reply_verdict(
    rubric: &Rubric,
    reply: usize,
    shares: &[Vec<Vec<Share>>],
    pooling: Pooling,
    shared: &SharedPrompt,
) -> RubricVerdict {
    let finding = |(criterion, shares): (&Criterion, &Vec<Share>)| {
        Some(CriterionFinding::of_share(criterion, shares.get(reply)?.value))
    };
    let of_judge = |shares: &Vec<Vec<Share>>| -> Vec<CriterionFinding> {
        rubric.criteria.iter().zip(shares).filter_map(finding).collect()
    };
    let findings: Vec<Vec<CriterionFinding>> = shares.iter().map(of_judge).collect();
    let ballots: Vec<Ballot<'_>> = findings.iter().map(|one| one.iter().collect()).collect();
    let spoken = shared.replies.get(reply).map(|reply| &reply.spoken);
    spoken.map(|spoken| verdict::weigh(rubric, &ballots, pooling, spoken)).unwrap_or_default()
}

/// The standard error of a reply's points: of the mean of the judges, with the criteria as
/// independent of each other.
#[expect(clippy::cast_precision_loss, reason = "a handful of judges")]
fn standard_error(rubric: &Rubric, reply: usize, shares: &[Vec<Vec<Share>>]) -> f64 {
    let variance = |(criterion, shares): (&Criterion, &Vec<Share>)| {
        let error = shares.get(reply).map_or(0.0, |share| share.error);
        (error * criterion.range()).powi(2)
    };
    let of_judge =
        |shares: &Vec<Vec<Share>>| rubric.criteria.iter().zip(shares).map(variance).sum::<f64>();
    let judges = shares.len().max(1) as f64;
    shares.iter().map(of_judge).sum::<f64>().sqrt() / judges
}
