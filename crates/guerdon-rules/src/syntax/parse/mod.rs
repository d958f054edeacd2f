//! Turns a YAML tree into a [`Pack`] and checks keys, types and ranges. Checks that need a regex
//! engine or another pack follow in `engine/compile/`.

pub(crate) mod predicate;

use std::ops::Range;

use guerdon_text::Finding;
use guerdon_types::{Context, Message, Role};
use serde_json::Value as Json;

use crate::syntax::codes::PackCode;
use crate::syntax::fields::{MappingFields, Reader};
use crate::syntax::pack::{
    Condition, Date, MessageSelector, Pack, Rule, RuleExample, TurnSelector,
};
use crate::syntax::yaml::{self, WithSpan, Yaml};

pub(crate) const PACK_KEYS: &[&str] =
    &["pack", "about", "version", "language", "units", "aliases", "rules"];
pub(crate) const RULE_KEYS: &[&str] = &[
    "id", "about", "points", "per", "cap", "veto", "shadow", "severity", "tags", "expires", "on",
    "when", "match", "check", "where", "examples",
];
pub(crate) const ON_KEYS: &[&str] = &["role", "turn"];
pub(crate) const EXAMPLES_KEYS: &[&str] = &["hits", "misses"];
pub(crate) const EXAMPLE_KEYS: &[&str] = &["text", "context", "before"];
pub(crate) const MESSAGE_KEYS: &[&str] = &["role", "content"];
pub(crate) const ROLES: [(&str, Role); 4] = [
    ("assistant", Role::Assistant),
    ("user", Role::User),
    ("system", Role::System),
    ("tool", Role::Tool),
];
pub(crate) const TURNS: [(&str, TurnSelector); 4] = [
    ("current", TurnSelector::Current),
    ("previous", TurnSelector::Previous),
    ("any", TurnSelector::Any),
    ("dialogue", TurnSelector::Dialogue),
];
pub(crate) const SEVERITIES: [(&str, ()); 4] =
    [("info", ()), ("minor", ()), ("major", ()), ("critical", ())];

/// The greatest length of a pack, in bytes. No handwritten pack is as long, and compiling stays
/// fast.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// The greatest number of points. More would hide every other signal.
const MAX_POINTS: f64 = 10_000.0;

/// Parses one pack. Returns a pack if the text could be read at all. It may be used only if no
/// finding is an error.
pub(crate) fn parse(text: &str) -> (Option<Pack>, Vec<Finding>) {
    if text.len() > MAX_BYTES {
        let message = format!("the pack is {} bytes long; at most {MAX_BYTES}", text.len());
        return (
            None,
            vec![
                Finding::new(PackCode::TooLarge, 0..0, message).help("split it into several packs"),
            ],
        );
    }
    let tree = match yaml::read(text) {
        Ok(tree) => tree,
        Err(finding) => return (None, vec![finding]),
    };
    let mut reader = Reader::default();
    let pack = reader.pack(&tree);
    (pack, reader.findings)
}

impl Reader {
    fn pack(&mut self, tree: &WithSpan<Yaml>) -> Option<Pack> {
        let fields = self.fields(tree, "a pack", PACK_KEYS)?;
        let id = self.need(fields, "pack", "the pack", &tree.span).and_then(|node| self.id(node));
        let about = fields.get("about").and_then(|node| self.text(node));
        let version = fields.get("version").and_then(|node| self.whole(node, 0)).map(|v| v as u64);
        let language = fields.get("language").map(|node| self.languages(node)).unwrap_or_default();
        if let Some(node) = fields.get("units") {
            self.declare_units(node);
        }
        if let Some(node) = fields.get("aliases") {
            self.declare_aliases(node);
        }
        let nodes = self
            .need(fields, "rules", "the pack", &tree.span)
            .map_or(&[][..], |node| self.list(node));
        let rules = nodes.iter().filter_map(|node| self.rule(node)).collect();
        Some(Pack { id: id?, about, version, language, rules })
    }

    fn id(&mut self, node: &WithSpan<Yaml>) -> Option<WithSpan<String>> {
        let value = self.text(node)?;
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if value.is_empty() || value.len() > 64 || !value.chars().all(good) {
            self.bad(
                &node.span,
                "an id is lower-case letters, digits and hyphens",
                "such as internal-words",
            );
            return None;
        }
        Some(WithSpan { value, span: node.span.clone() })
    }

    /// Reads `units:`, lists of units with names that rules use.
    fn declare_units(&mut self, node: &WithSpan<Yaml>) {
        let Yaml::Map(entries) = &node.value else {
            self.bad(&node.span, "`units` is a mapping of names to units", "money: [元, '¥', RMB]");
            return;
        };
        for (name, list) in entries {
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
            if name.value.is_empty() || !name.value.chars().all(good) {
                let message = format!("`{}` is not a name of units", name.value);
                self.bad(&name.span, message, "lower-case letters, such as money");
                continue;
            }
            let units = self.words(Some(list));
            if units.is_empty() || units.iter().any(|unit| unit.trim().is_empty()) {
                self.bad(&list.span, format!("`{}` has no unit", name.value), "list at least one");
                continue;
            }
            self.units.insert(name.value.clone(), units);
        }
    }

    /// Reads `aliases:`, words with their other spellings.
    fn declare_aliases(&mut self, node: &WithSpan<Yaml>) {
        let Yaml::Map(entries) = &node.value else {
            let help = "微信: [威信, 薇信]";
            self.bad(&node.span, "`aliases` is a mapping of words to other spellings", help);
            return;
        };
        for (word, list) in entries {
            let others = self.words(Some(list));
            let empty = others.is_empty() || others.iter().any(|other| other.trim().is_empty());
            if empty || word.value.trim().is_empty() {
                let message = format!("`{}` has no other spelling", word.value);
                self.bad(&list.span, message, "list at least one");
                continue;
            }
            self.aliases.insert(word.value.clone(), others);
        }
    }

    fn languages(&mut self, node: &WithSpan<Yaml>) -> Vec<String> {
        match &node.value {
            Yaml::List(_) => self.words(Some(node)),
            _ => self.text(node).into_iter().collect(),
        }
    }

    fn rule(&mut self, node: &WithSpan<Yaml>) -> Option<Rule> {
        let fields = self.fields(node, "a rule", RULE_KEYS)?;
        let id = self.need(fields, "id", "the rule", &node.span).and_then(|node| self.id(node));
        let at = id.as_ref().map_or_else(|| node.span.clone(), |id| id.span.clone());
        let points =
            self.need(fields, "points", "the rule", &at).and_then(|node| self.points(node));
        let (per_hit, cap) = self.cap(fields, points);
        if let Some(node) = fields.get("severity") {
            self.choice(node, &SEVERITIES);
        }
        let when = fields.get("when").map(|node| self.when(node)).unwrap_or_default();
        let test = self.test_of(fields, &at);
        let condition = fields.get("where").and_then(|node| {
            self.text(node).map(|value| WithSpan { value, span: node.span.clone() })
        });
        let flag = |reader: &mut Self, key: &str| {
            fields.get(key).and_then(|node| reader.boolean(node)).unwrap_or_default()
        };
        let (veto, shadow) = (flag(self, "veto"), flag(self, "shadow"));
        let expires = fields.get("expires").and_then(|node| self.date(node));
        let on = fields.get("on").map_or(Some(ASSISTANT), |node| self.on(node));
        let (hits, misses) =
            fields.get("examples").map(|node| self.examples(node)).unwrap_or_default();
        Some(Rule {
            id: id?,
            about: fields
                .get("about")
                .and_then(|node| self.text(node))
                .filter(|about| !about.trim().is_empty()),
            points: points?,
            per_hit,
            cap,
            tags: self.words(fields.get("tags")),
            veto,
            shadow,
            expires,
            on: on?,
            when,
            test: test?,
            condition,
            hits,
            misses,
        })
    }

    fn points(&mut self, node: &WithSpan<Yaml>) -> Option<f64> {
        let points = self.number(node)?;
        if points.abs() > MAX_POINTS {
            self.bad(
                &node.span,
                format!("{points} points"),
                format!("from -{MAX_POINTS} to {MAX_POINTS}"),
            );
            return None;
        }
        Some(points)
    }

    /// Reads `per` and `cap`. A cap implies that hits add up.
    fn cap(
        &mut self,
        fields: MappingFields<'_>,
        points: Option<f64>,
    ) -> (bool, Option<WithSpan<f64>>) {
        let cap = fields.get("cap").and_then(|node| {
            self.points(node).map(|value| WithSpan { value, span: node.span.clone() })
        });
        let per =
            fields.get("per").and_then(|node| self.choice(node, &[("hit", true), ("turn", false)]));
        if let (Some(cap), Some(points)) = (&cap, points) {
            if cap.value * points < 0.0 || cap.value.abs() < points.abs() {
                let message = format!("a cap of {} with {points} points a hit", cap.value);
                self.bad(&cap.span, message, "the cap has the sign of `points` and is no smaller");
            } else if per == Some(false) {
                self.push(
                    Finding::new(
                        PackCode::Contradiction,
                        cap.span.clone(),
                        "a cap on a rule that counts once a turn",
                    )
                    .help("write `per: hit`, or drop `cap`"),
                );
            }
        }
        (per.unwrap_or(cap.is_some()), cap)
    }

    fn date(&mut self, node: &WithSpan<Yaml>) -> Option<WithSpan<Date>> {
        let text = self.text(node)?;
        let date = Date::parse(&text);
        if date.is_none() {
            self.bad(
                &node.span,
                format!("`{text}` is not a date"),
                "year-month-day, such as 2027-01-31",
            );
        }
        date.map(|value| WithSpan { value, span: node.span.clone() })
    }

    fn on(&mut self, node: &WithSpan<Yaml>) -> Option<MessageSelector> {
        let fields = self.fields(node, "`on`", ON_KEYS)?;
        let role =
            fields.get("role").map_or(Some(ASSISTANT.role), |node| self.choice(node, &ROLES));
        let turn =
            fields.get("turn").map_or(Some(ASSISTANT.turn), |node| self.choice(node, &TURNS));
        Some(MessageSelector { role: role?, turn: turn? })
    }

    fn when(&mut self, node: &WithSpan<Yaml>) -> Vec<Condition> {
        let Yaml::Map(entries) = &node.value else {
            self.wrong::<()>(node, "`when` is a mapping of context values");
            return Vec::new();
        };
        entries.iter().filter_map(|(key, value)| self.condition(key, value)).collect()
    }

    fn condition(&mut self, key: &WithSpan<String>, value: &WithSpan<Yaml>) -> Option<Condition> {
        let path = key
            .value
            .strip_prefix("context.")
            .filter(|path| path.split('.').all(|part| !part.is_empty()));
        let Some(path) = path else {
            let message = format!("`{}` is not a context value", key.value);
            self.bad(&key.span, message, format!("write `context.{}`", key.value));
            return None;
        };
        let values = match &value.value {
            Yaml::List(items) => items.iter().filter_map(|item| self.scalar(item)).collect(),
            _ => vec![self.scalar(value)?],
        };
        if values.is_empty() {
            self.bad(
                &value.span,
                "no value is allowed, so the rule can never hit",
                "list the values",
            );
            return None;
        }
        Some(Condition { path: path.split('.').map(str::to_owned).collect(), values })
    }

    fn scalar(&mut self, node: &WithSpan<Yaml>) -> Option<Json> {
        match &node.value {
            Yaml::Text(text) => Some(Json::from(text.as_str())),
            Yaml::Number(value) => Some(Json::from(*value)),
            Yaml::Bool(value) => Some(Json::from(*value)),
            _ => self.wrong(node, "expected text, a number, true or false"),
        }
    }

    fn examples(&mut self, node: &WithSpan<Yaml>) -> (Vec<RuleExample>, Vec<RuleExample>) {
        let Some(fields) = self.fields(node, "`examples`", EXAMPLES_KEYS) else {
            return (Vec::new(), Vec::new());
        };
        let mut read = |key: &str| {
            let nodes = fields.get(key).map_or(&[][..], |node| self.list(node));
            nodes.iter().filter_map(|node| self.example(node)).collect()
        };
        (read("hits"), read("misses"))
    }

    fn example(&mut self, node: &WithSpan<Yaml>) -> Option<RuleExample> {
        let span = node.span.clone();
        if !matches!(node.value, Yaml::Map(_)) {
            let text = self.text(node)?;
            return Some(RuleExample { span, text, context: Context::new(), before: Vec::new() });
        }
        let fields = self.fields(node, "an example", EXAMPLE_KEYS)?;
        let node = self.need(fields, "text", "the example", &span)?;
        let text = self.text(node)?;
        let context =
            fields.get("context").map_or_else(Context::new, |node| match json(&node.value) {
                Json::Object(map) => map,
                _ => self.wrong(node, "`context` is a mapping").unwrap_or_default(),
            });
        let before = fields.get("before").map_or(&[][..], |node| self.list(node));
        let before = before.iter().filter_map(|node| self.message(node, &span)).collect();
        Some(RuleExample { span: node.span.clone(), text, context, before })
    }

    fn message(&mut self, node: &WithSpan<Yaml>, at: &Range<usize>) -> Option<Message> {
        let fields = self.fields(node, "a message", MESSAGE_KEYS)?;
        let role =
            self.need(fields, "role", "the message", at).and_then(|node| self.choice(node, &ROLES));
        let content =
            self.need(fields, "content", "the message", at).and_then(|node| self.text(node));
        Some(Message::new(role?, content?))
    }
}

const ASSISTANT: MessageSelector =
    MessageSelector { role: Role::Assistant, turn: TurnSelector::Current };

fn json(value: &Yaml) -> Json {
    match value {
        Yaml::Null => Json::Null,
        Yaml::Bool(value) => Json::from(*value),
        Yaml::Number(value) => Json::from(*value),
        Yaml::Text(text) => Json::from(text.as_str()),
        Yaml::List(items) => items.iter().map(|item| json(&item.value)).collect(),
        Yaml::Map(entries) => Json::Object(
            entries.iter().map(|(key, value)| (key.value.clone(), json(&value.value))).collect(),
        ),
    }
}
