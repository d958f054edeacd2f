//! Warnings about values that are allowed one by one and mean nothing together: a rule that hits
//! every turn or none, and names that nothing can use.

use std::collections::HashSet;
use std::ops::Range;

use guerdon_text::Finding;

use crate::syntax::codes::PackCode;
use crate::syntax::fields::{MappingFields, Reader};
use crate::syntax::parse::{entry, json};
use crate::syntax::yaml::{WithSpan, Yaml};
use crate::text::normalise::fold;

impl Reader<'_> {
    /// Reports a rule about tool calls that does not say which turns it reads. An agent calls tools
    /// in turns before the reply that is scored, so the default, the scored turn, has no call.
    pub(super) fn unselected_calls(&mut self, fields: MappingFields<'_>, at: &Range<usize>) {
        let on = fields.get("on");
        let span = on.map_or_else(|| at.clone(), |node| node.span.clone());
        if on.is_none_or(|node| entry(node, "turn").is_none()) {
            let message = "a rule about tool calls without `on: { turn: ... }`";
            let finding = Finding::new(PackCode::CallsOfOneTurn, span, message);
            self.push(
                finding
                    .label("it reads the calls of the scored turn only, not those of turns before")
                    .help("write `on: { turn: dialogue }`, or `on: { turn: current }` if that is meant"),
            );
        }
    }

    fn contradiction(&mut self, span: &Range<usize>, message: String, label: &str, help: String) {
        let finding = Finding::new(PackCode::Contradicting, span.clone(), message);
        self.push(finding.label(label).help(help));
    }

    /// Reports limits of a length that every turn or none exceeds.
    pub(super) fn length_limits(
        &mut self,
        fields: MappingFields<'_>,
        min: Option<usize>,
        max: Option<usize>,
    ) {
        let node = fields.get("min").or(fields.get("max"));
        let Some(span) = node.map(|node| node.span.clone()) else { return };
        match (min, max) {
            (Some(min), Some(max)) if min > max => {
                let message = format!("no number is at least {min} and at most {max}");
                let help = format!("exchange them: {{ min: {max}, max: {min} }}");
                self.contradiction(&span, message, "so every turn hits", help);
            }
            (Some(0), None) => {
                let message = "nothing is less than 0".to_owned();
                let help = "write `min: 1`, or a greater number".to_owned();
                self.contradiction(&span, message, "so no turn hits", help);
            }
            _ => {}
        }
    }

    /// Reports the share `value` of `node` if it is the one that every turn or none exceeds.
    pub(super) fn share_limit(&mut self, node: &WithSpan<Yaml>, value: f64, limit: f64) {
        if (value - limit).abs() > 0.0 {
            return;
        }
        let (message, label, help) = if limit > 0.5 {
            ("no share is greater than 1", "so no turn hits", "write a smaller share, such as 0.3")
        } else {
            ("every share is at least 0", "so every turn hits", "write a share, such as 0.5")
        };
        self.contradiction(&node.span, message.to_owned(), label, help.to_owned());
    }

    /// Reports a word that must and must not be near.
    pub(super) fn near_and_not_near(
        &mut self,
        fields: MappingFields<'_>,
        near: &[String],
        not_near: &[String],
    ) {
        let near: HashSet<String> = near.iter().map(|word| fold(word)).collect();
        let Some(word) = not_near.iter().find(|word| near.contains(&fold(word))) else { return };
        let span = fields.key("not_near").unwrap_or_default();
        let message = format!("`{word}` is under both `near` and `not_near`");
        let label = "a hit next to it never counts";
        self.contradiction(&span, message, label, "remove it from one of the two".to_owned());
    }

    /// Reports a test that stands next to its own negation in `all` or `any`.
    pub(super) fn test_and_negation(&mut self, kind: &str, nodes: &[WithSpan<Yaml>]) {
        let tests: HashSet<String> =
            nodes.iter().map(|node| json(&node.value).to_string()).collect();
        for node in nodes {
            let Some(inner) = entry(node, "not") else { continue };
            if tests.contains(&json(&inner.value).to_string()) {
                let message = format!("`{kind}` has a test and its negation");
                let label =
                    if kind == "all" { "so the rule never hits" } else { "so every turn hits" };
                let help = "remove one of the two".to_owned();
                self.contradiction(&node.span, message, label, help);
            }
        }
    }

    /// Reports a veto on a rule that rewards.
    pub(super) fn rewarded_veto(&mut self, fields: MappingFields<'_>, veto: bool, points: f64) {
        let Some(node) = fields.get("veto").filter(|_| veto && points > 0.0) else { return };
        let message = format!("a veto on a rule that gives {points} points");
        let help = format!("write `points: -{points}`, or drop `veto`");
        let label = "a hit both raises the reward and forbids it";
        self.contradiction(&node.span, message, label, help);
    }

    /// Reports languages that are no language tags, such as `chinese` for `zh`.
    pub(super) fn language_tags(&mut self, node: &WithSpan<Yaml>) {
        let nodes = match &node.value {
            Yaml::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        for node in nodes {
            let Yaml::Text(text) = &node.value else { continue };
            if is_language_tag(text) {
                continue;
            }
            let message = format!("`{text}` is no language");
            let finding = Finding::new(PackCode::UselessName, node.span.clone(), message);
            let help = "write tags of two or three letters: zh, en, ja";
            self.push(match named(text) {
                Some(tag) => finding.help(format!("write `{tag}`")).fix(node.span.clone(), tag),
                None => finding.help(help),
            });
        }
    }

    /// Reports a fact whose name has characters that no expression can contain.
    pub(super) fn fact_name(&mut self, key: &WithSpan<String>, path: &str) {
        let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        if path.chars().all(is_plain) {
            return;
        }
        let plain: Vec<&str> =
            path.split(|c| !is_plain(c)).filter(|part| !part.is_empty()).collect();
        let message = format!("`{path}` cannot be named in an expression");
        let finding = Finding::new(PackCode::UselessName, key.span.clone(), message);
        let help = format!("use letters, digits and `_`: `{}`", plain.join("_"));
        self.push(finding.label("a fact is a key of the context").help(help));
    }
}

/// Returns true for a tag of BCP 47 by its form: a language of two or three letters, then parts such
/// as a script or a region.
fn is_language_tag(text: &str) -> bool {
    let mut parts = text.split('-');
    let language = parts.next().unwrap_or_default();
    (2..=3).contains(&language.len())
        && language.bytes().all(|byte| byte.is_ascii_alphabetic())
        && parts.all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

/// The tag of a language by its name.
fn named(text: &str) -> Option<&'static str> {
    match text.trim().to_lowercase().as_str() {
        "english" | "英文" | "英语" => Some("en"),
        "chinese" | "mandarin" | "中文" | "汉语" => Some("zh"),
        _ => None,
    }
}
