//! One turn against all rules. Three-valued: a rule hits, misses, or abstains where a missing fact would have decided.

mod scene;

use std::ops::Range;

use guerdon_types::{Finite, RuleAbstained, RuleHit, RulesPart};

use scene::{Outcome, Text};
pub(crate) use scene::{Scene, Verdict};

use crate::checks;
use crate::expr::{Expr, Facts, Truth, lookup};
use crate::number;
use crate::pack::{Across, Language, Turn};
use crate::plan::{CompiledRule, Matcher, Plan, leftmost_longest};

/// Runs every rule of `plan`.
pub(crate) fn evaluate(plan: &Plan, scene: &Scene<'_>) -> RulesPart {
    let mut part = RulesPart::default();
    let mut points = 0.0;
    for rule in &plan.rules {
        match scene.verdict(rule) {
            Verdict::Miss => {}
            Verdict::Unknown(detail) => {
                let (pack, rule) = (rule.pack.clone(), rule.id.clone());
                part.abstained.push(RuleAbstained { pack, rule, detail });
            }
            Verdict::Hit(hit) if rule.shadow => part.shadow.push(hit),
            Verdict::Hit(hit) => {
                points += hit.points.get();
                part.hits.push(hit);
            }
        }
    }
    part.points = Finite::new(points).unwrap_or_default();
    part
}

/// A hit reports no more places than this; all of them count.
const MAX_SPANS: usize = 64;

impl<'a> Scene<'a> {
    /// What `rule` says of the scored turn.
    pub(crate) fn verdict(&self, rule: &CompiledRule) -> Verdict {
        let mut unknown = None;
        for condition in &rule.when {
            match lookup(self.context(), &condition.path) {
                Some(value) if condition.values.iter().any(|wanted| scene::same(wanted, value)) => {}
                Some(_) => return Verdict::Miss,
                None => {
                    unknown.get_or_insert_with(|| format!("context.{} is missing", condition.path.join(".")));
                }
            }
        }
        let mut outcome = self.outcome(rule);
        if !outcome.yes && outcome.unknown.is_none() {
            return Verdict::Miss;
        }
        let facts = Facts { context: self.context(), value: None, unit: None, percent_off: None };
        match rule.condition.as_ref().map(|expr| expr.truth(facts)) {
            Some(Truth::No) => return Verdict::Miss,
            Some(Truth::Unknown(why)) => unknown = unknown.or(Some(why)),
            Some(Truth::Yes) | None => {}
        }
        if !outcome.yes {
            unknown = unknown.or(outcome.unknown.take());
        }
        match unknown {
            Some(why) => Verdict::Unknown(why),
            None => Verdict::Hit(hit(rule, outcome)),
        }
    }

    fn outcome(&self, rule: &CompiledRule) -> Outcome {
        let texts = self.texts(rule.on);
        if rule.on.turn != Turn::Any {
            return texts.first().map_or_else(Outcome::no, |text| self.test(&rule.matcher, text));
        }
        let mut sum = Outcome::no();
        for text in texts {
            sum.join(self.test(&rule.matcher, text));
        }
        sum
    }

    fn test(&self, matcher: &Matcher, text: &Text<'a>) -> Outcome {
        match matcher {
            Matcher::Literals { leaf, fold, word, count } => {
                let found = text.literals(self.plan(), *fold, *leaf);
                let view = text.view(*fold);
                let whole =
                    found.into_iter().filter(|range| !word || number::is_whole(view.text(), range)).collect();
                text.found(*fold, leftmost_longest(whole)).at_least(*count)
            }
            Matcher::Regex { regex, fold, condition: None, count } => {
                let ranges = regex.find_iter(text.view(*fold).text()).map(|hit| hit.range()).collect();
                text.found(*fold, ranges).at_least(*count)
            }
            Matcher::Regex { regex, fold, condition: Some(expr), count } => {
                let mut outcome = Outcome::no();
                for captures in regex.captures_iter(text.view(*fold).text()) {
                    let (Some(whole), Some(value)) = (captures.get(0), captures.name("value")) else {
                        continue;
                    };
                    let written: String = value.as_str().chars().filter(|c| *c != ',').collect();
                    let Ok(value) = written.parse::<f64>() else {
                        continue;
                    };
                    let facts =
                        Facts { context: self.context(), value: Some(value), unit: None, percent_off: None };
                    keep(&mut outcome, text, *fold, whole.range(), value.to_string(), expr, facts);
                }
                outcome.at_least(*count)
            }
            Matcher::Number { spec, condition, count } => {
                let mut outcome = Outcome::no();
                for capture in spec.captures(text.view(true).text(), text.numbers()) {
                    let unit = capture.unit.as_deref();
                    let told =
                        unit.map_or_else(|| capture.value.to_string(), |u| format!("{} {u}", capture.value));
                    let Some(expr) = condition else {
                        outcome.add(text.span(true, &capture.bytes), Some(told));
                        continue;
                    };
                    let facts = Facts {
                        context: self.context(),
                        value: Some(capture.value),
                        unit,
                        percent_off: capture.percent_off(),
                    };
                    keep(&mut outcome, text, true, capture.bytes.clone(), told, expr, facts);
                }
                outcome.at_least(*count)
            }
            Matcher::All { matchers, count } => {
                let mut sum = Outcome { yes: true, ..Outcome::no() };
                for matcher in matchers {
                    let next = self.test(matcher, text);
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
                    sum.join(self.test(matcher, text));
                }
                sum.at_least_if_found(*count)
            }
            Matcher::Not(matcher) => {
                let inner = self.test(matcher, text);
                match inner.unknown {
                    Some(why) if !inner.yes => Outcome::unknown(why),
                    _ => Outcome { yes: !inner.yes, ..Outcome::no() },
                }
            }
            Matcher::Length { min, max } => {
                text.measured(false, checks::length(text.view(false).text(), *min, *max))
            }
            Matcher::Repetition { across: Across::Within, of } => {
                text.measured(true, checks::repeats_within(text.view(true).text(), *of))
            }
            Matcher::Repetition { across: Across::Previous, of } => {
                let earlier = self.before(text);
                let earlier: Vec<&str> = earlier.iter().map(|text| text.view(true).text()).collect();
                text.measured(true, checks::repeats_earlier(text.view(true).text(), &earlier, *of))
            }
            Matcher::LanguageMix { language, share, min, allow } => {
                let language = match language.map_or_else(|| self.language(), Ok) {
                    Ok(language) => language,
                    Err(why) => return Outcome::unknown(why),
                };
                let found = checks::language_mix(text.view(true).text(), language, *share, *min, allow);
                text.measured(true, found)
            }
        }
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

/// Keeps a capture if `expr` is true of it.
fn keep(
    outcome: &mut Outcome,
    text: &Text<'_>,
    fold: bool,
    bytes: Range<usize>,
    told: String,
    expr: &Expr,
    facts: Facts<'_>,
) {
    match expr.truth(facts) {
        Truth::Yes => outcome.add(text.span(fold, &bytes), Some(told)),
        Truth::No => {}
        Truth::Unknown(why) => {
            outcome.unknown.get_or_insert(why);
        }
    }
}

fn hit(rule: &CompiledRule, outcome: Outcome) -> RuleHit {
    #[expect(clippy::cast_precision_loss, reason = "a turn has fewer hits than 2^52")]
    let times = if rule.per_hit { outcome.hits.max(1) as f64 } else { 1.0 };
    let points = match rule.cap {
        Some(cap) if cap < 0.0 => (rule.points * times).max(cap),
        Some(cap) => (rule.points * times).min(cap),
        None => rule.points * times,
    };
    let mut spans = outcome.spans;
    spans.sort_unstable();
    spans.dedup();
    spans.truncate(MAX_SPANS);
    let mut details = outcome.details;
    details.dedup();
    details.truncate(3);
    RuleHit {
        pack: rule.pack.clone(),
        rule: rule.id.clone(),
        points: Finite::new(points).unwrap_or_default(),
        spans,
        detail: (!details.is_empty()).then(|| details.join("; ")),
        veto: rule.veto,
    }
}
