//! Listwise and pairwise prompts: the replies of a group are judged together, on the last asked turn of each
//! rollout.
//!
//! A group is judged as a whole or not at all. If it is not whole, or a question about it has no
//! answer, every rollout of it abstains in the name of the prompt. Empty replies are not shown, and
//! equal replies are shown once.

mod ballots;
mod pairs;
pub(crate) mod shared;
pub(crate) mod split;
mod verdicts;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use guerdon_fusion::{GroupAsk, GroupMember, GroupSource};
use guerdon_queue::Flow;
use guerdon_types::{
    AbstainReason, AbstainWhy, Abstention, Context, Finite, GroupJudgement, JudgePart, Message,
    Part, Signal,
};
use tokio::time::Instant;

use self::ballots::RubricGroup;
use self::shared::{SharedPrompt, dialogues};
use self::verdicts::GroupVerdicts;
use crate::ask::case::Case;
use crate::ask::digest::PartsHasher;
use crate::ask::listing::ListedReply;
use crate::ask::verdict::{self, RubricVerdict};
use crate::endpoint::Asker;
use crate::quality::position::PositionSums;
use crate::rubric::{Listwise, Rubric};
use crate::source::JudgeSource;
use crate::source::outcome::{RubricOutcome, abstention, joint_signal};

/// Size in bytes of the dialogues of a group from which they are compared on another thread.
const LARGE_GROUP: usize = 64 << 10;

impl GroupSource for JudgeSource {
    fn scores_rollouts(&self) -> bool {
        self.prompts.rubrics().iter().any(|rubric| rubric.listwise.is_none())
    }

    fn score_group<'a>(&'a self, ask: GroupAsk<'a>) -> BoxFuture<'a, Vec<Vec<Signal>>> {
        self.judged_group(ask).boxed()
    }
}

impl JudgeSource {
    async fn judged_group(&self, ask: GroupAsk<'_>) -> Vec<Vec<Signal>> {
        let alone = self.scores_rollouts();
        let shared = match ask.conflict {
            Some(conflict) => Err(conflict.to_owned()),
            None => shared(ask.members).await,
        };
        if !alone {
            let turns = u64::try_from(ask.members.len()).unwrap_or_default();
            self.asked_turns.fetch_add(turns, Ordering::Relaxed);
        }
        let flow = Flow { client: ask.client, ..self.flow.clone() };
        let asker = Asker::new(ask.deadline.map(Instant::from_std), flow);
        let rubrics = self.prompts.rubrics();
        let asked = rubrics.iter().filter(|rubric| rubric.compares());
        let asked = asked.map(|rubric| {
            let (shared, asker) = (&shared, &asker);
            async move {
                let contexts = ask.members.iter().map(|member| &member.rollout.context);
                let judgeable = judgeable(&ask, rubric, shared)
                    .and_then(|shared| Ok((shared, shared_facts(rubric, contexts)?)));
                match judgeable {
                    Ok((shared, facts)) => {
                        let asked = GroupQuestion { facts, asker, round: 0 };
                        self.judged_as_configured(rubric, shared, asked).await
                    }
                    Err(detail) => {
                        let detail = format!("prompt `{}`: {detail}", rubric.id);
                        let why = incomplete(detail).about(&rubric.id);
                        GroupVerdicts::without_call(rubric, Err(why))
                    }
                }
            }
        });
        let judged = join_all(asked).await;
        judged.iter().for_each(|judged| self.position.observe(judged.sums));
        self.signals(&ask, &judged, shared.ok().as_ref())
    }

    /// Asks `rubric` about the replies of a whole group, in its mode.
    async fn judged_as_configured(
        &self,
        rubric: &Arc<Rubric>,
        shared: &SharedPrompt,
        asked: GroupQuestion<'_>,
    ) -> GroupVerdicts {
        match (rubric.listwise, rubric.pairwise) {
            (_, Some(pairwise)) => Box::pin(self.compared((rubric, pairwise), shared, asked)).await,
            (Some(listwise), None) => self.listed(rubric, listwise, shared, asked).await,
            (None, None) => {
                let detail = format!("prompt `{}` does not compare replies", rubric.id);
                GroupVerdicts::without_call(rubric, Err(incomplete(detail).about(&rubric.id)))
            }
        }
    }

    /// Judges the replies at the ends of `dialogues` by a rubric that compares them. Each `round` is
    /// asked afresh.
    pub(crate) async fn judged_replies(
        &self,
        rubric: &Arc<Rubric>,
        dialogues: &[Vec<Message>],
        facts: &Context,
        round: u32,
    ) -> Result<JudgedReplies, Abstention> {
        let shared = SharedPrompt::of(dialogues).map_err(incomplete)?;
        let asker = Asker::new(None, Flow::new("calibrate", 1));
        let asked = GroupQuestion { facts, asker: &asker, round };
        let judged = self.judged_as_configured(rubric, &shared, asked).await;
        let verdicts = judged.verdicts?;
        let silence = verdict::silence_verdict(rubric).points();
        let points = |place: &Option<usize>| {
            let verdict = place.and_then(|place| verdicts.get(place));
            verdict.map_or(silence, RubricVerdict::points)
        };
        let has_orders = rubric.listwise.is_none_or(|listwise| listwise.shuffles > 1);
        let bias = judged.sums.bias().filter(|_| has_orders);
        Ok(JudgedReplies {
            points: shared.reply_of.iter().map(points).collect(),
            position_bias: bias,
        })
    }

    /// Asks `rubric` about lists of the replies of a whole group.
    async fn listed(
        &self,
        rubric: &Arc<Rubric>,
        listwise: Listwise,
        shared: &SharedPrompt,
        GroupQuestion { facts, asker, round }: GroupQuestion<'_>,
    ) -> GroupVerdicts {
        let calls = split::split(shared.replies.len(), listwise);
        let case = |places: &Vec<usize>| {
            let listed: Vec<&ListedReply> =
                places.iter().filter_map(|place| shared.replies.get(*place)).collect();
            let mut set = PartsHasher::default();
            set.add(shared.before.as_bytes());
            listed.iter().for_each(|reply| set.add(&reply.digest));
            Case {
                before: &shared.before,
                dialogue: &shared.dialogue,
                turn: Default::default(),
                listed,
                facts,
                nonce: &self.nonce,
                digest: set.finish(),
            }
        };
        let cases: Vec<Case<'_>> =
            calls.iter().filter(|places| !places.is_empty()).map(case).collect();
        let group = RubricGroup { rubric, listwise, calls: &calls, cases: &cases, round };
        let questions = self.group_questions(&group);
        let outcomes = self.asked(&questions, asker).await;
        self.group_verdicts(&group, shared, &questions, outcomes)
    }

    /// The signals of each member, from the verdicts of all rubrics.
    fn signals(
        &self,
        ask: &GroupAsk<'_>,
        judged: &[GroupVerdicts],
        shared: Option<&SharedPrompt>,
    ) -> Vec<Vec<Signal>> {
        let mut evidence = GroupJudgement {
            rollouts: ask.members.len(),
            replies: shared.map_or(0, |shared| shared.replies.len()),
            questions: judged.iter().map(|one| one.questions).sum(),
            position_bias: None,
            uncertainty: None,
        };
        let mut sums = PositionSums::default();
        for one in judged {
            let shuffles = one.rubric.listwise.map_or(2, |listwise| listwise.shuffles);
            if shuffles > 1 {
                sums.add(one.sums);
            }
        }
        evidence.position_bias = sums.bias().and_then(|bias| Finite::new(bias).ok());
        let members = ask.members.iter().enumerate();
        let signals = members.map(move |(number, member)| {
            let reply = shared.and_then(|shared| shared.reply_of.get(number).copied().flatten());
            let mut outcomes = Vec::with_capacity(judged.len());
            for one in judged {
                outcomes.extend(one.of(number, reply));
            }
            let is_silent = reply.is_none() && outcomes.is_empty() && shared.is_some();
            if is_silent && member.signals.is_empty() {
                let rubrics = self.prompts.rubrics();
                let silence = verdict::joint_silence_verdict(rubrics);
                outcomes.push(RubricOutcome::without_call(silence));
            }
            evidence.uncertainty = uncertainty(judged, reply);
            self.member_signals(member, outcomes, &evidence)
        });
        signals.collect()
    }

    /// The signals about one member: those about the rollout alone, and the joint one on its last
    /// turn.
    fn member_signals(
        &self,
        member: &GroupMember<'_>,
        outcomes: Vec<RubricOutcome>,
        evidence: &GroupJudgement,
    ) -> Vec<Signal> {
        let Some((last, earlier)) = member.turns.split_last() else { return Vec::new() };
        let mut signals: Vec<Signal> = member.signals.to_vec();
        let rubrics = || self.prompts.rubrics().iter().filter(|rubric| rubric.compares());
        for place in 0..earlier.len() {
            let unjudged = rubrics().map(|rubric| {
                let detail = format!(
                    "prompt `{}`: a prompt that compares replies judges the last asked turn of a \
                     rollout; score that turn only",
                    rubric.id
                );
                incomplete(detail).about(&rubric.id)
            });
            match signals.get_mut(place) {
                Some(signal) => signal.abstained.extend(unjudged),
                None => {
                    let mut unjudged = unjudged;
                    let first = unjudged.next().unwrap_or_else(no_prompt);
                    signals.push(Signal::abstained(first).and_abstained(unjudged));
                }
            }
        }
        if outcomes.is_empty() {
            // An empty turn, about which the prompts that judge one reply have a verdict.
            return signals;
        }
        let mut joint = joint_signal(outcomes, || self.models());
        if let Some(Part::Judge(part)) = &mut joint.part {
            part.group = Some(evidence.clone());
        }
        let turn = member.rollout.messages.get(*last).map(|message| message.content.as_str());
        match signals.get_mut(earlier.len()) {
            Some(alone) => merge(alone, joint),
            None => {
                self.drift.observe(turn.unwrap_or_default(), &joint);
                signals.push(joint);
            }
        }
        signals
    }
}

/// The circumstances in which a group is asked about.
#[derive(Clone, Copy)]
pub(super) struct GroupQuestion<'a> {
    pub(super) facts: &'a Context,
    pub(super) asker: &'a Asker,
    /// Distinguishes repeated judgements of the same group.
    pub(super) round: u32,
}

/// Points of replies that were compared.
#[derive(Debug)]
pub(crate) struct JudgedReplies {
    /// For each dialogue.
    pub(crate) points: Vec<f64>,
    /// The points that the last place has more than the first one, if replies were seen at both.
    pub(crate) position_bias: Option<f64>,
}

/// The parts of a group, on another thread if they are large.
async fn shared(members: &[GroupMember<'_>]) -> Result<SharedPrompt, String> {
    let dialogues = dialogues(members);
    let bytes: usize = dialogues.iter().flatten().map(|message| message.content.len()).sum();
    if bytes < LARGE_GROUP {
        return SharedPrompt::of(&dialogues);
    }
    let shared = tokio::task::spawn_blocking(move || SharedPrompt::of(&dialogues)).await;
    shared.unwrap_or_else(|_| Err("comparing its rollouts did not end".to_owned()))
}

/// The parts of a group that is whole, or the reason why it is not judged.
fn judgeable<'a>(
    ask: &GroupAsk<'_>,
    rubric: &Rubric,
    shared: &'a Result<SharedPrompt, String>,
) -> Result<&'a SharedPrompt, String> {
    let (present, expected) = (ask.members.len(), ask.expected);
    let min_size = rubric.min_size();
    let least = min_size.unwrap_or(2);
    if let (Some(_), Err(conflict)) = (ask.conflict, shared) {
        return Err(format!("the group cannot be compared: {conflict}"));
    }
    if expected < 2 {
        return Err(
            "the prompt compares the samples of a group, and this group has one; send all \
             samples of a prompt with the same `group`"
                .to_owned(),
        );
    }
    if present < expected && min_size.is_none_or(|least| present < least) {
        let (those, verb) = if present == 1 { ("sample", "is") } else { ("samples", "are") };
        let note = ask.note.map(|note| format!("; {note}")).unwrap_or_default();
        return Err(format!(
            "{present} {those} of the group {verb} there that can be scored, and it has {expected}{note}"
        ));
    }
    if present < least {
        return Err(format!("the group has {present} samples, and `min_size` is {least}"));
    }
    shared.as_ref().map_err(|conflict| format!("the group cannot be compared: {conflict}"))
}

/// The standard error of the points of a reply, of all prompts that compared replies two by two;
/// `None` if there is none.
fn uncertainty(judged: &[GroupVerdicts], reply: Option<usize>) -> Option<Finite> {
    let errors = judged.iter().filter_map(|one| one.errors.get(reply?));
    let variance = errors.map(|error| error * error).reduce(|all, one| all + one)?;
    Finite::new(variance.sqrt()).ok()
}

/// The facts that a rubric shows, which all members share.
fn shared_facts<'a>(
    rubric: &Rubric,
    mut contexts: impl Iterator<Item = &'a Context>,
) -> Result<&'a Context, String> {
    let Some(first) = contexts.next() else { return Err("the group has no rollouts".to_owned()) };
    let shown = rubric.selection.select(first);
    if contexts.all(|other| rubric.selection.select(other) == shown) {
        return Ok(first);
    }
    Err("the rollouts of the group differ in a fact that the prompt shows".to_owned())
}

/// Adds a joint judgement to the signal about the rollout alone.
fn merge(alone: &mut Signal, joint: Signal) {
    alone.usage.add(&joint.usage);
    alone.abstained.extend(joint.abstained);
    let (first, second) = match (alone.part.take(), joint.part) {
        (Some(Part::Judge(first)), Some(Part::Judge(second))) => (first, second),
        (first, second) => {
            alone.part = first.or(second);
            return;
        }
    };
    let JudgePart { points, mut criteria, cached, model, asked, .. } = first;
    criteria.extend(second.criteria);
    match Finite::new(points.get() + second.points.get()) {
        Ok(points) => {
            let (cached, group) = (cached && second.cached, second.group);
            alone.part =
                Some(Part::Judge(JudgePart { points, criteria, cached, model, group, asked }));
        }
        Err(_) => alone.abstained.push(abstention(
            AbstainWhy::NotFinite,
            "the sum of the criteria's points is not finite",
        )),
    }
}

/// An abstention of all members of a group that cannot be compared.
fn incomplete(detail: impl Into<String>) -> Abstention {
    // Clients of the first version have no `why` for it; this is the nearest.
    abstention(AbstainWhy::MissingContext, detail).because(AbstainReason::GroupIncomplete)
}

fn no_prompt() -> Abstention {
    abstention(AbstainWhy::Internal, "no judge prompt is configured")
}
