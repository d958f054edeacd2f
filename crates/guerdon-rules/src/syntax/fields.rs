//! Reads YAML mappings key by key. An unknown key is reported with the nearest known one, and
//! reading continues.

use std::collections::BTreeMap;
use std::ops::Range;

use guerdon_text::{Finding, did_you_mean, nearest};

use crate::syntax::aliases::Aliases;
use crate::syntax::codes::PackCode;
use crate::syntax::yaml::{WithSpan, Yaml};

/// The findings of a pack while it is read.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) findings: Vec<Finding>,
    /// The unit lists that the pack declares.
    pub(crate) units: BTreeMap<String, Vec<String>>,
    pub(crate) aliases: Aliases,
}

/// The entries of a mapping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MappingFields<'a> {
    entries: &'a [(WithSpan<String>, WithSpan<Yaml>)],
    /// The keys that the mapping may have.
    known: &'static [&'static str],
}

impl<'a> MappingFields<'a> {
    pub(crate) fn get(self, key: &str) -> Option<&'a WithSpan<Yaml>> {
        self.entries.iter().find(|(k, _)| k.value == key).map(|(_, value)| value)
    }

    /// Returns true if an unknown key of the mapping looks like a misspelling of `key`.
    pub(crate) fn is_misspelt(self, key: &str) -> bool {
        self.entries.iter().map(|(other, _)| other.value.as_str()).any(|other| {
            !self.known.contains(&other) && nearest(other, self.known.iter().copied()) == Some(key)
        })
    }

    /// The source position of the key.
    pub(crate) fn key(self, key: &str) -> Option<Range<usize>> {
        self.entries.iter().find(|(k, _)| k.value == key).map(|(k, _)| k.span.clone())
    }
}

impl Reader {
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
                self.push(
                    Finding::new(PackCode::UnknownKey, key.span.clone(), message)
                        .label(format!("not a key of {of}"))
                        .help(format!("{of} has the keys {}", known.join(", ")))
                        .nearest(&key.value, known.iter().copied()),
                );
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
                self.push(
                    Finding::new(PackCode::WrongType, node.span.clone(), "expected text")
                        .label(format!("this is {}", node.value.kind()))
                        .help("put it in quotes"),
                );
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

    /// Reads a list of words with the spellings that the pack declares.
    pub(crate) fn spelt_words(&mut self, node: Option<&WithSpan<Yaml>>) -> Vec<String> {
        let words = self.words(node);
        let more: Vec<String> =
            words.iter().flat_map(|word| self.aliases.spellings(word)).collect();
        words.into_iter().chain(more).collect()
    }

    /// Reads a list of units. The name of a declared list stands for its units.
    pub(crate) fn unit_words(&mut self, node: Option<&WithSpan<Yaml>>) -> Vec<String> {
        let mut units = Vec::new();
        for word in self.words(node) {
            match self.units.get(&word) {
                Some(declared) => units.extend(declared.iter().cloned()),
                None => units.push(word),
            }
        }
        units
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
        let help = did_you_mean(&text, names.iter().copied())
            .unwrap_or_else(|| format!("one of {}", names.join(", ")));
        self.bad(&node.span, format!("`{text}` is not known here"), help);
        None
    }

    pub(crate) fn wrong<T>(&mut self, node: &WithSpan<Yaml>, message: &str) -> Option<T> {
        let finding = Finding::new(PackCode::WrongType, node.span.clone(), message)
            .label(format!("this is {}", node.value.kind()));
        self.push(match (message, &node.value) {
            ("expected a list", Yaml::Text(text)) => finding.help(format!("in brackets: [{text}]")),
            ("expected a number", Yaml::Text(text)) if text.parse::<f64>().is_ok() => {
                finding.help(format!("without quotes: {text}"))
            }
            ("expected true or false", Yaml::Text(_)) => {
                finding.help("YAML's words are `true` and `false`")
            }
            (_, Yaml::Null) => {
                finding.help("write a value, or leave the key out; `null` as a word needs quotes")
            }
            _ => finding,
        });
        None
    }
}
