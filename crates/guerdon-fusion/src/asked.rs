//! A rollout whose sources have answered, and that has no reward yet; and the second question about
//! rollouts of a group that lack a rubric.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use futures_util::future::join_all;
use guerdon_types::{
    AbstainAction, AbstainPolicy, AbstainWhy, Abstention, CriterionVerdict, Finite, FusionMethod,
    JudgePart, OnAbstain, Part, Problem, ROLLOUT_RUBRIC, Rollout, RolloutId, Signal, SourceKind,
    Usage,
};

use crate::source_signals::signals;
use crate::{Ask, GroupSource, Scorer, ScorerSource};

/// A rollout with the signals of all sources. [`Scorer::settle`] makes its result.
#[derive(Debug, Clone)]
pub struct AskedRollout {
    /// The place in the request.
    pub(crate) index: usize,
    pub(crate) id: RolloutId,
    /// The indices of the scored messages.
    pub(crate) turns: Vec<usize>,
    /// The lengths of the scored messages in Unicode scalar values; empty if no normaliser reads
    /// them.
    pub(crate) lengths: Vec<usize>,
    /// The signals of each source, one for each turn.
    pub(crate) signals: Vec<Vec<Signal>>,
    /// The signals of the rules of another generation, one for each turn.
    pub(crate) compared: Vec<Vec<Signal>>,
    /// The reason why no source was asked.
    pub(crate) problem: Option<Problem>,
}

impl AskedRollout {
    /// A rollout that cannot be scored.
    #[must_use]
    pub fn failed(id: RolloutId, problem: Problem) -> Self {
        let (turns, lengths) = (Vec::new(), Vec::new());
        let (signals, compared) = (Vec::new(), Vec::new());
        // The problem names the place, if that matters.
        Self { index: 0, id, turns, lengths, signals, compared, problem: Some(problem) }
    }

    /// The same rollout with the signals about an equal one, such as the same sample of a group that
    /// was judged with those of other requests.
    #[must_use]
    pub fn with_signals_of(self, other: &Self) -> Self {
        Self { signals: other.signals.clone(), problem: other.problem.clone(), ..self }
    }

    /// The same rollout at no cost, because another one has it.
    #[must_use]
    pub fn without_usage(mut self) -> Self {
        for signal in self.signals.iter_mut().flatten() {
            signal.usage = Usage::default();
        }
        self
    }
}

impl Scorer {
    /// True if the reward of a rollout can depend on its group, by a source that compares its
    /// samples, by the abstentions of its siblings or by the method `hero`: its rollouts are then
    /// [settled](Self::settle) together.
    #[must_use]
    pub fn settles_groups(&self) -> bool {
        self.asks_groups()
            || self.fusion().method == FusionMethod::Hero
            || matches!(self.fusion().on_abstain, OnAbstain::ByCause(_))
            || self.sources().iter().any(|source| source.policy(self.fusion()).is_some())
    }

    /// Asks all sources about one rollout. `index` is its place in the request, and its id if it has
    /// none.
    pub async fn ask(
        &self,
        index: usize,
        rollout: &Rollout,
        deadline: Option<Instant>,
    ) -> AskedRollout {
        let id = rollout.id.clone().unwrap_or_else(|| RolloutId::from(index.to_string()));
        let turns = match rollout.turns_to_score() {
            Ok(turns) => turns,
            Err(invalid) => {
                let problem = Problem::from(invalid.below(&format!("/rollouts/{index}")));
                return AskedRollout::failed(id, problem);
            }
        };
        let ask = self.question(rollout, &turns, deadline);
        let asked = self.sources().iter().map(|source| async move {
            // An ensemble follows from its members.
            let is_asked = source.ensemble().is_none()
                && source.group().is_none_or(GroupSource::scores_rollouts)
                && source.is_drawn(ask.rollout, ask.turns, ask.step);
            if is_asked { signals(&**source, ask).await } else { Vec::new() }
        });
        let mut signals = join_all(asked).await;
        let lengths = self.lengths(rollout, &turns);
        if !self.asks_groups() {
            self.combine(&mut signals, &lengths);
        }
        let compared = match self.compared() {
            Some(other) => other.signals(ask).await,
            None => Vec::new(),
        };
        AskedRollout { index, id, turns, lengths, signals, compared, problem: None }
    }

    /// The lengths of `turns`, if a normaliser reads them.
    fn lengths(&self, rollout: &Rollout, turns: &[usize]) -> Vec<usize> {
        if !self.sources().iter().any(ScorerSource::needs_length) {
            return Vec::new();
        }
        let message = |turn: &usize| rollout.messages.get(*turn);
        let length = |turn| message(turn).map_or(0, |message| message.content.chars().count());
        turns.iter().map(length).collect()
    }

    fn question<'a>(
        &self,
        rollout: &'a Rollout,
        turns: &'a [usize],
        deadline: Option<Instant>,
    ) -> Ask<'a> {
        Ask::new(rollout, turns, deadline)
            .for_client(self.client())
            .of_request(self.request_bytes())
            .at_step(self.step())
    }

    /// True if a source is to be asked once more about this rollout before its group is settled.
    #[must_use]
    pub fn wants_second_ask(&self, asked: &AskedRollout) -> bool {
        self.sources().iter().zip(&asked.signals).any(|(source, signals)| {
            self.may_ask_again(source)
                .is_some_and(|policy| signals.iter().any(|one| misses(policy, one)))
        })
    }

    /// Asks the sources once more about the turns of a rollout that lack something for which the
    /// whole group would lose it.
    pub async fn ask_again(
        &self,
        asked: &mut AskedRollout,
        rollout: &Rollout,
        deadline: Option<Instant>,
    ) {
        let AskedRollout { turns, lengths, signals: all, .. } = asked;
        for (source, signals) in self.sources().iter().zip(all.iter_mut()) {
            let Some(policy) = self.may_ask_again(source) else { continue };
            // The places of turns that lack the same.
            let mut missing: BTreeMap<Option<BTreeSet<String>>, Vec<usize>> = BTreeMap::new();
            for (place, signal) in signals.iter().enumerate() {
                if misses(policy, signal) {
                    missing.entry(missing_prompts(policy, signal)).or_default().push(place);
                }
            }
            let turns: &Vec<usize> = turns;
            let again = missing.iter().map(|(prompts, places)| async move {
                let turns: Vec<usize> =
                    places.iter().filter_map(|place| turns.get(*place).copied()).collect();
                let ask = self.question(rollout, &turns, deadline);
                let ask = Ask { prompts: prompts.as_ref(), ..ask };
                self::signals(&**source, ask).await
            });
            for ((prompts, places), answers) in missing.iter().zip(join_all(again).await) {
                for (place, answer) in places.iter().zip(answers) {
                    if let Some(signal) = signals.get_mut(*place) {
                        replace(signal, answer, prompts.as_ref());
                    }
                }
            }
        }
        self.combine(all, lengths);
    }

    /// The actions on abstentions of a source that may be asked once more. Rules are not: they would
    /// decide the same.
    fn may_ask_again(&self, source: &ScorerSource) -> Option<AbstainPolicy> {
        let is_asked = !matches!(source.kind(), SourceKind::Rules | SourceKind::Ensemble);
        // Another answer about one sample could not be compared with the first ones about the others.
        source.policy(self.fusion()).filter(|_| is_asked && source.group().is_none())
    }
}

/// True if `signal` lacks something that may be asked for once more.
fn misses(policy: AbstainPolicy, signal: &Signal) -> bool {
    signal.abstained.iter().any(|abstention| is_asked_again(policy, abstention))
}

/// An ambiguous answer is not asked for again, because a forged verdict should not get a second
/// chance.
fn is_asked_again(policy: AbstainPolicy, abstention: &Abstention) -> bool {
    abstention.why != AbstainWhy::Ambiguous
        && policy.action(abstention.cause()) == AbstainAction::Group
}

/// The prompts to ask again; `None` for all.
fn missing_prompts(policy: AbstainPolicy, signal: &Signal) -> Option<BTreeSet<String>> {
    let missing = signal.abstained.iter().filter(|abstention| is_asked_again(policy, abstention));
    missing.map(|abstention| abstention.prompt.clone()).collect()
}

/// Replaces the parts of `signal` about `prompts`, or all of it, by a second answer.
fn replace(signal: &mut Signal, answer: Signal, prompts: Option<&BTreeSet<String>>) {
    let mut usage = signal.usage;
    usage.add(&answer.usage);
    match prompts {
        // The whole source failed on the second question, so its first answer is kept.
        Some(_) if answer.abstained.iter().any(|one| one.prompt.is_none()) => {}
        None if answer.part.is_none() && signal.part.is_some() => {}
        None => *signal = answer,
        Some(prompts) => {
            let is_replaced = |name: Option<&str>| name.is_some_and(|name| prompts.contains(name));
            signal.abstained.retain(|one| !is_replaced(one.prompt.as_deref()));
            signal.abstained.extend(answer.abstained);
            let first = signal.part.take();
            signal.part = match (first, answer.part) {
                (Some(Part::Judge(mut first)), Some(Part::Judge(second))) => {
                    first.criteria.retain(|one| !is_replaced(Some(&one.prompt)));
                    first.criteria.extend(second.criteria);
                    first.cached &= second.cached;
                    first.asked.extend(second.asked);
                    Some(counted(Part::Judge(first)))
                }
                (first, second) => second.or(first),
            };
        }
    }
    signal.usage = usage;
}

/// A part of the judge with the sum of its criteria.
fn counted(part: Part) -> Part {
    match part {
        Part::Judge(part) => {
            let points = sum(&part.criteria).unwrap_or(part.points);
            Part::Judge(JudgePart { points, ..part })
        }
        other => other,
    }
}

/// The sum of the points of `criteria`; `None` if it is not finite.
fn sum(criteria: &[CriterionVerdict]) -> Option<Finite> {
    // The fold starts at positive zero, because the sum of no numbers is -0.0.
    Finite::new(criteria.iter().fold(0.0, |sum, criterion| sum + criterion.points.get())).ok()
}

/// Removes the verdict of `prompt` from `signal`. Nothing remains if no other of the source's
/// `prompts` has an answer. `None` removes everything.
pub(crate) fn take_out<'a>(
    signal: &mut Signal,
    prompt: Option<&str>,
    prompts: impl Iterator<Item = &'a str>,
) {
    let (Some(prompt), Some(Part::Judge(part))) = (prompt, &mut signal.part) else {
        signal.part = None;
        return;
    };
    part.criteria.retain(|criterion| criterion.prompt != prompt);
    let abstained = &signal.abstained;
    let is_answered = |name: &str| {
        // Most rollouts are asked all prompts, and have no rubric of their own.
        let is_asked = match part.asked.is_empty() {
            true => name != ROLLOUT_RUBRIC,
            false => part.asked.contains_key(name),
        };
        name != prompt
            && is_asked
            && (part.criteria.iter().any(|criterion| criterion.prompt == name)
                || !abstained.iter().any(|one| one.prompt.as_deref() == Some(name)))
    };
    let mut prompts = prompts;
    signal.part = if prompts.any(is_answered) { signal.part.take().map(counted) } else { None };
}
