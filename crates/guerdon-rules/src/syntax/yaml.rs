//! YAML as a tree in which every key and value has a source position.
//!
//! Serde stops at the first invalid value, but the author of a pack needs all errors. The text
//! therefore becomes a tree first. `parse/` walks the tree and continues after an error.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use guerdon_text::Finding;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, NonFiniteFloatPolicy, Spanned};

use crate::syntax::codes::PackCode;
use crate::syntax::slips;

/// A value and its source position, in bytes of the text.
#[derive(Debug, Clone)]
pub(crate) struct WithSpan<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// Any YAML value.
#[derive(Debug, Clone)]
pub(crate) enum Yaml {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<WithSpan<Self>>),
    Map(Vec<(WithSpan<String>, WithSpan<Self>)>),
}

impl Yaml {
    /// The kind of the value, as named in messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Reads one document. Without a tree, the last finding says why there is none.
pub(crate) fn read(text: &str) -> (Option<WithSpan<Yaml>>, Vec<Finding>) {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
    };
    if let Some(finding) = without_content(text).or_else(|| control_character(text)) {
        return (None, vec![finding]);
    }
    match serde_saphyr::from_str_with_options::<Spanned<RawYaml>>(text, options) {
        Ok(raw) => {
            let mut spans = SourceSpans { text, findings: Vec::new() };
            let tree = raw.value.locate(&mut spans, raw.referenced);
            (Some(tree), spans.findings)
        }
        Err(error) => (None, vec![unreadable(text, &error)]),
    }
}

/// The finding for a text without a value.
fn without_content(text: &str) -> Option<Finding> {
    let content = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_blank = |line: &str| line.is_empty() || line.starts_with('#') || line == "---";
    content.lines().map(str::trim).all(is_blank).then(|| {
        Finding::new(PackCode::Syntax, 0..0, "the file is empty")
            .help("a pack begins with `pack: NAME` and has `rules:`")
    })
}

/// The finding for a text with a control character, which YAML does not allow.
fn control_character(text: &str) -> Option<Finding> {
    let (at, c) = text
        .char_indices()
        .find(|(_, c)| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{85}'))?;
    let message = format!("not valid YAML: the control character {}", c.escape_unicode());
    let span = at..at + c.len_utf8();
    let finding = Finding::new(PackCode::Syntax, span.clone(), message);
    let help = "remove it; in double quotes it can be written as an escape, such as \"\\x00\"";
    Some(finding.help(help).fix(span, ""))
}

/// The finding for a text that the YAML reader refuses.
fn unreadable(text: &str, error: &serde_saphyr::Error) -> Finding {
    let spans = SourceSpans { text, findings: Vec::new() };
    let place = error.location().map(|location| spans.span(location));
    let error = error.without_snippet();
    let span = place.unwrap_or(text.len()..text.len());
    if let serde_saphyr::Error::MultipleDocuments { .. } = error {
        let at = second_document(text).unwrap_or(span.start);
        return Finding::new(PackCode::Syntax, at..at + 3, "a second document begins here")
            .help("a file has one pack; put the second one into a file of its own");
    }
    if let serde_saphyr::Error::UnsupportedTag { .. } = error
        && let Some(finding) = tag(text, span.start)
    {
        return finding;
    }
    if let Some(finding) = too_large(text, error, &span) {
        return finding;
    }
    let found = slips::explain(text, span.start);
    found.unwrap_or_else(|| {
        let message = error.to_string();
        let message = message.lines().next().unwrap_or("not YAML");
        // Cuts off the position, which the report states.
        let message = message.split(" at line ").next().unwrap_or(message);
        Finding::new(PackCode::Syntax, span, format!("not valid YAML: {message}"))
            .help("quote texts that contain `: `, ` #`, or begin with a sign: 'like: this'")
    })
}

/// The finding for a text that takes more than the YAML reader's bounds.
fn too_large(text: &str, error: &serde_saphyr::Error, span: &Range<usize>) -> Option<Finding> {
    use serde_saphyr::Error as Yaml;
    let mut error = error;
    while let Yaml::AliasError { error: inner, .. } = error {
        error = inner;
    }
    let (message, help) = match error {
        Yaml::AliasReplayCounterOverflow { .. }
        | Yaml::AliasReplayLimitExceeded { .. }
        | Yaml::AliasExpansionLimitExceeded { .. }
        | Yaml::AliasReplayStackDepthExceeded { .. } => (
            "the aliases (`*name`) of the file stand for too much text",
            "name long lists once under `words:` or `units:`, and use fewer aliases",
        ),
        _ if open_brackets(text, span.start) > MAX_BRACKETS => {
            ("brackets are nested too deeply", "close the brackets, or write a list with dashes")
        }
        Yaml::Budget { .. } => (
            "the file has too many values, or nests them too deeply",
            "split it into several packs, and use fewer aliases (`*name`)",
        ),
        _ => return None,
    };
    Some(Finding::new(PackCode::TooLarge, span.clone(), message).help(help))
}

/// The number of brackets within each other that no pack needs.
const MAX_BRACKETS: usize = 100;

/// The number of brackets that are open at a byte.
fn open_brackets(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text).bytes();
    before.fold(0, |open: usize, byte| match byte {
        b'[' | b'{' => open + 1,
        b']' | b'}' => open.saturating_sub(1),
        _ => open,
    })
}

/// The finding for a tag, such as `!list`, of the value at `value`.
fn tag(text: &str, value: usize) -> Option<Finding> {
    let from = text.get(..value)?.rfind(char::is_whitespace).map_or(0, |space| space + 1);
    let at = match text.get(from..)?.starts_with('!') {
        true => from,
        false => text.get(..value)?.rfind('!')?,
    };
    let rest = text.get(at..)?;
    let length = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let after = rest.get(length..)?.trim_start_matches(' ');
    let message = "not valid YAML: `!` begins a tag, which packs do not have";
    let finding = Finding::new(PackCode::Syntax, at..at + length, message);
    Some(if after.starts_with(['[', '{', '\'', '"']) {
        let end = at + rest.len() - after.len();
        finding.help("remove the tag").fix(at..end, "")
    } else {
        finding.help("quote a text that begins with `!`")
    })
}

/// The line `---` after the first line with content.
fn second_document(text: &str) -> Option<usize> {
    let (mut at, mut has_content) = (0, false);
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        if content == "---" && has_content {
            return Some(at);
        }
        has_content |= !content.is_empty() && content != "---" && !content.starts_with('#');
        at += line.len();
    }
    None
}

/// A value as returned by the YAML reader.
enum RawYaml {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl RawYaml {
    fn locate(self, spans: &mut SourceSpans<'_>, location: Location) -> WithSpan<Yaml> {
        let span = spans.span(location);
        let value = match self {
            Self::Null => Yaml::Null,
            Self::Bool(value) => Yaml::Bool(value),
            Self::Number(value) if value.is_finite() => Yaml::Number(value),
            Self::Number(_) => {
                let message = "not a number that can be counted with";
                let finding = Finding::new(PackCode::WrongType, span.clone(), message);
                spans.findings.push(finding.help("write a finite number, such as -20"));
                // Stands in for a number, so that it is reported once.
                Yaml::Number(1.0)
            }
            Self::Text(value) => Yaml::Text(value),
            Self::List(items) => {
                Yaml::List(items.into_iter().map(|i| i.value.locate(spans, i.referenced)).collect())
            }
            Self::Map(entries) => Yaml::Map(Self::entries(entries, spans)),
        };
        WithSpan { value, span }
    }

    /// The entries of a mapping, of which each key is kept once.
    fn entries(
        entries: Vec<(Spanned<String>, Spanned<Self>)>,
        spans: &mut SourceSpans<'_>,
    ) -> Vec<(WithSpan<String>, WithSpan<Yaml>)> {
        let mut kept: Vec<(WithSpan<String>, WithSpan<Yaml>)> = Vec::new();
        let mut places: HashSet<String> = HashSet::new();
        for (k, v) in entries {
            let key = WithSpan { span: spans.span(k.referenced), value: k.value };
            let mut value = v.value.locate(spans, v.referenced);
            if matches!(value.value, Yaml::Null) && value.span.start <= key.span.end + 1 {
                // A value that is left out has no place of its own.
                value.span = key.span.clone();
            }
            if !places.insert(key.value.clone()) {
                let message = format!("not valid YAML: duplicate key `{}`", key.value);
                let finding = Finding::new(PackCode::Syntax, key.span, message);
                spans.findings.push(finding.help("keep one of the two"));
                continue;
            }
            kept.push((key, value));
        }
        kept
    }
}

/// Converts the YAML reader's locations to byte ranges of `text`.
struct SourceSpans<'a> {
    text: &'a str,
    /// Problems of values that could be read.
    findings: Vec<Finding>,
}

impl SourceSpans<'_> {
    fn span(&self, location: Location) -> Range<usize> {
        let span = location.span();
        let to_usize = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        if let (Some(offset), Some(len)) = (span.byte_offset(), span.byte_len()) {
            return to_usize(offset)..to_usize(offset.saturating_add(len));
        }
        let byte = |chars: u64| {
            self.text.char_indices().nth(to_usize(chars)).map_or(self.text.len(), |(byte, _)| byte)
        };
        byte(span.offset())..byte(span.offset().saturating_add(span.len()))
    }
}

impl<'de> Deserialize<'de> for RawYaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawYaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<RawYaml, E> {
        Ok(RawYaml::Null)
    }

    fn visit_none<E>(self) -> Result<RawYaml, E> {
        Ok(RawYaml::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawYaml, D::Error> {
        RawYaml::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawYaml, E> {
        Ok(RawYaml::Bool(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "no number of a pack needs more than 53 bits")]
    fn visit_i64<E>(self, value: i64) -> Result<RawYaml, E> {
        Ok(RawYaml::Number(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "no number of a pack needs more than 53 bits")]
    fn visit_u64<E>(self, value: u64) -> Result<RawYaml, E> {
        Ok(RawYaml::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<RawYaml, E> {
        Ok(RawYaml::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<RawYaml, E> {
        Ok(RawYaml::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<RawYaml, E> {
        Ok(RawYaml::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawYaml, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(RawYaml::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawYaml, A::Error> {
        let mut entries: Vec<(Spanned<String>, Spanned<RawYaml>)> = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            entries.push((key, map.next_value()?));
        }
        Ok(RawYaml::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_have_source_positions() {
        let text = "# 中文\npack: guardrails\nrules:\n  - id: 'a'\n    points: -3\n";
        let tree = read(text).0.unwrap();
        let Yaml::Map(entries) = tree.value else { panic!("a mapping") };
        assert_eq!(&text[entries[0].0.span.clone()], "pack");
        assert_eq!(&text[entries[0].1.span.clone()], "guardrails");
        let Yaml::List(rules) = &entries[1].1.value else { panic!("a list") };
        let Yaml::Map(rule) = &rules[0].value else { panic!("a mapping") };
        assert_eq!(&text[rule[0].1.span.clone()], "'a'");
        assert_eq!(&text[rule[1].1.span.clone()], "-3");
    }

    #[test]
    fn invalid_yaml_and_duplicate_keys_are_refused() {
        assert!(read("pack: [1, 2").0.is_none());
        let mut bomb = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        for level in 1..9 {
            let inner = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb += &format!("a{level}: &a{level} [{inner}]\n");
        }
        for large in [bomb, "a: ".to_owned() + &"[".repeat(5_000)] {
            let (tree, findings) = read(&large);
            assert!(tree.is_none());
            assert_eq!(findings[0].code(), PackCode::TooLarge.into(), "{findings:?}");
        }
        let (tree, findings) = read("a: 1\na: 2\nb: .nan\nc: 99999999999");
        let Yaml::Map(entries) = tree.unwrap().value else { panic!("a mapping") };
        assert_eq!((entries.len(), findings.len()), (3, 2), "{findings:?}");
    }
}
