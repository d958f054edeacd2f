//! Turns a YAML tree into a [`Pack`] and checks keys, types and ranges. Checks that need a regex
//! engine or another pack follow in `engine/compile/`.

mod contradictions;
mod head;
pub(crate) mod predicate;
pub(crate) mod tools;

use std::collections::BTreeSet;
use std::ops::Range;

use guerdon_text::{Finding, nearest};
use guerdon_types::{Context, Message, Role, ToolCall};
use serde_json::Value as Json;

use crate::syntax::codes::PackCode;
use crate::syntax::facts::{FactLookup, FactType};
use crate::syntax::fields::{MAX_EXPANDED, MappingFields, Reader};
use crate::syntax::files::PackFilesRef;
use crate::syntax::imports::{self, Importer};
use crate::syntax::pack::{
    Condition, Date, MessageSelector, Pack, Rule, RuleExample, TurnSelector,
};
use crate::syntax::yaml::{self, WithSpan, Yaml};

pub(crate) const PACK_KEYS: &[&str] = &[
    "pack", "about", "version", "language", "import", "facts", "words", "units", "aliases", "rules",
];
/// The keys of a file of declarations, which packs import.
pub(crate) const LIBRARY_KEYS: &[&str] =
    &["library", "about", "import", "facts", "words", "units", "aliases"];
/// The keys of declarations that rules can use.
const DECLARATION_KEYS: [&str; 5] = ["import", "facts", "words", "units", "aliases"];
pub(crate) const RULE_KEYS: &[&str] = &[
    "id", "about", "points", "per", "cap", "veto", "shadow", "severity", "tags", "expires", "on",
    "when", "match", "check", "where", "examples",
];
pub(crate) const ON_KEYS: &[&str] = &["role", "turn"];
pub(crate) const EXAMPLES_KEYS: &[&str] = &["hits", "misses"];
pub(crate) const EXAMPLE_KEYS: &[&str] = &["text", "context", "before", "tool_calls", "tools"];
pub(crate) const MESSAGE_KEYS: &[&str] = &["role", "content", "tool_calls"];
pub(crate) const CALL_KEYS: &[&str] = &["name", "arguments"];
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

/// One parsed file. Its pack may be used only if no finding is an error.
#[derive(Debug)]
pub(crate) struct ParsedText {
    /// The pack; none for a file that cannot be read and for a file of declarations.
    pub(crate) pack: Option<Pack>,
    pub(crate) findings: Vec<Finding>,
    /// The files that it imports, directly and through others, by their index.
    pub(crate) imported: BTreeSet<usize>,
    /// Unset if a declaration that the pack may use has errors or is missing.
    pub(crate) is_complete: bool,
}

/// Parses files. A file can import declarations of the others.
pub(crate) fn parse_all<'f>(files: impl Into<PackFilesRef<'f>>) -> Vec<ParsedText> {
    let PackFilesRef { texts, unreadable } = files.into();
    let mut trees = Vec::with_capacity(texts.len());
    let mut files = Vec::with_capacity(texts.len());
    for text in texts {
        let (tree, findings) = tree_of(&text.text);
        let mut reader = Reader { findings, ..Reader::new(&text.text) };
        reader.declared.is_partial = tree.is_none();
        let paths = tree.as_ref().map(|tree| reader.head(tree)).unwrap_or_default();
        files.push(Importer::new(std::mem::take(&mut reader.declared), paths));
        trees.push((tree, reader.findings));
    }
    imports::link(texts, unreadable, &mut files);
    let mut left = Some(MAX_EXPANDED);
    let parsed = texts.iter().zip(trees).zip(files).map(|((text, (tree, mut findings)), file)| {
        let Importer { declared, imported, findings: of_imports, .. } = file;
        findings.extend(of_imports);
        let is_complete = !declared.is_partial;
        let mut reader = Reader { findings, declared, left, ..Reader::new(&text.text) };
        let pack = tree.as_ref().and_then(|tree| reader.pack(tree));
        left = reader.left;
        ParsedText { pack, findings: reader.findings, imported, is_complete }
    });
    parsed.collect()
}

/// Parses one pack, which can import nothing.
#[cfg(any(test, feature = "reference"))]
pub(crate) fn parse(text: &str) -> (Option<Pack>, Vec<Finding>) {
    let parsed = parse_all(&[guerdon_text::SourceText::new("", text)]).pop();
    parsed.map_or_else(Default::default, |parsed| (parsed.pack, parsed.findings))
}

fn tree_of(text: &str) -> (Option<WithSpan<Yaml>>, Vec<Finding>) {
    if text.len() > MAX_BYTES {
        let message = format!("the pack is {} bytes long; at most {MAX_BYTES}", text.len());
        let finding = Finding::new(PackCode::TooLarge, 0..0, message);
        return (None, vec![finding.help("split it into several packs")]);
    }
    yaml::read(text)
}

/// The entry of a mapping.
fn entry<'y>(tree: &'y WithSpan<Yaml>, name: &str) -> Option<&'y WithSpan<Yaml>> {
    let Yaml::Map(entries) = &tree.value else { return None };
    entries.iter().find(|(key, _)| key.value == name).map(|(_, value)| value)
}

/// Returns true if a file only declares: it has `library:`, perhaps misspelt.
fn is_library(tree: &WithSpan<Yaml>) -> bool {
    let Yaml::Map(entries) = &tree.value else { return false };
    let has = |name: &str| entry(tree, name).is_some();
    let misspelt = || {
        entries.iter().any(|(key, _)| {
            let keys = LIBRARY_KEYS.iter().chain(PACK_KEYS).copied();
            nearest(&key.value, keys) == Some("library")
        })
    };
    has("library") || (!has("pack") && !has("rules") && misspelt())
}

impl Reader<'_> {
    /// Reads the declarations of a file. Returns the paths that it imports.
    fn head(&mut self, tree: &WithSpan<Yaml>) -> Vec<WithSpan<String>> {
        let fields = match is_library(tree) {
            true => self.fields(tree, "a library", LIBRARY_KEYS),
            false => self.fields(tree, "a pack", PACK_KEYS),
        };
        let Some(fields) = fields else { return Vec::new() };
        let found = self.findings.len();
        self.declarations(fields);
        let paths = fields.get("import").map(|node| self.texts(node)).unwrap_or_default();
        let misspelt = || DECLARATION_KEYS.iter().any(|key| fields.is_misspelt(key));
        self.declared.is_partial = self.findings.len() > found || misspelt();
        paths
    }

    /// Reads the pack of a file whose head was read.
    fn pack(&mut self, tree: &WithSpan<Yaml>) -> Option<Pack> {
        let Yaml::Map(entries) = &tree.value else { return None };
        let fields = MappingFields::new(entries, PACK_KEYS);
        if is_library(tree) {
            entry(tree, "library").map(|library| self.id(library));
            fields.get("about").map(|node| self.text(node));
            return None;
        }
        let id = self.need(fields, "pack", "the pack", &tree.span).and_then(|node| self.id(node));
        let about = fields.get("about").and_then(|node| self.text(node));
        let version = fields.get("version").and_then(|node| self.version(node));
        let language = fields.get("language").map(|node| self.languages(node)).unwrap_or_default();
        let nodes = self
            .need(fields, "rules", "the pack", &tree.span)
            .map_or(&[][..], |node| self.list(node));
        let rules = nodes.iter().filter_map(|node| self.rule(node)).collect();
        let facts = self.declared.facts.clone();
        Some(Pack { id: id?, about, version, language, facts, rules })
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

    /// Reads the version, which counts up in whole numbers.
    fn version(&mut self, node: &WithSpan<Yaml>) -> Option<u64> {
        if let Yaml::Text(text) = &node.value
            && !text.bytes().all(|byte| byte.is_ascii_digit())
        {
            let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            let count = digits.get(..end).filter(|count| (1..=6).contains(&count.len()));
            let finding =
                Finding::new(PackCode::WrongType, node.span.clone(), "expected a whole number")
                    .label("this is text");
            let help = format!("versions count up: {}", count.unwrap_or("1"));
            self.push(match count {
                Some(count) => finding.help(help).fix(node.span.clone(), count),
                None => finding.help(help),
            });
            return None;
        }
        self.whole(node, 0).map(|version| version as u64)
    }

    fn languages(&mut self, node: &WithSpan<Yaml>) -> Vec<String> {
        self.language_tags(node);
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
        self.rewarded_veto(fields, veto, points.unwrap_or_default());
        if let (Some(node), false) = (fields.get("points"), veto || shadow)
            && points.is_some_and(|points| points.abs() < f64::EPSILON)
        {
            let finding = Finding::new(PackCode::NoPoints, node.span.clone(), "a rule of 0 points");
            self.push(
                finding
                    .label("it changes no reward")
                    .help("give it points; for a rule that is only reported, write `shadow: true`"),
            );
        }
        let expires = fields.get("expires").and_then(|node| self.date(node));
        let on = fields.get("on").map_or(Some(ASSISTANT), |node| self.on(node));
        if let (Some(node), Some(on), Some(test)) = (fields.get("on"), on, &test)
            && on.role != Role::Assistant
            && test.reads_calls()
        {
            let message = "only the assistant calls tools";
            self.bad(&node.span, message, "leave `role` out, or write `role: assistant`");
        }
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
            if let ("context", Yaml::Map(entries)) = (key.value.as_str(), &value.value) {
                let first = entries.first().map_or("KEY", |(key, _)| key.value.as_str());
                let finding = Finding::new(PackCode::BadValue, key.span.clone(), message);
                let help = format!("write the path as one key: `context.{first}: value`");
                self.push(finding.help(help));
                return None;
            }
            let name = key.value.strip_prefix("context").unwrap_or(&key.value);
            let name = name.trim_start_matches(['.', ' ']);
            let path = format!("context.{}", if name.is_empty() { "KEY" } else { name });
            let finding = Finding::new(PackCode::BadValue, key.span.clone(), message)
                .help(format!("write `{path}`"));
            self.push(finding.fix(key.span.clone(), path));
            return None;
        };
        self.known_fact(path, &key.span, "context.");
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
        self.possible_values(path, value);
        Some(Condition { path: path.split('.').map(str::to_owned).collect(), values })
    }

    pub(super) fn scalar(&mut self, node: &WithSpan<Yaml>) -> Option<Json> {
        match &node.value {
            Yaml::Text(text) => Some(Json::from(text.as_str())),
            Yaml::Number(value) => Some(Json::from(*value)),
            Yaml::Bool(value) => Some(Json::from(*value)),
            Yaml::Map(_) => {
                let message = "expected text, a number, true or false";
                let finding = Finding::new(PackCode::WrongType, node.span.clone(), message);
                self.push(
                    finding
                        .label("this is a mapping")
                        .help("name a value within a mapping by its path: `context.a.b: value`"),
                );
                None
            }
            _ => self.wrong(node, "expected text, a number, true or false"),
        }
    }

    /// Reports a path of the context that the pack does not declare. `prefix` stands before the
    /// path in the text.
    pub(super) fn known_fact(&mut self, path: &str, span: &Range<usize>, prefix: &str) {
        let Some(facts) = self.declared.known_facts() else { return };
        if !matches!(facts.get(path), FactLookup::Unknown) {
            return;
        }
        let message = format!("the pack declares no fact `{path}`");
        let finding = Finding::new(PackCode::UnknownFact, span.clone(), message);
        let finding = finding.help(facts.help(path));
        let near = facts.nearest(path).map(|near| format!("{prefix}{near}"));
        self.push(match near {
            Some(near) if span.len() == prefix.len() + path.len() => {
                finding.fix(span.clone(), near)
            }
            _ => finding,
        });
    }

    /// Reports the values of a condition that a declared fact cannot have.
    fn possible_values(&mut self, path: &str, value: &WithSpan<Yaml>) {
        let items = match &value.value {
            Yaml::List(items) => items.as_slice(),
            _ => std::slice::from_ref(value),
        };
        for item in items {
            self.possible_value(path, item);
        }
    }

    /// Reports a value that a declared fact cannot have.
    fn possible_value(&mut self, path: &str, node: &WithSpan<Yaml>) {
        let Some(facts) = self.declared.known_facts() else { return };
        let FactLookup::Declared(kind) = facts.get(path) else { return };
        if kind.has(&json(&node.value)) {
            return;
        }
        let kind = kind.clone();
        let message = format!("`{path}` is {}", kind.described());
        let finding = Finding::new(PackCode::UnknownFact, node.span.clone(), message)
            .label(format!("this is {}", node.value.kind()))
            .help("write such a value, or change the type under `facts:`");
        self.push(match (&kind, &node.value) {
            (FactType::OneOf(values), Yaml::Text(text)) => {
                finding.nearest(text, values.iter().map(String::as_str))
            }
            _ => finding,
        });
    }

    /// Reports the facts of an example that the pack does not declare, or declares otherwise.
    fn example_facts(&mut self, node: &WithSpan<Yaml>, prefix: &str) {
        let Yaml::Map(entries) = &node.value else { return };
        for (key, value) in entries {
            let path = format!("{prefix}{}", key.value);
            let is_group = self
                .declared
                .facts
                .as_ref()
                .is_some_and(|facts| matches!(facts.get(&path), FactLookup::Group));
            if is_group && matches!(value.value, Yaml::Map(_)) {
                self.example_facts(value, &format!("{path}."));
            } else {
                self.known_fact(&path, &key.span, "");
                self.possible_value(&path, value);
            }
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
            return Some(RuleExample {
                span,
                text,
                context: Context::new(),
                before: Vec::new(),
                tool_calls: Vec::new(),
                tools: Vec::new(),
                is_sound: true,
            });
        }
        if let Yaml::Map(entries) = &node.value
            && let [(key, _)] = entries.as_slice()
            && !EXAMPLE_KEYS.contains(&key.value.as_str())
            && nearest(&key.value, EXAMPLE_KEYS.iter().copied()).is_none()
        {
            let message = "a text with a colon is read as a mapping";
            let finding = Finding::new(PackCode::WrongType, key.span.clone(), message);
            self.push(finding.help("quote a text that contains `: `, or write `text:` before it"));
            return None;
        }
        let fields = self.fields(node, "an example", EXAMPLE_KEYS)?;
        // A turn that only calls tools has no text.
        let (place, text) = match (fields.get("text"), fields.get("tool_calls")) {
            (None, Some(calls)) => (calls.span.clone(), String::new()),
            _ => {
                let node = self.need(fields, "text", "the example", &span)?;
                (node.span.clone(), self.text(node)?)
            }
        };
        let found = self.findings.len();
        let context =
            fields.get("context").map_or_else(Context::new, |node| match json(&node.value) {
                Json::Object(map) => {
                    self.example_facts(node, "");
                    map
                }
                _ => self.wrong(node, "`context` is a mapping").unwrap_or_default(),
            });
        let is_sound = self.findings.len() == found;
        let before = fields.get("before").map_or(&[][..], |node| self.list(node));
        let before = before.iter().filter_map(|node| self.message(node, &span)).collect();
        let tool_calls = fields.get("tool_calls").map_or_else(Vec::new, |node| self.calls(node));
        let tools = match fields.get("tools").map(|node| tools::json_of(&node.value)) {
            Some(Json::Array(tools)) => tools,
            _ => Vec::new(),
        };
        let span = place;
        Some(RuleExample { span, text, context, before, tool_calls, tools, is_sound })
    }

    /// Reads the tool calls of an example.
    fn calls(&mut self, node: &WithSpan<Yaml>) -> Vec<ToolCall> {
        self.list(node).iter().filter_map(|node| self.call(node)).collect()
    }

    fn call(&mut self, node: &WithSpan<Yaml>) -> Option<ToolCall> {
        let fields = self.fields(node, "a tool call", CALL_KEYS)?;
        let name = self.need(fields, "name", "the tool call", &node.span)?;
        let name = self.text(name)?;
        // A text stands for itself, so that an example can have arguments that are not JSON.
        let arguments = match fields.get("arguments").map(|node| &node.value) {
            Some(Yaml::Text(text)) => text.clone(),
            Some(value) => tools::json_of(value).to_string(),
            None => String::new(),
        };
        Some(ToolCall { id: None, name, arguments })
    }

    fn message(&mut self, node: &WithSpan<Yaml>, at: &Range<usize>) -> Option<Message> {
        let fields = self.fields(node, "a message", MESSAGE_KEYS)?;
        let role =
            self.need(fields, "role", "the message", at).and_then(|node| self.choice(node, &ROLES));
        let tool_calls = fields.get("tool_calls").map_or_else(Vec::new, |node| self.calls(node));
        let content = match fields.get("content") {
            None if !tool_calls.is_empty() => Some(String::new()),
            _ => self.need(fields, "content", "the message", at).and_then(|node| self.text(node)),
        };
        Some(Message { tool_calls, ..Message::new(role?, content?) })
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
