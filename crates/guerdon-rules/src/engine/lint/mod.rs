//! Warnings about rules that are valid but need an author's attention.

mod overlap;

use std::ops::Range;

pub(crate) use overlap::overlaps;

use guerdon_text::Finding;

use crate::engine::pattern::Pattern;
use crate::syntax::codes::PackCode;
use crate::syntax::expiry::ExpiryPolicy;
use crate::syntax::pack::{Pack, Predicate, Rule};
use crate::text::normalise::fold;
use crate::text::speech::{SpeechAct, is_negator};

/// The number of days before the expiry of a rule at which warnings start.
const SOON: i64 = 30;

/// The lints of a pack and its rules.
pub(crate) fn pack(pack: &Pack, expiry: ExpiryPolicy) -> Vec<Finding> {
    let mut findings = Vec::new();
    if pack.about.is_none() {
        let finding =
            Finding::new(PackCode::NoAbout, pack.id.span.clone(), "the pack has no `about`");
        findings.push(finding.help("state its purpose in a sentence"));
    }
    if pack.facts.is_none()
        && let Some(path) = pack.rules.iter().find_map(fact_of)
    {
        let message = format!("the pack reads `context.{path}` and declares no facts");
        let finding = Finding::new(PackCode::NoFacts, pack.id.span.clone(), message);
        findings.push(finding.label("a misspelt fact is not noticed").help(format!(
            "declare its facts with their types, such as `facts: {{ {path}: number }}`"
        )));
    }
    for rule in &pack.rules {
        self::rule(rule, expiry, &mut findings);
    }
    findings
}

/// The first fact that a rule names.
fn fact_of(rule: &Rule) -> Option<String> {
    let in_expression = |text: &str| {
        let (_, path) = text.split_once("context.")?;
        let end = path.find(|c: char| !(c.is_ascii_alphanumeric() || "_.".contains(c)));
        path.get(..end.unwrap_or(path.len())).map(str::to_owned)
    };
    let condition = || in_expression(&rule.condition.as_ref()?.value);
    let relation = || match &rule.test {
        Predicate::Prices { must, .. } => in_expression(&must.value),
        Predicate::LanguageMix { language: None, .. } => Some("language".to_owned()),
        Predicate::State(check) => Some(check.actual.join(".")),
        _ => None,
    };
    let when = rule.when.first().map(|condition| condition.path.join("."));
    when.or_else(condition).or_else(relation)
}

fn rule(rule: &Rule, expiry: ExpiryPolicy, findings: &mut Vec<Finding>) {
    let at = &rule.id.span;
    if rule.about.is_none() {
        let message = format!("rule `{}` has no `about`", rule.id.value);
        findings.push(
            Finding::new(PackCode::NoAbout, at.clone(), message)
                .help("state its purpose in a sentence"),
        );
    }
    let missing = match (rule.hits.is_empty(), rule.misses.is_empty()) {
        (true, true) => Some("no examples"),
        (true, false) => Some("no example that hits"),
        (false, true) => Some("no example that misses"),
        (false, false) => None,
    };
    if let Some(missing) = missing {
        let message = format!("rule `{}` has {missing}", rule.id.value);
        findings.push(Finding::new(PackCode::NoExamples, at.clone(), message).help(
            "add `examples: { hits: [...], misses: [...] }`; they are run when the pack loads",
        ));
    }
    check_expiry(rule, expiry, findings);
    listed_negations(rule, &rule.test, findings);
    if rule.per_hit && rule.cap.is_none() {
        let message = format!("rule `{}` adds up hits without a cap", rule.id.value);
        findings.push(Finding::new(PackCode::NoCap, at.clone(), message).help("add `cap:`"));
    }
}

/// Reports negators under `not_near` of a match that ignores negated words anyway.
fn listed_negations(rule: &Rule, test: &Predicate, findings: &mut Vec<Finding>) {
    let (near, unless) = match test {
        Predicate::Literals { near, unless, .. } | Predicate::Regex { near, unless, .. } => {
            (near, unless)
        }
        Predicate::Number { numbers, unless, .. } => (&numbers.near, unless),
        Predicate::All { tests, .. } | Predicate::Any { tests, .. } => {
            tests.iter().for_each(|test| listed_negations(rule, test, findings));
            return;
        }
        _ => return,
    };
    let listed = near.not_near.iter().find(|word| is_negator(fold(word).trim()));
    if let Some(word) = listed.filter(|_| unless.has(SpeechAct::Negated)) {
        let message = format!("`{word}` under `not_near` is a negation");
        findings.push(
            Finding::new(PackCode::NegationListed, rule.id.span.clone(), message)
                .label("`unless: negated` covers negations")
                .help("drop the negations from `not_near`"),
        );
    }
}

/// Reports an expired rule and one that expires soon. An expired rule is an error when an author
/// checks a pack and a warning when a server loads it, because a pack must not stop loading when a
/// date passes.
fn check_expiry(rule: &Rule, expiry: ExpiryPolicy, findings: &mut Vec<Finding>) {
    let Some(expires) = &rule.expires else { return };
    let days = expires.value.0 - expiry.today.0;
    let (code, message) = match days {
        ..0 if expiry.strict => {
            (PackCode::Expired, format!("rule `{}` has expired", rule.id.value))
        }
        ..0 => (PackCode::Expires, format!("rule `{}` has expired", rule.id.value)),
        0..=SOON => (PackCode::Expires, format!("rule `{}` expires in {days} days", rule.id.value)),
        _ => return,
    };
    let finding = Finding::new(code, expires.span.clone(), message);
    findings.push(finding.label("it still counts").help("remove the rule, or move the date"));
}

/// The lint of a regex as written and as compiled.
pub(crate) fn regex(written: &str, pattern: &Pattern, span: &Range<usize>) -> Option<Finding> {
    let finding = |code, message: &str| Finding::new(code, span.clone(), message);
    if pattern.matches_empty {
        return Some(
            finding(PackCode::MatchesEmpty, "the regex matches the empty text")
                .label("so it may hit everywhere")
                .help(
                    "require a character; for an empty turn, use `check: { length: { min: 1 } }`",
                ),
        );
    }
    if pattern.never_matches {
        return Some(
            finding(PackCode::NeverMatches, "the regex never matches")
                .label("it requires characters that do not occur in folded text")
                .help("write lower-case letters, or set `fold: false`"),
        );
    }
    if has_unanchored_price(written) && !pattern.captures {
        return Some(
            finding(PackCode::LoosePrice, "a price that may be the end of a longer one")
                .label("480元 is found in 1,480元 too")
                .help(
                    "use `number: { unit: [元] }`, which reads the whole number; or begin with \\b",
                ),
        );
    }
    pattern.is_slow().then(|| {
        finding(PackCode::Slow, "the regex runs over every turn")
            .label("no word and no rare character is needed for a match")
            .help("begin with a word, or use `check`")
    })
}

/// The second sign of a repetition that other dialects call possessive, such as `o++`. Here it
/// repeats a repetition.
pub(crate) fn possessive(pattern: &str) -> Option<Range<usize>> {
    let (mut in_class, mut escaped, mut repeats) = (false, false, false);
    for (at, c) in pattern.char_indices() {
        if std::mem::take(&mut escaped) {
            repeats = false;
            continue;
        }
        match c {
            '\\' => escaped = true,
            '[' => in_class = true,
            ']' => in_class = false,
            '+' if repeats && !in_class => return Some(at - 1..at + 1),
            _ => {}
        }
        repeats = !in_class && matches!(c, '*' | '+' | '?' | '}');
    }
    None
}

/// Returns true if a pattern matches digits before a currency without fixing the start of the
/// number.
fn has_unanchored_price(written: &str) -> bool {
    let digits = ["\\d", "[0-9]"].into_iter().filter_map(|class| written.find(class)).min();
    let Some(at) = digits else { return false };
    let before = written.get(..at).unwrap_or_default();
    let rest = written.get(at..).unwrap_or_default();
    let unit = ["元", "块", "¥", "rmb", "RMB", "usd", "USD", "yuan", "%", "折"];
    let anchored = before.ends_with("\\b")
        || before.ends_with('^')
        || before.ends_with("[^\\d]")
        || before.ends_with("\\D");
    let spaced = rest.trim_start_matches(|c: char| "\\d[]0-9{},+*?. s()".contains(c));
    !anchored && before.is_empty() && unit.into_iter().any(|unit| spaced.starts_with(unit))
}
