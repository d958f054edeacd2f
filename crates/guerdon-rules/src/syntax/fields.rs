//! Reads YAML mappings key by key. An unknown key is reported with the nearest known one, and
//! reading continues.

use std::ops::Range;

use guerdon_text::{Finding, cut, nearest};

use crate::syntax::codes::PackCode;
use crate::syntax::declarations::FileDeclarations;
use crate::syntax::yaml::{WithSpan, Yaml};

/// The findings of a pack while it is read.
#[derive(Debug, Default)]
pub(crate) struct Reader<'t> {
    /// The text as written.
    pub(crate) text: &'t str,
    pub(crate) findings: Vec<Finding>,
    pub(crate) declared: FileDeclarations,
    /// The number of words that lists may still stand for; `None` once there were too many.
    pub(crate) left: Option<usize>,
}

/// The greatest number of words and units that the names of lists stand for, in all files together.
pub(crate) const MAX_EXPANDED: usize = 500_000;

/// The entries of a mapping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MappingFields<'a> {
    entries: &'a [(WithSpan<String>, WithSpan<Yaml>)],
    /// The keys that the mapping may have.
    known: &'static [&'static str],
}

impl<'a> MappingFields<'a> {
    /// The entries of a mapping whose unknown keys were reported.
    pub(crate) const fn new(
        entries: &'a [(WithSpan<String>, WithSpan<Yaml>)],
        known: &'static [&'static str],
    ) -> Self {
        Self { entries, known }
    }

    pub(crate) fn get(self, key: &str) -> Option<&'a WithSpan<Yaml>> {
        self.entries.iter().find(|(k, _)| k.value == key).map(|(_, value)| value)
    }

    /// Returns true if an unknown key of the mapping looks like a misspelling of `key`.
    pub(crate) fn is_misspelt(self, key: &str) -> bool {
        self.entries.iter().map(|(other, _)| other.value.as_str()).any(|other| {
            let joined = joined_key(other, self.known);
            let meant = joined.as_deref().and_then(|joined| joined.split_once(':'));
            let near = || nearest(other, self.known.iter().copied());
            !self.known.contains(&other)
                && meant.map_or_else(near, |(name, _)| Some(name)) == Some(key)
        })
    }

    /// The source position of the key.
    pub(crate) fn key(self, key: &str) -> Option<Range<usize>> {
        self.entries.iter().find(|(k, _)| k.value == key).map(|(k, _)| k.span.clone())
    }
}

impl<'t> Reader<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, left: Some(MAX_EXPANDED), ..Self::default() }
    }

    /// A part of the text as written.
    pub(crate) fn written(&self, span: &Range<usize>) -> &'t str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    pub(crate) fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub(crate) fn bad(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Finding::new(PackCode::BadValue, span.clone(), message).help(help));
    }

    /// The entries of the mapping `node`. Reports keys that are not in `known`. `of` names the
    /// mapping, as in "a rule".
    pub(crate) fn fields<'a>(
        &mut self,
        node: &'a WithSpan<Yaml>,
        of: &str,
        known: &'static [&'static str],
    ) -> Option<MappingFields<'a>> {
        let Yaml::Map(entries) = &node.value else {
            return self.wrong(node, &format!("{of} is a mapping"));
        };
        for (key, _) in entries {
            if !known.contains(&key.value.as_str()) {
                let message = format!("unknown key `{}`", key.value);
                let finding = Finding::new(PackCode::UnknownKey, key.span.clone(), message)
                    .label(format!("not a key of {of}"));
                self.push(match joined_key(&key.value, known) {
                    Some(apart) => {
                        let help = format!("write a space after the colon: `{apart}`");
                        finding.help(help).fix(key.span.clone(), apart)
                    }
                    None => finding
                        .help(format!("{of} has the keys {}", known.join(", ")))
                        .nearest(&key.value, known.iter().copied()),
                });
            }
        }
        Some(MappingFields { entries, known })
    }

    /// The value of a required key. A missing key is reported, unless an unknown key looks like a
    /// misspelling of it.
    pub(crate) fn need<'a>(
        &mut self,
        fields: MappingFields<'a>,
        key: &str,
        of: &str,
        at: &Range<usize>,
    ) -> Option<&'a WithSpan<Yaml>> {
        let found = fields.get(key);
        if found.is_none() && !fields.is_misspelt(key) {
            self.push(
                Finding::new(PackCode::MissingKey, at.clone(), format!("{of} has no `{key}`"))
                    .help(format!("add `{key}:`")),
            );
        }
        found
    }

    pub(crate) fn text(&mut self, node: &WithSpan<Yaml>) -> Option<String> {
        match &node.value {
            Yaml::Text(text) => Some(text.clone()),
            Yaml::Number(_) | Yaml::Bool(_) => {
                let written = self.written(&node.span);
                let finding = Finding::new(PackCode::WrongType, node.span.clone(), "expected text")
                    .label(format!("this is {}", node.value.kind()))
                    .help(format!("put it in quotes: '{}'", cut(written, 40)));
                self.push(finding.fix(node.span.clone(), format!("'{written}'")));
                None
            }
            _ => self.wrong(node, "expected text"),
        }
    }

    pub(crate) fn number(&mut self, node: &WithSpan<Yaml>) -> Option<f64> {
        match node.value {
            Yaml::Number(value) if value.is_finite() => Some(value),
            _ => self.wrong(node, "expected a number"),
        }
    }

    /// Reads a whole number of at least `least`.
    pub(crate) fn whole(&mut self, node: &WithSpan<Yaml>, least: u32) -> Option<usize> {
        let value = self.number(node)?;
        if value.fract().abs() > 0.0 || value < f64::from(least) || value > 1e6 {
            self.bad(
                &node.span,
                format!("`{value}` is not allowed here"),
                format!("a whole number from {least} on"),
            );
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be 0..=1e6 and whole"
        )]
        Some(value as usize)
    }

    pub(crate) fn share(&mut self, node: &WithSpan<Yaml>) -> Option<f64> {
        let value = self.number(node)?;
        if !(0.0..=1.0).contains(&value) {
            self.bad(&node.span, format!("`{value}` is not a share"), "a number from 0 to 1");
            return None;
        }
        Some(value)
    }

    pub(crate) fn boolean(&mut self, node: &WithSpan<Yaml>) -> Option<bool> {
        match node.value {
            Yaml::Bool(value) => Some(value),
            _ => self.wrong(node, "expected true or false"),
        }
    }

    pub(crate) fn list<'a>(&mut self, node: &'a WithSpan<Yaml>) -> &'a [WithSpan<Yaml>] {
        match &node.value {
            Yaml::List(items) => items,
            _ => {
                self.wrong::<()>(node, "expected a list");
                &[]
            }
        }
    }

    pub(crate) fn texts(&mut self, node: &WithSpan<Yaml>) -> Vec<WithSpan<String>> {
        self.list(node)
            .iter()
            .filter_map(|item| {
                self.text(item).map(|value| WithSpan { value, span: item.span.clone() })
            })
            .collect()
    }

    /// Reads a list of texts, without their source positions.
    pub(crate) fn words(&mut self, node: Option<&WithSpan<Yaml>>) -> Vec<String> {
        node.map(|node| self.texts(node).into_iter().map(|at| at.value).collect())
            .unwrap_or_default()
    }

    /// Reads a list of words, in which the name of a list stands for its words.
    pub(crate) fn listed_words(&mut self, node: Option<&WithSpan<Yaml>>) -> Vec<String> {
        let words = node.map(|node| self.texts(node)).unwrap_or_default();
        self.expanded(words).into_iter().map(|at| at.value).collect()
    }

    /// Reads a list of words with the spellings that the pack declares.
    pub(crate) fn spelt_words(&mut self, node: Option<&WithSpan<Yaml>>) -> Vec<String> {
        let words = self.listed_words(node);
        let more: Vec<String> =
            words.iter().flat_map(|word| self.declared.aliases.spellings(word)).collect();
        words.into_iter().chain(more).collect()
    }

    /// Reads a list of units. The name of a declared list stands for its units.
    pub(crate) fn unit_words(&mut self, node: Option<&WithSpan<Yaml>>) -> Vec<String> {
        let Some(node) = node else { return Vec::new() };
        let mut units = Vec::new();
        for word in self.texts(node) {
            match self.declared.units.get(&word.value).cloned() {
                Some(declared) if self.spend(declared.len(), &word.span) => {
                    units.extend(declared.iter().cloned());
                }
                Some(_) => return units,
                None => units.push(word.value),
            }
        }
        units
    }

    /// Takes `words` from the number of words that lists may still stand for. Reports the first
    /// list that there are none left for.
    pub(crate) fn spend(&mut self, words: usize, span: &Range<usize>) -> bool {
        let Some(left) = self.left else { return false };
        self.left = left.checked_sub(words);
        if self.left.is_none() {
            let message = format!("all lists together stand for more than {MAX_EXPANDED} words");
            let finding = Finding::new(PackCode::TooLarge, span.clone(), message);
            self.push(finding.help("use shorter lists, or use them in fewer rules"));
        }
        self.left.is_some()
    }

    /// Reads one of `choices`.
    pub(crate) fn choice<T: Clone>(
        &mut self,
        node: &WithSpan<Yaml>,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(node)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(value.clone());
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let message = format!("`{text}` is not known here");
        let help = format!("one of {}", names.join(", "));
        let finding = Finding::new(PackCode::BadValue, node.span.clone(), message).help(help);
        self.push(finding.nearest(&text, names.iter().copied()));
        None
    }

    pub(crate) fn wrong<T>(&mut self, node: &WithSpan<Yaml>, message: &str) -> Option<T> {
        let finding = Finding::new(PackCode::WrongType, node.span.clone(), message)
            .label(format!("this is {}", node.value.kind()));
        let written = self.written(&node.span);
        let at = node.span.clone();
        self.push(match (message, &node.value) {
            ("expected a list", Yaml::Text(_) | Yaml::Number(_) | Yaml::Bool(_)) => {
                let list = format!("[{written}]");
                finding.help(format!("in brackets: {}", cut(&list, 80))).fix(at, list)
            }
            ("expected a list", Yaml::Map(_)) => {
                finding.help("begin each item with a dash and a space: `- `")
            }
            ("expected text", Yaml::List(items)) => match items.as_slice() {
                [WithSpan { value: Yaml::Text(_), span }] => {
                    let inner = self.written(span);
                    finding.help(format!("without brackets: {}", cut(inner, 80))).fix(at, inner)
                }
                _ => finding.help("write one text; a text that begins with `[` needs quotes"),
            },
            ("expected text", Yaml::Map(_)) => {
                finding.help("write one text; a text with `{` or `: ` needs quotes")
            }
            ("expected a number", Yaml::Text(text)) => match number_in(text) {
                Some(number) if number.len() == text.len() => {
                    finding.help(format!("without quotes: {number}")).fix(at, number)
                }
                Some(number) => finding.help(format!("a number alone, such as {number}")),
                None => finding.help("write a number, such as -20"),
            },
            ("expected true or false", Yaml::Text(text)) => {
                let finding = finding.help("YAML's words are `true` and `false`");
                match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "y" | "true" => finding.fix(at, "true"),
                    "no" | "off" | "n" | "false" => finding.fix(at, "false"),
                    _ => finding,
                }
            }
            (_, Yaml::Null) => {
                finding.help("write a value, or leave the key out; `null` as a word needs quotes")
            }
            (message, Yaml::List(_)) if message.contains("is a mapping") => {
                finding.help("write keys and values: `key: value`, without dashes or brackets")
            }
            (message, _) if message.contains("is a mapping") => {
                finding.help("write keys and values, such as { key: value }")
            }
            _ => finding.help(format!("{message}, such as {}", such_as(message))),
        });
        None
    }
}

/// An example of a value of the type that `message` expects.
fn such_as(message: &str) -> &'static str {
    match message {
        "expected a number" => "-20",
        "expected true or false" => "true",
        "expected a list" => "[word, other word]",
        _ => "'a text in quotes'",
    }
}

/// The number at the start of a text, with a minus of another keyboard as `-`.
fn number_in(text: &str) -> Option<String> {
    let text = text.trim().replace(['−', '－', '–'], "-");
    let number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.');
    let end = text.find(|c| !number(c)).unwrap_or(text.len());
    let number = text.get(..end)?.trim_start_matches('+');
    number.parse::<f64>().is_ok().then(|| number.to_owned())
}

/// The known key at the start of `key` and the rest, with the space that is missing: `id: a` for
/// `id:a`.
fn joined_key(key: &str, known: &[&str]) -> Option<String> {
    let (name, rest) = key.split_once([':', '：'])?;
    (known.contains(&name) && !rest.is_empty()).then(|| format!("{name}: {rest}"))
}
