//! From the signals of a group's rollouts to their results, with `on_abstain` by cause.
//!
//! Siblings are compared with each other, so they are scored by the same rubrics. A rubric that one
//! of them lacks because its judge could not work is dropped for all. A rollout that could not be
//! judged for its content gets no reward, or the worst verdict, so that a policy gains nothing by
//! being unjudgeable. A deadline or a limit that strikes one sibling while others were answered may
//! be due to its content, so the stricter of both actions counts.

use std::collections::{BTreeMap, BTreeSet};

use guerdon_types::{
    AbstainAction, AbstainCause, AbstainEffect, AbstainPolicy, AbstainReason, Abstention, Finite,
    FusionConfig, OtherGenerationTurn, Problem, ProblemCode, RolloutId, RolloutResult, Signal,
    SourceId, SourceKind, TurnResult, Usage, Word,
};

use crate::asked::{AskedRollout, take_out};
use crate::row::TurnRow;
use crate::stages;
use crate::{Scorer, ScorerSource, SourceVersion, WorstVerdict, aggregate};

/// The longest part of a reason that all rollouts of a group repeat, in characters.
const LONGEST_REASON: usize = 200;

/// The results of a group.
#[derive(Debug)]
#[non_exhaustive]
pub struct SettledGroup {
    /// The result and the cost of each rollout, in their order.
    pub results: Vec<(RolloutResult, Usage)>,
    /// The rubrics that are dropped for the whole group.
    pub dropped: Vec<DroppedRubric>,
}

/// A rubric that was dropped for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DroppedRubric {
    /// The source.
    pub source: SourceId,
    /// The rubric; `None` for the whole source.
    pub prompt: Option<String>,
}

impl Scorer {
    /// Makes the results of the rollouts of one group. A rollout without a group is settled alone.
    #[must_use]
    pub fn settle(&self, group: Vec<AskedRollout>) -> SettledGroup {
        let (mut rollouts, mut turns) = (Vec::new(), Vec::new());
        let (mut signals, mut compared) = (Vec::new(), Vec::new());
        for AskedRollout {
            index,
            id,
            turns: own_turns,
            lengths,
            signals: own,
            compared: other,
            problem,
        } in group
        {
            turns.push((own_turns, lengths));
            rollouts.push((index, id, problem));
            signals.push(own);
            compared.push(other);
        }
        let ids: Vec<RolloutId> = rollouts.iter().map(|(_, id, _)| id.clone()).collect();
        let beside = self.compared().map(|other| {
            let kept: Vec<usize> = (0..self.sources().len())
                .filter(|index| {
                    self.sources().get(*index).is_some_and(|one| one.kind() != SourceKind::Rules)
                })
                .collect();
            let of_self = kept.iter().filter_map(|index| self.sources().get(*index));
            let sources: Vec<ScorerSource> =
                of_self.chain(&other.rules).map(ScorerSource::unobserving).collect();
            let both = signals.iter().zip(compared).map(|(own, other)| {
                let own = kept.iter().filter_map(|index| own.get(*index).cloned());
                own.chain(other).collect()
            });
            let mut signals: Vec<Vec<Vec<Signal>>> = both.collect();
            let (effects, _) = resolve(&sources, &other.fusion, &ids, &mut signals);
            (sources, SettledSignals { signals, effects })
        });
        let (effects, dropped) = resolve(self.sources(), self.fusion(), &ids, &mut signals);
        let mut usages = vec![Usage::default(); rollouts.len()];
        let resolved = SettledSignals { signals, effects };
        let setup = FusionSetup {
            sources: self.sources(),
            fusion: self.fusion(),
            reports_parts: self.reports_parts(),
        };
        let mut results = finish(setup, &turns, resolved, &mut usages);
        if let (Some((sources, resolved)), Some(other)) = (beside, self.compared()) {
            let ignored = &mut vec![Usage::default(); rollouts.len()];
            let setup =
                FusionSetup { sources: &sources, fusion: &other.fusion, reports_parts: false };
            let beside = finish(setup, &turns, resolved, ignored);
            for (turns, other_turns) in results.iter_mut().zip(beside) {
                for (turn, TurnResult { reward, rules, .. }) in turns.iter_mut().zip(other_turns) {
                    let generation = other.generation;
                    turn.beside = Some(OtherGenerationTurn { generation, reward, rules });
                }
            }
        }
        let results = rollouts.into_iter().zip(results).zip(usages).map(
            |(((index, id, problem), turns), usage)| {
                let result = match problem {
                    Some(problem) => unscored(id, turns, problem),
                    None => self.result(index, id, turns),
                };
                (result, usage)
            },
        );
        let mut results: Vec<(RolloutResult, Usage)> = results.collect();
        stages::stratify(self.fusion(), results.iter_mut().map(|(result, _)| result));
        SettledGroup { results, dropped }
    }

    /// Makes the result of a rollout that has no siblings.
    pub(crate) fn settle_alone(&self, asked: AskedRollout) -> (RolloutResult, Usage) {
        let id = asked.id.clone();
        self.settle(vec![asked]).results.pop().unwrap_or_else(|| {
            let problem = Problem::new(ProblemCode::Internal, "scoring this rollout failed");
            (unscored(id, Vec::new(), problem), Usage::default())
        })
    }

    fn result(&self, index: usize, id: RolloutId, turns: Vec<TurnResult>) -> RolloutResult {
        if let Some(problem) = stages::screening(&turns) {
            return unscored(id, turns, problem);
        }
        let rewards: Vec<_> = turns.iter().map(|turn| turn.reward.map(Finite::get)).collect();
        let reward = aggregate(&rewards, self.fusion().aggregate)
            .and_then(|reward| Finite::new(reward).ok());
        match reward {
            Some(reward) => {
                RolloutResult { id, reward: Some(reward), advantage: None, turns, error: None }
            }
            None => {
                let problem = why_unscored(index, &turns);
                unscored(id, turns, problem)
            }
        }
    }
}

/// The effect of abstentions on one turn, in addition to missing numbers.
#[derive(Debug, Default)]
struct TurnEffect {
    void: bool,
    /// The worst verdicts, each with the place of its source.
    worst: Vec<(usize, WorstVerdict)>,
}

/// The signals of each rollout, of each source, on each turn, and the effects on each of its turns.
struct SettledSignals {
    signals: Vec<Vec<Vec<Signal>>>,
    effects: Vec<Vec<TurnEffect>>,
}

/// The sources whose signals are fused, and the fusion.
#[derive(Clone, Copy)]
struct FusionSetup<'a> {
    sources: &'a [ScorerSource],
    fusion: &'a FusionConfig,
    reports_parts: bool,
}

/// The rows of each rollout, fused.
fn finish(
    FusionSetup { sources, fusion, reports_parts }: FusionSetup<'_>,
    turns: &[(Vec<usize>, Vec<usize>)],
    SettledSignals { signals, effects }: SettledSignals,
    usages: &mut [Usage],
) -> Vec<Vec<TurnResult>> {
    let mut results = Vec::with_capacity(turns.len());
    let all = turns.iter().zip(signals).zip(effects).zip(usages);
    for ((((turns, lengths), signals), effects), usage) in all {
        let length = |place: usize| lengths.get(place).copied().unwrap_or_default();
        let row =
            |(place, turn): (usize, &usize)| TurnRow::new(*turn, length(place), reports_parts);
        let mut rows: Vec<TurnRow> = turns.iter().enumerate().map(row).collect();
        for (source, signals) in sources.iter().zip(signals) {
            for (row, signal) in rows.iter_mut().zip(signals) {
                row.enter(source, signal, fusion, usage);
            }
        }
        for (row, TurnEffect { void, worst }) in rows.iter_mut().zip(effects) {
            row.signals.void |= void;
            for (place, verdict) in worst {
                if let Some(source) = sources.get(place) {
                    row.enter_worst(source, verdict);
                }
            }
        }
        results.push(rows.into_iter().map(|row| row.finish(fusion)).collect());
    }
    results
}

/// The place of a source, and one of its prompts; `None` for the whole source.
type Unit = (usize, Option<String>);

/// The absences of a group, by what is absent.
struct Absences {
    /// The actions on abstentions of each source; `None` for one whose abstentions are not treated
    /// by cause.
    policies: Vec<Option<AbstainPolicy>>,
    /// The number of rollouts.
    rollouts: usize,
    /// The number of rollouts that lack each unit.
    lacking: BTreeMap<Unit, usize>,
}

impl Absences {
    fn of(policies: Vec<Option<AbstainPolicy>>, signals: &[Vec<Vec<Signal>>]) -> Self {
        let mut lacking: BTreeMap<Unit, usize> = BTreeMap::new();
        // A rollout that cannot be scored has no signals, and is compared with no other.
        let asked = || signals.iter().filter(|signals| !signals.is_empty());
        for signals in asked() {
            let mut units: BTreeSet<Unit> = BTreeSet::new();
            for (place, signals) in by_cause(&policies, signals) {
                let abstained = signals.iter().flat_map(|signal| &signal.abstained);
                units.extend(abstained.map(|one| (place, one.prompt.clone())));
            }
            for unit in units {
                *lacking.entry(unit).or_default() += 1;
            }
        }
        let rollouts = asked().count();
        Self { policies, rollouts, lacking }
    }

    /// The action on an abstention of the source at `place`.
    fn action(&self, place: usize, abstention: &Abstention) -> AbstainAction {
        let Some(Some(policy)) = self.policies.get(place) else { return AbstainAction::Skip };
        let own = policy.action(abstention.cause());
        let lack = |prompt| self.lacking.get(&(place, prompt)).copied().unwrap_or_default();
        // A rollout that lacks the whole source lacks each of its prompts.
        let mut lacking = lack(abstention.prompt.clone());
        if abstention.prompt.is_some() {
            lacking += lack(None);
        }
        if abstention.is_of_a_limit() && lacking < self.rollouts {
            return own.max(policy.action(AbstainCause::Content));
        }
        own
    }
}

/// The signals of one rollout, with the places of their sources, of the sources whose abstentions
/// are treated by cause.
fn by_cause<'a>(
    policies: &'a [Option<AbstainPolicy>],
    signals: &'a [Vec<Signal>],
) -> impl Iterator<Item = (usize, &'a Vec<Signal>)> {
    let all = policies.iter().zip(signals).enumerate();
    all.filter_map(|(place, (policy, signals))| policy.map(|_| (place, signals)))
}

/// Applies `on_abstain` by cause to the signals of a group: `signals` of each rollout, of
/// each source, on each turn. Returns the effects on each turn of each rollout, and the rubrics that
/// were dropped.
fn resolve(
    sources: &[ScorerSource],
    fusion: &FusionConfig,
    ids: &[RolloutId],
    signals: &mut [Vec<Vec<Signal>>],
) -> (Vec<Vec<TurnEffect>>, Vec<DroppedRubric>) {
    let turns = |signals: &Vec<Vec<Signal>>| signals.iter().map(Vec::len).max().unwrap_or(0);
    let mut effects: Vec<Vec<TurnEffect>> = signals
        .iter()
        .map(|signals| (0..turns(signals)).map(|_| TurnEffect::default()).collect())
        .collect();
    if !sources.iter().any(|source| source.policy(fusion).is_some()) {
        return (effects, Vec::new());
    }
    let policies = sources.iter().map(|source| source.policy(fusion)).collect();
    let absences = Absences::of(policies, signals);
    let dropped = dropped(&absences, sources, ids, signals);
    for (signals, effects) in signals.iter_mut().zip(&mut effects) {
        for (place, (source, signals)) in sources.iter().zip(signals).enumerate() {
            if source.policy(fusion).is_none() {
                continue;
            }
            let dropped: Vec<&Abstention> = dropped
                .iter()
                .filter(|((of, _), _)| *of == place)
                .map(|(_, shared)| shared)
                .collect();
            for (signal, effect) in signals.iter_mut().zip(effects.iter_mut()) {
                apply(&absences, (place, source), signal, effect);
                drop_rubrics(&absences, (place, source), signal, &dropped);
            }
        }
    }
    let named = dropped.iter().filter_map(|((place, prompt), _)| {
        let source = sources.get(*place)?.id().clone();
        Some(DroppedRubric { source, prompt: prompt.clone() })
    });
    (effects, named.collect())
}

/// The rubrics that are dropped for the whole group, each with the abstention that all its rollouts
/// get. Of rules nothing is dropped: they hold guardrails.
fn dropped(
    absences: &Absences,
    sources: &[ScorerSource],
    ids: &[RolloutId],
    signals: &[Vec<Vec<Signal>>],
) -> BTreeMap<Unit, Abstention> {
    let mut dropped = BTreeMap::new();
    if absences.rollouts < 2 {
        return dropped;
    }
    for (id, signals) in ids.iter().zip(signals) {
        for (place, signals) in by_cause(&absences.policies, signals) {
            if sources.get(place).is_none_or(|source| source.kind() == SourceKind::Rules) {
                continue;
            }
            for abstention in signals.iter().flat_map(|signal| &signal.abstained) {
                let unit = (place, abstention.prompt.clone());
                if absences.action(place, abstention) != AbstainAction::Group
                    || dropped.contains_key(&unit)
                {
                    continue;
                }
                let lacking = absences.lacking.get(&unit).copied().unwrap_or_default();
                let what = abstention
                    .prompt
                    .as_ref()
                    .map_or_else(|| "the source".to_owned(), |prompt| format!("prompt `{prompt}`"));
                let reason: String = abstention.detail.chars().take(LONGEST_REASON).collect();
                let detail = format!(
                    "{what} is dropped for the whole group, because {lacking} of {} rollouts lack it, first `{id}`: {reason}",
                    absences.rollouts
                );
                let effect = Some(Word::Known(AbstainEffect::Dropped));
                dropped.insert(unit, Abstention { detail, effect, ..abstention.clone() });
            }
        }
    }
    dropped
}

/// Applies the actions on the abstentions of one signal, without those that need the whole group.
fn apply(
    absences: &Absences,
    (place, source): (usize, &ScorerSource),
    signal: &mut Signal,
    effect: &mut TurnEffect,
) {
    let mut worst: BTreeSet<Option<String>> = BTreeSet::new();
    for abstention in &mut signal.abstained {
        match absences.action(place, abstention) {
            AbstainAction::Skip | AbstainAction::Group => {}
            AbstainAction::Null => effect.void = true,
            AbstainAction::Worst => match source.worst(abstention.prompt.as_deref()) {
                None => effect.void = true,
                Some(verdict) => {
                    abstention.effect = Some(Word::Known(AbstainEffect::Worst));
                    abstention.detail.push_str("; the worst verdict is counted");
                    if worst.insert(abstention.prompt.clone()) {
                        effect.worst.push((place, verdict));
                    }
                }
            },
        }
    }
    if worst.is_empty() {
        return;
    }
    let prompts = prompts(source);
    for prompt in worst {
        take_out(signal, prompt.as_deref(), prompts.iter().map(String::as_str));
    }
}

/// Takes the dropped rubrics out of a signal.
fn drop_rubrics(
    absences: &Absences,
    (place, source): (usize, &ScorerSource),
    signal: &mut Signal,
    dropped: &[&Abstention],
) {
    if dropped.is_empty() {
        return;
    }
    let prompts = prompts(source);
    for shared in dropped {
        // The shared reason replaces the reasons of single rollouts, which would differ between
        // siblings. An abstention with an effect of its own stays.
        signal.abstained.retain(|one| {
            one.prompt != shared.prompt || absences.action(place, one) > AbstainAction::Group
        });
        signal.abstained.push((*shared).clone());
        take_out(signal, shared.prompt.as_deref(), prompts.iter().map(String::as_str));
    }
}

/// The names of a source's prompts.
fn prompts(source: &ScorerSource) -> Vec<String> {
    match source.version() {
        SourceVersion::Texts(texts) => texts.into_keys().collect(),
        SourceVersion::Model { .. } => Vec::new(),
    }
}

fn unscored(id: RolloutId, turns: Vec<TurnResult>, problem: Problem) -> RolloutResult {
    RolloutResult { id, reward: None, advantage: None, turns, error: Some(problem) }
}

fn why_unscored(index: usize, turns: &[TurnResult]) -> Problem {
    let missing = turns.iter().find(|turn| turn.reward.is_none());
    let detail = missing.map_or_else(
        || "the turns' rewards do not add up to a finite number".to_owned(),
        |turn| {
            let audit = Some(Word::Known(AbstainEffect::Audit));
            let whys: Vec<_> = turn
                .abstained
                .iter()
                .filter(|abstention| abstention.effect != audit)
                .map(|a| format!("{} abstained ({}: {})", a.source, a.why.as_str(), a.detail))
                .collect();
            let whys = if whys.is_empty() {
                "the fusion gave no finite number".to_owned()
            } else {
                whys.join("; ")
            };
            format!("turn {} has no reward: {whys}", turn.index)
        },
    );
    let unreadable = |abstention: &Abstention| {
        abstention.effect != Some(Word::Known(AbstainEffect::Audit))
            && abstention.reason.as_ref().and_then(Word::known) == Some(AbstainReason::Unreadable)
    };
    if turns.iter().any(|turn| turn.reward.is_none() && turn.abstained.iter().any(unreadable)) {
        return Problem::new(ProblemCode::InvalidRequest, detail)
            .pointer(format!("/rollouts/{index}/messages"))
            .hint(
                "sending it again does not help; mask this rollout or change its messages. For \
                 roles that a chat template refuses, see `same_role` and `leading_assistant` in \
                 guerdon.model.toml",
            );
    }
    Problem::new(ProblemCode::Unscored, detail)
        .hint("mask this rollout, or send it again; the parts that were scored are in `turns`")
}
