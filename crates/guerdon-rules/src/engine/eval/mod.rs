//! One turn against all rules. Three-valued: a rule hits, misses, or abstains where a missing fact would have decided.

mod outcome;
mod scene;

use std::ops::Range;
use std::time::Instant;

use guerdon_types::{Finite, RuleAbstained, RuleHit, RulesPart};

use outcome::Outcome;
pub(crate) use outcome::Verdict;
use scene::Seen;
pub(crate) use scene::{Dialogue, Scene};

use crate::engine::checks;
use crate::engine::compiled_rule::{CompiledRule, Matcher};
use crate::engine::expr::{Expr, Facts, Truth, lookup};
use crate::engine::plan::Plan;
use crate::engine::prefilter::Candidates;
use crate::engine::scan::Text;
use crate::syntax::pack::{Across, Language, On, Turn};
use crate::text::literals::leftmost_longest;
use crate::text::near;
use crate::text::number::{Capture, NumberSpec};

/// What the rules say of a turn.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Evaluation {
    /// As it goes over the wire.
    pub part: RulesPart,
    /// The hits, counted and on trial, that only folding found: something in them was written in a way that hides it. A
    /// rise means that the policy is learning to dodge.
    pub disguised: u32,
}

/// Runs every rule of `plan` that may hit. Returns nothing if `deadline` passes before the last rule has run.
pub(crate) fn evaluate(
    plan: &Plan,
    scene: &Scene<'_, '_>,
    deadline: Option<Instant>,
) -> Option<Evaluation> {
    let is_late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    if is_late() {
        return None;
    }
    let candidates = scene.candidates();
    let mut late = false;
    let verdicts = candidates.iter().map_while(|index| {
        late = is_late();
        let rule = plan.rules.get(index)?;
        (!late).then(|| (rule, scene.verdict(index, rule)))
    });
    let evaluation = gather(verdicts);
    (!late).then_some(evaluation)
}

/// Adds up verdicts, in the order of the rules.
pub(crate) fn gather<'p>(
    verdicts: impl Iterator<Item = (&'p CompiledRule, Verdict)>,
) -> Evaluation {
    let mut part = RulesPart::default();
    let (mut points, mut disguised) = (0.0, 0);
    for (rule, verdict) in verdicts {
        match verdict {
            Verdict::Miss => {}
            Verdict::Unknown(detail) => {
                let (pack, rule) = (rule.pack.clone(), rule.id.clone());
                part.abstained.push(RuleAbstained { pack, rule, detail });
            }
            Verdict::Hit(hit, was_disguised) => {
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

/// A hit reports no more places than this; all of them count.
const MAX_SPANS: usize = 64;

impl<'a> Scene<'_, 'a> {
    /// The rules that may hit.
    pub(crate) fn candidates(&self) -> Candidates {
        let mut candidates = Candidates::default();
        self.plan().triggers.candidates(self.scored(), &mut candidates);
        candidates
    }

    /// What `rule`, which is the plan's rule `index`, says of the scored turn.
    pub(crate) fn verdict(&self, index: usize, rule: &CompiledRule) -> Verdict {
        let mut unknown = None;
        for condition in &rule.when {
            match lookup(self.context(), &condition.path) {
                Some(value) if condition.values.iter().any(|wanted| scene::same(wanted, value)) => {
                }
                Some(_) => return Verdict::Miss,
                None => {
                    unknown.get_or_insert_with(|| {
                        format!("context.{} is missing", condition.path.join("."))
                    });
                }
            }
        }
        let mut outcome = self.outcome(index, rule);
        if !outcome.yes && outcome.unknown.is_none() {
            return Verdict::Miss;
        }
        match rule.condition.as_ref().map(|expr| expr.truth(Facts::of(self.context()))) {
            Some(Truth::No) => return Verdict::Miss,
            Some(Truth::Unknown(why)) => unknown = unknown.or(Some(why)),
            Some(Truth::Yes) | None => {}
        }
        if !outcome.yes {
            unknown = unknown.or(outcome.unknown.take());
        }
        match unknown {
            Some(why) => Verdict::Unknown(why),
            None => hit(rule, outcome),
        }
    }

    fn outcome(&self, index: usize, rule: &CompiledRule) -> Outcome {
        let any = rule.on.turn == Turn::Any;
        let mut sum = Outcome::no();
        self.texts(rule.on, |seen| {
            // Cheaper than the test, and the same answer. Rules on the scored turn were asked already.
            if rule.on == On::SCORED || self.plan().triggers.may_hit(index, seen.text) {
                let found = self.test(&rule.matcher, &seen);
                if any {
                    sum.join(found);
                } else {
                    sum = found;
                }
            }
        });
        sum
    }

    fn test(&self, matcher: &Matcher, seen: &Seen<'_, 'a>) -> Outcome {
        match matcher {
            Matcher::Literals { leaf, fold, word, near, count } => {
                let scan = seen.text.scan();
                let found = if *fold { &scan.found } else { &scan.raw_found };
                let view = seen.text.view(*fold);
                let fits = |range: &Range<usize>| {
                    (!word || near::is_whole(view, range)) && near.holds(view, range, found)
                };
                let mut hits = found.of(*leaf).filter(fits);
                let mut outcome = Outcome::no();
                let Some(first) = hits.next() else { return outcome };
                match hits.next() {
                    None => seen.add(&mut outcome, *fold, &first, None),
                    Some(second) => {
                        let mut ranges: Vec<Range<usize>> =
                            [first, second].into_iter().chain(hits).collect();
                        leftmost_longest(&mut ranges);
                        ranges.iter().for_each(|range| seen.add(&mut outcome, *fold, range, None));
                    }
                }
                outcome.at_least(*count)
            }
            Matcher::Regex { pattern, fold, near, condition, count } => {
                let scan = seen.text.scan();
                let found = if *fold { &scan.found } else { &scan.raw_found };
                let view = seen.text.view(*fold);
                let mut outcome = Outcome::no();
                pattern.find(view, found, |range| match condition {
                    _ if !near.holds(view, &range, found) => {}
                    None => seen.add(&mut outcome, *fold, &range, None),
                    Some(expr) => {
                        let written = pattern.value(view, &range).unwrap_or_default();
                        let written: String = written.chars().filter(|c| *c != ',').collect();
                        if let Ok(value) = written.parse::<f64>() {
                            let facts = Facts::of(self.context()).with_value(value);
                            let told = || value.to_string();
                            keep(&mut outcome, seen, (*fold, &range), told, (expr, facts));
                        }
                    }
                });
                outcome.at_least(*count)
            }
            Matcher::Number { spec, condition, count } => {
                let scan = seen.text.scan();
                let view = seen.text.view(true);
                let mut outcome = Outcome::no();
                for capture in
                    spec.captures(view, &scan.numbers, &self.plan().scanner.units, &scan.found)
                {
                    let told = || match capture.unit {
                        Some(unit) => format!("{} {unit}", capture.value),
                        None => capture.value.to_string(),
                    };
                    let was = outcome.hits;
                    match condition {
                        None => seen.add(&mut outcome, true, &capture.bytes, Some(told())),
                        Some(expr) => {
                            let facts = Facts::of(self.context()).with_capture(&capture);
                            keep(&mut outcome, seen, (true, &capture.bytes), told, (expr, facts));
                        }
                    }
                    outcome.disguised |= capture.spaced && outcome.hits > was;
                }
                outcome.at_least(*count)
            }
            Matcher::All { matchers, count } => {
                let mut sum = Outcome { yes: true, ..Outcome::no() };
                for matcher in matchers {
                    let next = self.test(matcher, seen);
                    if !next.yes && next.unknown.is_none() {
                        return Outcome::no();
                    }
                    sum.yes &= next.yes;
                    sum.absorb(next);
                }
                sum.at_least_if_found(*count)
            }
            Matcher::Any { matchers, count } => {
                let mut sum = Outcome::no();
                for matcher in matchers {
                    sum.join(self.test(matcher, seen));
                }
                sum.at_least_if_found(*count)
            }
            Matcher::Not(matcher) => {
                let inner = self.test(matcher, seen);
                match inner.unknown {
                    Some(why) if !inner.yes => Outcome::unknown(why),
                    _ => Outcome { yes: !inner.yes, ..Outcome::no() },
                }
            }
            Matcher::Length { of, min, max } => {
                seen.measured(false, checks::length(&seen.text.original, *of, *min, *max))
            }
            Matcher::Unclosed => seen.measured(true, checks::unclosed(seen.text.view(true))),
            Matcher::Json => seen.measured(false, checks::no_json(&seen.text.original)),
            Matcher::Prices { numbers, prices } => {
                let captures = self.captures(numbers, seen.text);
                let view = seen.text.view(true);
                match prices.broken(view, &captures, &seen.text.scan().found, self.context()) {
                    Ok(found) => seen.measured(true, found),
                    Err(why) => Outcome::unknown(why),
                }
            }
            Matcher::Arithmetic { numbers, tolerance } => {
                let captures = self.captures(numbers, seen.text);
                seen.measured(true, checks::wrong_sums(seen.text.view(true), &captures, *tolerance))
            }
            Matcher::UnsupportedNumbers { numbers, least } => {
                let captures = self.captures(numbers, seen.text);
                let known: Vec<f64> = self
                    .all_before(seen)
                    .flat_map(|text| text.scan().numbers.iter().map(|number| number.value))
                    .collect();
                seen.measured(true, checks::unsupported(&captures, *least, &known, self.context()))
            }
            Matcher::Repetition { across: Across::Within, of } => {
                seen.measured(true, checks::repeats_within(seen.text.view(true), *of))
            }
            Matcher::Repetition { across: Across::Previous, of } => {
                let earlier = self.before(seen);
                let earlier: Vec<&str> = earlier.iter().map(|text| text.view(true)).collect();
                seen.measured(true, checks::repeats_earlier(seen.text.view(true), &earlier, *of))
            }
            Matcher::LanguageMix { language, mix } => {
                let language = match language.map_or_else(|| self.language(), Ok) {
                    Ok(language) => language,
                    Err(why) => return Outcome::unknown(why),
                };
                let is_name = |at| seen.text.original_at(at).is_some_and(char::is_uppercase);
                let found = checks::language_mix(seen.text.view(true), language, mix, is_name);
                seen.measured(true, found)
            }
        }
    }

    fn captures<'t>(&'t self, numbers: &'t NumberSpec, text: &'t Text<'a>) -> Vec<Capture<'t>> {
        let scan = text.scan();
        numbers
            .captures(text.view(true), &scan.numbers, &self.plan().scanner.units, &scan.found)
            .collect()
    }

    fn language(&self) -> Result<Language, String> {
        match self.context().get("language") {
            None | Some(serde_json::Value::Null) => Err("context.language is missing".into()),
            Some(value) => value
                .as_str()
                .and_then(Language::parse)
                .ok_or_else(|| "context.language is neither \"zh\" nor \"en\"".into()),
        }
    }
}

/// Keeps a capture if the expression is true of it.
fn keep(
    outcome: &mut Outcome,
    seen: &Seen<'_, '_>,
    (fold, bytes): (bool, &Range<usize>),
    told: impl FnOnce() -> String,
    (expr, facts): (&Expr, Facts<'_>),
) {
    match expr.truth(facts) {
        Truth::Yes => seen.add(outcome, fold, bytes, Some(told())),
        Truth::No => {}
        Truth::Unknown(why) => {
            outcome.unknown.get_or_insert(why);
        }
    }
}

fn hit(rule: &CompiledRule, outcome: Outcome) -> Verdict {
    #[expect(clippy::cast_precision_loss, reason = "a turn has fewer hits than 2^52")]
    let times = if rule.per_hit { outcome.hits.max(1) as f64 } else { 1.0 };
    let points = match rule.cap {
        Some(cap) if cap < 0.0 => (rule.points * times).max(cap),
        Some(cap) => (rule.points * times).min(cap),
        None => rule.points * times,
    };
    let mut spans = outcome.spans;
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
    Verdict::Hit(hit, outcome.disguised)
}
