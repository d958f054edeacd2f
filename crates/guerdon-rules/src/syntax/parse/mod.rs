//! Turns a YAML tree into a [`Pack`] and checks keys, types and ranges. Checks that need a regex
//! engine or another pack follow in `engine/compile/`.

mod conditions;
mod contradictions;
mod examples;
mod head;
pub(crate) mod predicate;
pub(crate) mod tools;

use std::collections::BTreeSet;

use guerdon_text::{Finding, nearest};
use guerdon_types::Role;
use serde_json::Value as Json;

use crate::syntax::codes::PackCode;
use crate::syntax::fields::{MAX_EXPANDED, MappingFields, Reader};
use crate::syntax::files::PackFilesRef;
use crate::syntax::imports::{self, Importer};
use crate::syntax::pack::{Date, MessageSelector, Pack, Predicate, Rule, TurnSelector};
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
        let found = self.findings.len();
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
        if self.findings.len() == found && test.as_ref().is_some_and(Predicate::reads_calls) {
            self.unselected_calls(fields, &at);
        }
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
