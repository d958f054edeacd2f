//! Evaluates all rules on one turn, in three-valued logic: a rule hits, misses, or abstains if a
//! missing fact would have decided.

mod matching;
mod outcome;
mod regexes;
mod scope;
mod tools;

use std::time::Instant;

use guerdon_types::{Finite, RuleAbstention, RuleHit, RulesPart, SuppressedMatch};

use outcome::{HitText, MAX_SPANS, MatchOutcome, SuppressedMatches};
pub(crate) use outcome::{RuleOutcome, RuleVerdict};
pub(crate) use scope::{DialogueTexts, TurnView};

use crate::engine::compiled_rule::CompiledRule;
use crate::engine::expr::{ExprFacts, Truth, lookup};
use crate::engine::plan::RulePlan;
use crate::engine::prefilter::Candidates;
use crate::syntax::pack::{MessageSelector, TurnSelector};

/// The result of all rules on one turn.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Evaluation {
    /// The part that is sent to the client.
    pub part: RulesPart,
    /// The number of hits, shadow rules included, that were found only because of folding. A rise
    /// means that the policy is learning to evade the rules.
    pub disguised: u32,
}

/// Runs every rule of `plan` that may hit. Returns nothing if `deadline` or the limit of the
/// dialogue passes before the last rule has run.
pub(crate) fn evaluate(
    plan: &RulePlan,
    turn: &TurnView<'_, '_>,
    deadline: Option<Instant>,
) -> Option<Evaluation> {
    let clock = turn.clock();
    clock.add_deadline(deadline);
    if clock.is_over() {
        return None;
    }
    let candidates = turn.candidates();
    let verdicts = candidates.iter().map_while(|index| {
        let rule = plan.rules.get(index)?;
        (!clock.is_over()).then(|| (rule, turn.outcome_of(index, rule)))
    });
    let evaluation = gather(verdicts);
    // A scan that stopped half-way has found too little.
    (!clock.has_stopped()).then_some(evaluation)
}

/// Adds up verdicts in the order of the rules.
pub(crate) fn gather<'p>(
    outcomes: impl Iterator<Item = (&'p CompiledRule, RuleOutcome)>,
) -> Evaluation {
    let mut part = RulesPart::default();
    let (mut points, mut disguised) = (0.0, 0);
    for (rule, RuleOutcome { verdict, suppressed }) in outcomes {
        part.suppressed.extend(suppressed);
        match verdict {
            RuleVerdict::Miss => {}
            RuleVerdict::Unknown(detail) => {
                part.abstained.push(RuleAbstention {
                    pack: rule.pack.clone(),
                    rule: rule.id.clone(),
                    detail,
                    shadow: rule.shadow,
                });
            }
            RuleVerdict::Hit(hit, was_disguised) => {
                disguised += u32::from(was_disguised);
                if rule.shadow {
                    part.shadow.push(hit);
                } else {
                    points += hit.points.get();
                    part.hits.push(hit);
                }
            }
        }
    }
    part.points = Finite::new(points).unwrap_or_default();
    Evaluation { part, disguised }
}

impl TurnView<'_, '_> {
    /// The rules that may hit.
    pub(crate) fn candidates(&self) -> Candidates {
        let mut candidates = Candidates::default();
        self.plan().prefilter.candidates(self.scored(), &mut candidates);
        candidates
    }

    /// The verdict of `rule`, the rule at `index` of the plan, on the scored turn, with the matches
    /// that did not count.
    pub(crate) fn outcome_of(&self, index: usize, rule: &CompiledRule) -> RuleOutcome {
        let mut unknown = None;
        for condition in &rule.when {
            match lookup(self.context(), &condition.path) {
                Some(value) if condition.values.iter().any(|wanted| scope::same(wanted, value)) => {
                }
                Some(_) => return RuleVerdict::Miss.into(),
                None => {
                    unknown.get_or_insert_with(|| {
                        format!("context.{} is missing", condition.path.join("."))
                    });
                }
            }
        }
        let mut outcome = self.outcome(index, rule);
        let suppressed = suppressed(rule, std::mem::take(&mut outcome.suppressed));
        if !outcome.yes && outcome.unknown.is_none() && suppressed.is_none() {
            return RuleVerdict::Miss.into();
        }
        match rule.condition.as_ref().map(|expr| expr.truth(ExprFacts::of(self.context()))) {
            Some(Truth::No) => return RuleVerdict::Miss.into(),
            Some(Truth::Unknown(why)) => unknown = unknown.or(Some(why)),
            Some(Truth::Yes) | None => {}
        }
        if !outcome.yes && outcome.unknown.is_none() {
            return RuleOutcome { verdict: RuleVerdict::Miss, suppressed };
        }
        if !outcome.yes {
            unknown = unknown.or(outcome.unknown.take());
        }
        let verdict = match unknown {
            Some(why) => RuleVerdict::Unknown(why),
            None => hit(rule, outcome),
        };
        RuleOutcome { verdict, suppressed }
    }

    fn outcome(&self, index: usize, rule: &CompiledRule) -> MatchOutcome {
        let any = rule.on.turn == TurnSelector::Any;
        let mut sum = MatchOutcome::no();
        self.texts(rule.on, |seen| {
            if seen.only_calls && !rule.matcher.reads_calls() {
                return;
            }
            // The prefilter is cheaper than the matcher. Rules on the scored turn have passed it
            // already.
            if rule.on == MessageSelector::SCORED || self.plan().prefilter.may_hit(index, seen.text)
            {
                let found = self.run(&rule.matcher, &seen);
                if any {
                    sum.join(found);
                } else {
                    sum = found;
                }
            }
        });
        sum
    }
}

/// The matches of a rule that did not count, if there are any.
fn suppressed(rule: &CompiledRule, matches: SuppressedMatches) -> Option<SuppressedMatch> {
    let SuppressedMatches { why, mut spans } = matches;
    let why = why?;
    spans.sort_unstable();
    spans.dedup();
    spans.truncate(MAX_SPANS);
    Some(SuppressedMatch {
        pack: rule.pack.clone(),
        rule: rule.id.clone(),
        suppressed_by: why.act.name().to_owned(),
        cue: why.cue,
        spans,
    })
}

fn hit(rule: &CompiledRule, outcome: MatchOutcome) -> RuleVerdict {
    #[expect(clippy::cast_precision_loss, reason = "a turn has fewer hits than 2^52")]
    let times = if rule.per_hit { outcome.hits.max(1) as f64 } else { 1.0 };
    let points = match rule.cap {
        Some(cap) if cap < 0.0 => (rule.points * times).max(cap),
        Some(cap) => (rule.points * times).min(cap),
        None => rule.points * times,
    };
    let scored = outcome.places.iter().filter(|place| place.text == HitText::ScoredTurn);
    let mut spans: Vec<[usize; 2]> = scored.map(|place| place.span).collect();
    if spans.len() > 1 {
        spans.sort_unstable();
        spans.dedup();
        spans.truncate(MAX_SPANS);
    }
    let mut details = outcome.details;
    details.dedup();
    details.truncate(3);
    let hit = RuleHit {
        pack: rule.pack.clone(),
        rule: rule.id.clone(),
        points: Finite::new(points).unwrap_or_default(),
        spans,
        detail: (!details.is_empty()).then(|| details.join("; ")),
        veto: rule.veto,
    };
    RuleVerdict::Hit(hit, outcome.disguised)
}
