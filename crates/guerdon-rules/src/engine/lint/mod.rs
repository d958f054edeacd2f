//! What is allowed but should make an author look twice.

mod overlap;

use std::ops::Range;

pub(crate) use overlap::overlaps;

use crate::engine::pattern::Pattern;
use crate::syntax::codes::PackCode;
use crate::syntax::expiry::Occasion;
use crate::syntax::pack::{Pack, Rule};
use guerdon_text::Finding;

/// An expiry nearer than this is told, in days.
const SOON: i64 = 30;

/// The lints of a pack and its rules.
pub(crate) fn pack(pack: &Pack, occasion: Occasion) -> Vec<Finding> {
    let mut findings = Vec::new();
    if pack.about.is_none() {
        let finding =
            Finding::new(PackCode::NoAbout, pack.id.span.clone(), "the pack has no `about`");
        findings.push(finding.help("say in a sentence what it guards"));
    }
    for rule in &pack.rules {
        self::rule(rule, occasion, &mut findings);
    }
    findings
}

fn rule(rule: &Rule, occasion: Occasion, findings: &mut Vec<Finding>) {
    let at = &rule.id.span;
    if rule.about.is_none() {
        let message = format!("rule `{}` has no `about`", rule.id.value);
        findings.push(
            Finding::new(PackCode::NoAbout, at.clone(), message)
                .help("say in a sentence what it forbids"),
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
    expiry(rule, occasion, findings);
    if rule.per_hit && rule.cap.is_none() {
        let message = format!("rule `{}` adds up without a bound", rule.id.value);
        findings.push(Finding::new(PackCode::NoCap, at.clone(), message).help("add `cap:`"));
    }
}

/// A rule that has expired is an error where an author checks and a warning where a server loads: a pack that stops
/// loading because a night has passed is an outage, not a reminder.
fn expiry(rule: &Rule, occasion: Occasion, findings: &mut Vec<Finding>) {
    let Some(expires) = &rule.expires else { return };
    let days = expires.value.0 - occasion.today.0;
    let (code, message) = match days {
        ..0 if occasion.strict => {
            (PackCode::Expired, format!("rule `{}` has expired", rule.id.value))
        }
        ..0 => (PackCode::Expires, format!("rule `{}` has expired", rule.id.value)),
        0..=SOON => (PackCode::Expires, format!("rule `{}` expires in {days} days", rule.id.value)),
        _ => return,
    };
    let finding = Finding::new(code, expires.span.clone(), message);
    findings.push(finding.label("it still counts").help("drop the rule, or move the date"));
}

/// The lints of a regex, as it is written and as it runs.
pub(crate) fn regex(written: &str, pattern: &Pattern, span: &Range<usize>) -> Option<Finding> {
    let finding = |code, message: &str| Finding::new(code, span.clone(), message);
    if pattern.matches_empty {
        return Some(
            finding(PackCode::MatchesEmpty, "the regex matches the empty text")
                .label("so it may hit everywhere")
                .help(
                    "ask for at least one character; for an empty turn, use `check: { length: { min: 1 } }`",
                ),
        );
    }
    if pattern.never_matches {
        return Some(
            finding(PackCode::NeverMatches, "the regex never matches")
                .label("it asks for characters that a folded text does not have")
                .help("write lower-case letters, or set `fold: false`"),
        );
    }
    if has_price(written) && !pattern.captures {
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
            .help("begin with a word, or say it with `check`")
    })
}

/// Whether a pattern counts digits before a currency without saying where the number begins.
fn has_price(written: &str) -> bool {
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
