//! What is allowed but should make an author look twice.

use std::ops::Range;

use regex::Regex;

use crate::pack::{Date, Pack, Rule};
use crate::report::{Code, Finding};

/// An expiry nearer than this is told, in days.
const SOON: i64 = 30;

/// The lints of a pack and its rules.
pub(crate) fn pack(pack: &Pack, today: Date) -> Vec<Finding> {
    let mut findings = Vec::new();
    if pack.about.is_none() {
        let finding = Finding::new(Code::NoAbout, pack.id.span.clone(), "the pack has no `about`");
        findings.push(finding.help("say in a sentence what it guards"));
    }
    for rule in &pack.rules {
        self::rule(rule, today, &mut findings);
    }
    findings
}

fn rule(rule: &Rule, today: Date, findings: &mut Vec<Finding>) {
    let at = &rule.id.span;
    if rule.about.is_none() {
        let message = format!("rule `{}` has no `about`", rule.id.value);
        findings
            .push(Finding::new(Code::NoAbout, at.clone(), message).help("say in a sentence what it forbids"));
    }
    let missing = match (rule.hits.is_empty(), rule.misses.is_empty()) {
        (true, true) => Some("no examples"),
        (true, false) => Some("no example that hits"),
        (false, true) => Some("no example that misses"),
        (false, false) => None,
    };
    if let Some(missing) = missing {
        let message = format!("rule `{}` has {missing}", rule.id.value);
        findings.push(
            Finding::new(Code::NoExamples, at.clone(), message)
                .help("add `examples: { hits: [...], misses: [...] }`; they are run when the pack loads"),
        );
    }
    // Never an error: a pack that stops loading because a night has passed is an outage, not a reminder.
    if let Some(expires) = &rule.expires {
        let days = expires.value.0 - today.0;
        let message = if days < 0 {
            Some(format!("rule `{}` has expired", rule.id.value))
        } else if days <= SOON {
            Some(format!("rule `{}` expires in {days} days", rule.id.value))
        } else {
            None
        };
        if let Some(message) = message {
            let finding = Finding::new(Code::Expires, expires.span.clone(), message);
            findings.push(finding.label("it still counts").help("drop the rule, or move the date"));
        }
    }
    if rule.per_hit && rule.cap.is_none() {
        let message = format!("rule `{}` adds up without a bound", rule.id.value);
        findings.push(Finding::new(Code::NoCap, at.clone(), message).help("add `cap:`"));
    }
}

/// The lints of a regex.
pub(crate) fn regex(regex: &Regex, span: &Range<usize>) -> Option<Finding> {
    regex.is_match("").then(|| {
        Finding::new(Code::MatchesEmpty, span.clone(), "the regex matches the empty text")
            .label("so it may hit everywhere")
            .help("ask for at least one character; for an empty turn, use `check: { length: { min: 1 } }`")
    })
}
