//! A rollout whose sources have answered, and that has no reward yet; and the second question about
//! rollouts of a group that lack a rubric.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use futures_util::future::join_all;
use guerdon_types::{
    AbstainAction, AbstainPolicy, AbstainWhy, Abstention, CriterionVerdict, Finite, JudgePart,
    OnAbstain, Part, Problem, Rollout, RolloutId, Signal,
};

use crate::source_signals::signals;
use crate::{Ask, Channel, RewardSource, Scorer};

/// A rollout with the signals of all sources. [`Scorer::settle`] makes its result.
#[derive(Debug)]
pub struct AskedRollout {
    /// The place in the request.
    pub(crate) index: usize,
    pub(crate) id: RolloutId,
    /// The indices of the scored messages.
    pub(crate) turns: Vec<usize>,
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
        let (turns, signals, compared) = (Vec::new(), Vec::new(), Vec::new());
        // The problem names the place, if that matters.
        Self { index: 0, id, turns, signals, compared, problem: Some(problem) }
    }
}

impl Scorer {
    /// True if the reward of a rollout can depend on the abstentions of its group: its rollouts are
    /// then [settled](Self::settle) together.
    #[must_use]
    pub fn settles_groups(&self) -> bool {
        matches!(self.fusion().on_abstain, OnAbstain::ByCause(_))
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
        let asked = self.sources().iter().map(|source| signals(source.as_ref(), ask));
        let signals = join_all(asked).await;
        let compared = match self.compared() {
            Some(other) => other.signals(ask).await,
            None => Vec::new(),
        };
        AskedRollout { index, id, turns, signals, compared, problem: None }
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
    }

    /// True if a source is to be asked once more about this rollout before its group is settled.
    #[must_use]
    pub fn wants_second_ask(&self, asked: &AskedRollout) -> bool {
        self.sources()
            .iter()
            .zip(&asked.signals)
            .any(|(source, signals)| signals.iter().any(|one| self.misses(source.as_ref(), one)))
    }

    /// Asks the sources once more about the turns of a rollout that lack something for which the
    /// whole group would lose it.
    pub async fn ask_again(
        &self,
        asked: &mut AskedRollout,
        rollout: &Rollout,
        deadline: Option<Instant>,
    ) {
        let AskedRollout { turns, signals: all, .. } = asked;
        for (source, signals) in self.sources().iter().zip(all) {
            // The places of turns that lack the same.
            let mut missing: BTreeMap<Option<BTreeSet<String>>, Vec<usize>> = BTreeMap::new();
            for (place, signal) in signals.iter().enumerate() {
                if self.misses(source.as_ref(), signal) {
                    missing.entry(self.missing_prompts(signal)).or_default().push(place);
                }
            }
            let turns: &Vec<usize> = turns;
            let again = missing.iter().map(|(prompts, places)| async move {
                let turns: Vec<usize> =
                    places.iter().filter_map(|place| turns.get(*place).copied()).collect();
                let ask = self.question(rollout, &turns, deadline);
                let ask = Ask { prompts: prompts.as_ref(), ..ask };
                self::signals(source.as_ref(), ask).await
            });
            for ((prompts, places), answers) in missing.iter().zip(join_all(again).await) {
                for (place, answer) in places.iter().zip(answers) {
                    if let Some(signal) = signals.get_mut(*place) {
                        replace(signal, answer, prompts.as_ref());
                    }
                }
            }
        }
    }

    fn policy(&self) -> Option<AbstainPolicy> {
        match self.fusion().on_abstain {
            OnAbstain::ByCause(policy) => Some(policy),
            OnAbstain::Skip | OnAbstain::Null => None,
        }
    }

    /// True if `signal` of `source` lacks something that may be asked for once more. Rules are not:
    /// they would decide the same. An ambiguous answer is not, because a forged verdict should not
    /// get a second chance.
    fn misses(&self, source: &dyn RewardSource, signal: &Signal) -> bool {
        matches!(source.channel(), Channel::Judge | Channel::Other)
            && signal.abstained.iter().any(|abstention| self.is_asked_again(abstention))
    }

    fn is_asked_again(&self, abstention: &Abstention) -> bool {
        abstention.why != AbstainWhy::Ambiguous
            && self
                .policy()
                .is_some_and(|policy| policy.action(abstention.cause()) == AbstainAction::Group)
    }

    /// The prompts to ask again; `None` for all.
    fn missing_prompts(&self, signal: &Signal) -> Option<BTreeSet<String>> {
        let missing = signal.abstained.iter().filter(|abstention| self.is_asked_again(abstention));
        missing.map(|abstention| abstention.prompt.clone()).collect()
    }
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
        name != prompt
            && (part.criteria.iter().any(|criterion| criterion.prompt == name)
                || !abstained.iter().any(|one| one.prompt.as_deref() == Some(name)))
    };
    let mut prompts = prompts;
    signal.part = if prompts.any(is_answered) { signal.part.take().map(counted) } else { None };
}
