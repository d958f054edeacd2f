//! Hover: documentation of a key, the reading of a number, the folded form of a word or a pattern,
//! the words of a list, and the results of a rule's examples.

use std::fmt::Write as _;
use std::ops::Range;

use guerdon_rules::{ExampleResult, NumberReading, fold, folded_pattern, read_numbers};
use guerdon_text::cut;
use ls_types::{Hover, HoverContents, MarkupContent, MarkupKind, Position};

use crate::completion::VALUES;
use crate::documents::{OpenDocument, OpenDocuments};
use crate::names::{Names, scalar};
use crate::outline::{NodeKind, OutlineNode, PathStep, unquoted};
use crate::schema::pack_schema;

/// The longest text whose numbers are shown, in bytes.
const MAX_TEXT: usize = 100_000;

/// The greatest number of examples that are shown.
const MAX_EXAMPLES: usize = 20;

/// The longest quoted text, in characters.
const MAX_QUOTED: usize = 80;

/// The description of what is at a position. `examples` runs the examples of the document.
pub(crate) fn hover(
    document: &OpenDocument,
    documents: &OpenDocuments,
    position: Position,
    examples: impl FnOnce() -> Vec<ExampleResult>,
) -> Option<Hover> {
    let text = document.text();
    let byte = text.byte(position);
    let (index, node) = document.outline().at(byte)?;
    let at = HoverTarget { document, index, node, byte };
    let in_head = node.head.start <= byte && byte <= node.head.end;
    let in_scalar = node.scalar.as_ref().is_some_and(|span| span.start <= byte && byte <= span.end);
    let mut parts = Vec::new();
    let mut range = node.head.clone();
    if at.names_rule() && (in_head || in_scalar) {
        parts.extend(at.rule(&examples()));
    }
    if in_scalar && let Some(span) = node.scalar.clone() {
        let names = Names::of(document, documents);
        let (part, marked) = at.value(&names, &span);
        parts.extend(part);
        range = marked;
    }
    if in_head && matches!(node.kind, NodeKind::Key(_)) {
        let names = Names::of(document, documents);
        parts.extend(at.key(&names));
        range = node.head.clone();
    } else if parts.is_empty() && in_scalar {
        parts.extend(at.nearest_key());
    }
    if parts.is_empty() {
        return None;
    }
    let value = parts.join("\n\n");
    Some(Hover {
        contents: HoverContents::Markup(MarkupContent { kind: MarkupKind::Markdown, value }),
        range: Some(text.range(&range)),
    })
}

/// The node at the pointer.
struct HoverTarget<'d> {
    document: &'d OpenDocument,
    index: usize,
    node: &'d OutlineNode,
    byte: usize,
}

impl<'d> HoverTarget<'d> {
    fn text(&self) -> &'d str {
        &self.document.text().text
    }

    fn path(&self) -> Vec<PathStep<'d>> {
        self.document.outline().path(Some(self.index))
    }

    fn is_library(&self) -> bool {
        self.document.outline().child(None, "library").is_some()
    }

    /// True at the dash of a rule and at its id.
    fn names_rule(&self) -> bool {
        matches!(
            self.path().as_slice(),
            [PathStep::Key("rules"), PathStep::Item]
                | [PathStep::Key("rules"), PathStep::Item, PathStep::Key("id")]
        )
    }

    /// The node of the rule around.
    fn rule_node(&self) -> Option<usize> {
        let outline = self.document.outline();
        let rules = outline.child(None, "rules")?;
        outline
            .ancestors(self.index)
            .find(|node| outline.node(*node).is_some_and(|node| node.parent == Some(rules)))
    }

    /// The scalar of a key of the rule around.
    fn of_rule(&self, key: &str) -> Option<String> {
        let outline = self.document.outline();
        let child = outline.child(Some(self.rule_node()?), key)?;
        scalar(outline.node(child)?, self.text())
    }

    /// The rule with its points and the results of its examples.
    fn rule(&self, results: &[ExampleResult]) -> Option<String> {
        let id = self.of_rule("id")?;
        let mut out = format!("**{}**", escaped(&id));
        if let Some(points) = self.of_rule("points") {
            let _ = write!(out, ": {points} points");
        }
        for (key, name) in [("per", "per"), ("cap", "cap")] {
            if let Some(value) = self.of_rule(key) {
                let _ = write!(out, ", {name} {value}");
            }
        }
        for key in ["veto", "shadow"] {
            if self.of_rule(key).as_deref() == Some("true") {
                let _ = write!(out, ", {key}");
            }
        }
        if let Some(about) = self.of_rule("about") {
            let _ = write!(out, "\n\n{}", escaped(&about));
        }
        let file = self.document.name();
        let own: Vec<&ExampleResult> =
            results.iter().filter(|result| result.rule == id && result.file == file).collect();
        if own.is_empty() {
            out.push_str("\n\nNo example was run.");
            return Some(out);
        }
        let failed = own.iter().filter(|result| result.failure.is_some()).count();
        let _ = write!(out, "\n\n{} examples, {failed} not as expected\n", own.len());
        for result in own.iter().take(MAX_EXAMPLES) {
            let verdict = if result.hit.is_some() { "hit" } else { "miss" };
            let _ = write!(out, "\n- {verdict}: {}", code(&result.text));
            let spans = result.hit.as_deref().unwrap_or_default();
            for [start, end] in spans.iter().take(3) {
                let found: String = result.text.chars().skip(*start).take(end - start).collect();
                let _ = write!(out, ", found {} at {start}–{end}", code(&found));
            }
            if let Some(failure) = &result.failure {
                let _ = write!(out, " — **{}**", escaped(failure));
            }
        }
        if own.len() > MAX_EXAMPLES {
            let _ = write!(out, "\n- and {} more", own.len() - MAX_EXAMPLES);
        }
        Some(out)
    }

    /// The documentation of a key, or the type of a fact.
    fn key(&self, names: &Names) -> Option<String> {
        let NodeKind::Key(key) = &self.node.kind else { return None };
        let path = self.path();
        if let Some(doc) = pack_schema().key_doc(&path, self.is_library()) {
            return Some(format!("`{key}`: {doc}"));
        }
        let is_fact =
            path.iter().any(|step| matches!(step, PathStep::Key("when" | "context" | "facts")));
        let fact = key.strip_prefix("context.").unwrap_or(key);
        let values = names.facts.get(fact).filter(|_| is_fact)?;
        Some(format!("`context.{fact}`: {}", values.described()))
    }

    /// The documentation of the key whose value is at the pointer.
    fn nearest_key(&self) -> Option<String> {
        let path = self.path();
        let keys = path.iter().rposition(|step| matches!(step, PathStep::Key(_)))?;
        let Some(PathStep::Key(name)) = path.get(keys) else { return None };
        let doc = pack_schema().key_doc(path.get(..=keys)?, self.is_library())?;
        Some(format!("`{name}`: {doc}"))
    }

    /// The description of a value, and the part of the text that it is about.
    fn value(&self, names: &Names, span: &Range<usize>) -> (Vec<String>, Range<usize>) {
        let written = self.text().get(span.clone()).unwrap_or_default();
        let value = unquoted(written);
        let path = self.path();
        let is_item = path.last() == Some(&PathStep::Item);
        let key = path.iter().rev().find_map(|step| match step {
            PathStep::Key(key) => Some(*key),
            PathStep::Item => None,
        });
        let in_names = is_item && path.contains(&PathStep::Key("names"));
        match key.unwrap_or_default() {
            "regex" => (
                vec![format!("Compared as {}, without letter case", code(&folded_pattern(&value)))],
                span.clone(),
            ),
            "where" | "must" => self.expression(names, written, span),
            "unit" if names.units.contains_key(&value) => {
                let units = names.units.get(&value).map(|units| units.join(", "));
                (
                    units
                        .map(|units| format!("The units {}", escaped(&units)))
                        .into_iter()
                        .collect(),
                    span.clone(),
                )
            }
            "any_of" | "near" | "not_near" | "allow" | "unit" if is_item => {
                (self.word(names, &value, written, span), span.clone())
            }
            _ if in_names
                || matches!(path.first(), Some(PathStep::Key("words" | "aliases" | "units"))) =>
            {
                (self.word(names, &value, written, span), span.clone())
            }
            _ => match self.number(names, written, span) {
                Some((part, marked)) => (vec![part], marked),
                None => (Vec::new(), span.clone()),
            },
        }
    }

    /// A word of a list: the words that `$name` stands for, or the folded form, with its number.
    fn word(&self, names: &Names, value: &str, written: &str, span: &Range<usize>) -> Vec<String> {
        if let Some(list) = value.strip_prefix('$').and_then(|name| names.words.get(name)) {
            return vec![format!("The words {}", escaped(&list.join(", ")))];
        }
        let mut parts = vec![format!("Compared as {}", code(&fold(value)))];
        parts.extend(self.number(names, written, span).map(|(part, _)| part));
        parts
    }

    /// The name in an expression at the pointer.
    fn expression(
        &self,
        names: &Names,
        written: &str,
        span: &Range<usize>,
    ) -> (Vec<String>, Range<usize>) {
        let at = guerdon_text::floor_char_boundary(written, self.byte - span.start);
        let in_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
        let (before, after) = written.split_at(at);
        let start = before.trim_end_matches(in_word).len();
        let end = written.len() - after.trim_start_matches(in_word).len();
        let word = written.get(start..end).unwrap_or_default();
        let fact = word.strip_prefix("context.").and_then(|fact| names.facts.get(fact));
        let known = VALUES.iter().find(|(name, _)| *name == word);
        let shown = match (fact, known) {
            (Some(values), _) => Some(format!("`{word}`: {}", values.described())),
            (None, Some((_, doc))) => Some(format!("`{word}`: {doc}")),
            _ => None,
        };
        (shown.into_iter().collect(), span.start + start..span.start + end)
    }

    /// The number at the pointer, as `number:` reads it, and its place.
    fn number(
        &self,
        names: &Names,
        written: &str,
        span: &Range<usize>,
    ) -> Option<(String, Range<usize>)> {
        // A number of the pack itself is no text that a rule reads.
        if written.len() > MAX_TEXT || written.parse::<f64>().is_ok() {
            return None;
        }
        let mut units: Vec<String> = names.units.values().flatten().cloned().collect();
        units.extend(
            names.used_units.iter().filter(|unit| !names.units.contains_key(*unit)).cloned(),
        );
        if units.is_empty() {
            units.extend(["元", "¥", "$", "%", "折"].map(str::to_owned));
        }
        let offset = self.byte - span.start;
        let byte =
            |chars: usize| written.char_indices().nth(chars).map_or(written.len(), |(at, _)| at);
        read_numbers(written, &units).into_iter().find_map(|number| {
            let [start, end] = number.span.map(byte);
            let inside = start <= offset && offset <= end;
            inside.then(|| {
                let shown = written.get(start..end).unwrap_or_default();
                (described(&number, shown), span.start + start..span.start + end)
            })
        })
    }
}

fn described(number: &NumberReading, written: &str) -> String {
    let mut out = format!("{} reads as {}", code(written), number.value);
    if let Some(unit) = &number.unit {
        let _ = write!(out, " {unit}");
    }
    if number.low < number.high {
        let _ = write!(out, ", of the range {} to {}", number.low, number.high);
    }
    if let Some(off) = number.percent_off {
        let _ = write!(out, ", {off} percent off");
    }
    out
}

/// A text as code in Markdown.
fn code(text: &str) -> String {
    let text = text.replace('\n', "⏎");
    let text = cut(&text, MAX_QUOTED);
    let fence = if text.contains('`') { "``" } else { "`" };
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// A text as plain text in Markdown.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in cut(text, 1_000).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '$') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
