//! Parses the predicate of a rule: `match` with its compositions, or `check`.

use std::ops::Range;

use guerdon_text::Finding;

use crate::syntax::codes::PackCode;
use crate::syntax::fields::{MappingFields, Reader};
use crate::syntax::pack::{
    Across, Checksum, Language, LengthUnit, MixLimits, NearWords, NumberWords, Predicate,
    RepetitionOf,
};
use crate::syntax::parse::entry;
use crate::syntax::yaml::{WithSpan, Yaml};
use crate::text::speech::{SpeechAct, SpeechActs};

pub(crate) const MATCH_KEYS: &[&str] = &[
    "any_of",
    "regex",
    "number",
    "tool_call",
    "all",
    "any",
    "not",
    "fold",
    "word",
    "near",
    "not_near",
    "within",
    "unless",
    "count",
    "checksum",
];
pub(crate) const NEAR_KEYS: &[&str] = &["near", "not_near", "within"];
pub(crate) const NUMBER_KEYS: &[&str] = &["unit", "near", "not_near", "within"];
pub(crate) const CHECK_KEYS: &[&str] = &[
    "length",
    "repetition",
    "language_mix",
    "markup",
    "json",
    "prices",
    "arithmetic",
    "unsupported_numbers",
    "tool_calls",
    "json_schema",
    "state",
];
pub(crate) const LENGTH_KEYS: &[&str] = &["min", "max", "of"];
pub(crate) const PRICES_KEYS: &[&str] = &["names", "unit", "must"];
pub(crate) const ARITHMETIC_KEYS: &[&str] = &["tolerance"];
pub(crate) const UNSUPPORTED_KEYS: &[&str] = &["unit", "least"];
pub(crate) const REPETITION_KEYS: &[&str] = &["across", "ngram", "share", "min", "sentence"];
pub(crate) const LANGUAGE_MIX_KEYS: &[&str] = &["language", "share", "min", "allow", "names"];

/// Keys of `match`, each with the alternatives that it applies to.
pub(crate) const FITTING: [(&str, &[&str]); 8] = [
    ("fold", &["any_of", "regex"]),
    ("word", &["any_of"]),
    ("checksum", &["regex"]),
    ("count", &["any_of", "regex", "number", "tool_call", "all", "any"]),
    ("unless", &["any_of", "regex", "number", "all", "any"]),
    ("near", &["any_of", "regex"]),
    ("not_near", &["any_of", "regex"]),
    ("within", &["any_of", "regex"]),
];
/// The alternative keys of `match`; exactly one must be present.
pub(crate) const KINDS: [&str; 7] = ["any_of", "regex", "number", "tool_call", "all", "any", "not"];
const MAX_DEPTH: usize = 8;

/// The position of a `match` within others.
#[derive(Debug, Clone, Copy, Default)]
struct Nesting {
    depth: usize,
    /// The acts under `unless` of the matches around it.
    unless: SpeechActs,
}

impl Reader<'_> {
    /// Parses the `match` or the `check` of a rule.
    pub(super) fn test_of(
        &mut self,
        rule: MappingFields<'_>,
        at: &Range<usize>,
    ) -> Option<Predicate> {
        match (rule.get("match"), rule.get("check")) {
            (Some(node), None) => {
                let at = rule.key("match").unwrap_or_default();
                self.matcher(node, at, Nesting::default())
            }
            (None, Some(node)) => self.check(node, rule.key("check").unwrap_or_default()),
            (Some(_), Some(_)) => {
                let span = rule.key("check").unwrap_or_default();
                self.push(
                    Finding::new(
                        PackCode::Contradiction,
                        span,
                        "a rule with both `match` and `check`",
                    )
                    .help("make it two rules"),
                );
                None
            }
            (None, None) if rule.is_misspelt("match") || rule.is_misspelt("check") => None,
            (None, None) => {
                self.push(
                    Finding::new(
                        PackCode::MissingKey,
                        at.clone(),
                        "the rule has neither `match` nor `check`",
                    )
                    .help("add `match: { any_of: [...] }`"),
                );
                None
            }
        }
    }

    fn matcher(
        &mut self,
        node: &WithSpan<Yaml>,
        at: Range<usize>,
        nesting: Nesting,
    ) -> Option<Predicate> {
        if nesting.depth > MAX_DEPTH {
            self.push(Finding::new(
                PackCode::TooLarge,
                at,
                format!("nested deeper than {MAX_DEPTH}"),
            ));
            return None;
        }
        let fields = self.fields(node, "`match`", MATCH_KEYS)?;
        let kind = self.only(fields, &KINDS, "`match`", at)?;
        let span = fields.key(kind).unwrap_or_default();
        let value = fields.get(kind)?;
        for (key, kinds) in FITTING {
            self.fits(fields, key, kind, kinds);
        }
        let fold = fields.get("fold").and_then(|node| self.boolean(node)).unwrap_or(true);
        let word = fields.get("word").and_then(|node| self.boolean(node)).unwrap_or(false);
        let count = fields.get("count").and_then(|node| self.whole(node, 1)).unwrap_or(1);
        let unless = nesting.unless.union(self.unless(fields, fold));
        let inner = Nesting { depth: nesting.depth + 1, unless };
        match kind {
            "any_of" => {
                let words = self.texts(value);
                let mut words = self.expanded(words);
                let spellings: Vec<WithSpan<String>> = words
                    .iter()
                    .flat_map(|word| {
                        let spelt = self.declared.aliases.spellings(&word.value).into_iter();
                        spelt.map(|value| WithSpan { value, span: word.span.clone() })
                    })
                    .collect();
                words.extend(spellings);
                let empty = matches!(&value.value, Yaml::List(items) if items.is_empty());
                self.not_empty(empty, &span, "any_of")?;
                let near = self.nearby(fields, fold)?;
                (!words.is_empty()).then_some(Predicate::Literals {
                    words,
                    fold,
                    word,
                    near,
                    unless: if fold { unless } else { SpeechActs::default() },
                    count,
                })
            }
            "regex" => {
                let pattern = WithSpan { value: self.text(value)?, span: value.span.clone() };
                self.no_backspace(&pattern)?;
                let spelt = self.declared.aliases.pattern(&pattern.value);
                let near = self.nearby(fields, fold)?;
                let unless = if fold { unless } else { SpeechActs::default() };
                let rules = [("luhn", Checksum::Luhn), ("mod11", Checksum::Mod11)];
                let checksum = match fields.get("checksum") {
                    Some(node) => Some(self.choice(node, &rules)?),
                    None => None,
                };
                Some(Predicate::Regex { pattern, spelt, fold, checksum, near, unless, count })
            }
            "number" => {
                let numbers = self.numbers(value, span)?;
                Some(Predicate::Number { numbers, unless, count })
            }
            "tool_call" => self.tool_call(value, count),
            // A match that is suppressed must not make `not` true, so nothing is inherited.
            "not" => {
                let inner = Nesting { unless: SpeechActs::default(), ..inner };
                self.matcher(value, span, inner).map(|test| Predicate::Not(Box::new(test)))
            }
            _ => {
                let nodes = self.list(value);
                self.not_empty(nodes.is_empty(), &span, kind)?;
                self.test_and_negation(kind, nodes);
                let tests: Vec<Option<Predicate>> =
                    nodes.iter().map(|node| self.matcher(node, span.clone(), inner)).collect();
                let tests: Option<Vec<Predicate>> = tests.into_iter().collect();
                Some(if kind == "all" {
                    Predicate::All { tests: tests?, count }
                } else {
                    Predicate::Any { tests: tests?, count }
                })
            }
        }
    }

    /// Refuses the regex `"\bdeal\b"`: in double quotes, YAML reads `\b` as a backspace.
    fn no_backspace(&mut self, pattern: &WithSpan<String>) -> Option<()> {
        let written = self.written(&pattern.span);
        let inner = written.strip_prefix('"').and_then(|inner| inner.strip_suffix('"'));
        let (Some(inner), true) = (inner, pattern.value.contains('\u{8}')) else {
            return Some(());
        };
        let at = pattern.span.start + written.find("\\b").unwrap_or_default();
        let message = "`\\b` in double quotes is a backspace";
        let finding = Finding::new(PackCode::BadRegex, at..at + 2, message)
            .help("write the regex in single quotes, in which `\\b` is the end of a word");
        let is_plain = !inner.contains("\\\\") && !inner.contains("\\\"");
        self.push(if is_plain {
            finding.fix(pattern.span.clone(), format!("'{}'", inner.replace('\'', "''")))
        } else {
            finding
        });
        None
    }

    fn numbers(&mut self, node: &WithSpan<Yaml>, span: Range<usize>) -> Option<NumberWords> {
        let fields = self.fields(node, "`number`", NUMBER_KEYS)?;
        Some(NumberWords {
            span,
            unit: self.unit_words(fields.get("unit")),
            near: self.nearby(fields, true)?,
        })
    }

    /// Reads `unless`, a speech act or a list of them.
    fn unless(&mut self, fields: MappingFields<'_>, fold: bool) -> SpeechActs {
        let Some(node) = fields.get("unless") else { return SpeechActs::default() };
        if let (false, Some(span)) = (fold, fields.key("unless")) {
            let finding = Finding::new(PackCode::Contradiction, span, "`unless` needs folded text");
            self.push(finding.help("drop `fold: false`"));
        }
        let choices = SpeechAct::ALL.map(|act| (act.name(), act));
        let nodes = match &node.value {
            Yaml::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if nodes.is_empty() {
            self.bad(&node.span, "`unless` is empty", "list at least one, such as negated");
        }
        let acts = nodes.iter().filter_map(|node| self.choice(node, &choices));
        acts.fold(SpeechActs::default(), SpeechActs::with)
    }

    fn nearby(&mut self, fields: MappingFields<'_>, fold: bool) -> Option<NearWords> {
        if let (false, Some(span)) = (fold, NEAR_KEYS.iter().find_map(|key| fields.key(key))) {
            let message = "`near` and `not_near` need folded text";
            self.push(
                Finding::new(PackCode::Contradiction, span, message).help("drop `fold: false`"),
            );
            return None;
        }
        if let (Some(span), None, None) =
            (fields.key("within"), fields.get("near"), fields.get("not_near"))
        {
            let message = "`within` has no effect without `near` or `not_near`";
            self.push(
                Finding::new(PackCode::Contradiction, span, message)
                    .help("add `near` or `not_near`"),
            );
        }
        let near = self.spelt_words(fields.get("near"));
        let not_near = self.spelt_words(fields.get("not_near"));
        self.near_and_not_near(fields, &near, &not_near);
        Some(NearWords {
            near,
            not_near,
            within: fields.get("within").and_then(|node| self.whole(node, 1)).unwrap_or(12),
        })
    }

    fn check(&mut self, node: &WithSpan<Yaml>, at: Range<usize>) -> Option<Predicate> {
        let fields = self.fields(node, "`check`", CHECK_KEYS)?;
        let kind = self.only(fields, CHECK_KEYS, "`check`", at)?;
        let value = fields.get(kind)?;
        let span = fields.key(kind).unwrap_or_default();
        match kind {
            "length" => self.length(value, &span),
            "repetition" => self.repetition(value, &span),
            "markup" => self.choice(value, &[("whole", Predicate::Unclosed)]),
            "json" => self.choice(value, &[("valid", Predicate::Json)]),
            "prices" => self.prices(value, &span),
            "arithmetic" => self.arithmetic(value),
            "unsupported_numbers" => self.unsupported(value),
            "tool_calls" => self.tool_calls(value, &span),
            "json_schema" => self.json_schema(value, &span),
            "state" => self.state(value, &span),
            _ => {
                if entry(value, "language").is_none() {
                    self.known_fact("language", &span, "context.");
                }
                self.language_mix(value)
            }
        }
    }

    fn length(&mut self, node: &WithSpan<Yaml>, span: &Range<usize>) -> Option<Predicate> {
        let fields = self.fields(node, "`length`", LENGTH_KEYS)?;
        let min = fields.get("min").and_then(|node| self.whole(node, 0));
        let max = fields.get("max").and_then(|node| self.whole(node, 0));
        if min.is_none() && max.is_none() {
            self.bad(span, "`length` has neither `min` nor `max`", "such as { max: 400 }");
            return None;
        }
        let measures = [
            ("characters", LengthUnit::Characters),
            ("tokens", LengthUnit::Tokens),
            ("sentences", LengthUnit::Sentences),
        ];
        let of = fields
            .get("of")
            .map_or(Some(LengthUnit::Characters), |node| self.choice(node, &measures));
        self.length_limits(fields, min, max);
        Some(Predicate::Length { of: of?, min, max })
    }

    fn prices(&mut self, node: &WithSpan<Yaml>, span: &Range<usize>) -> Option<Predicate> {
        let fields = self.fields(node, "`prices`", PRICES_KEYS)?;
        let names = self.need(fields, "names", "`prices`", span)?;
        let must = self.need(fields, "must", "`prices`", span)?;
        let must = WithSpan { value: self.text(must)?, span: must.span.clone() };
        let Yaml::Map(entries) = &names.value else {
            return self
                .wrong(names, "`names` is a mapping of names to the words that announce them");
        };
        let mut named = Vec::new();
        for (name, words) in entries {
            let good = |c: char| c.is_ascii_lowercase() || c == '_';
            if name.value.is_empty() || !name.value.chars().all(good) {
                self.bad(
                    &name.span,
                    format!("`{}` is not a name", name.value),
                    "lower-case letters, such as selling",
                );
                return None;
            }
            let announced = self.listed_words(Some(words));
            self.not_empty(
                announced.is_empty() || announced.iter().any(String::is_empty),
                &words.span,
                "names",
            )?;
            named.push((name.value.clone(), announced));
        }
        self.not_empty(named.is_empty(), span, "names")?;
        Some(Predicate::Prices { names: named, unit: self.unit_words(fields.get("unit")), must })
    }

    fn arithmetic(&mut self, node: &WithSpan<Yaml>) -> Option<Predicate> {
        let fields = self.fields(node, "`arithmetic`", ARITHMETIC_KEYS)?;
        let tolerance = fields.get("tolerance").map_or(Some(0.001), |node| self.share(node))?;
        Some(Predicate::Arithmetic { tolerance })
    }

    fn unsupported(&mut self, node: &WithSpan<Yaml>) -> Option<Predicate> {
        let fields = self.fields(node, "`unsupported_numbers`", UNSUPPORTED_KEYS)?;
        let least = fields.get("least").map_or(Some(0.0), |node| self.number(node))?;
        Some(Predicate::UnsupportedNumbers { unit: self.unit_words(fields.get("unit")), least })
    }

    fn repetition(&mut self, node: &WithSpan<Yaml>, span: &Range<usize>) -> Option<Predicate> {
        let fields = self.fields(node, "`repetition`", REPETITION_KEYS)?;
        let choices = [("previous", Across::Previous), ("within", Across::Within)];
        let across = self
            .need(fields, "across", "`repetition`", span)
            .and_then(|node| self.choice(node, &choices));
        let kind = self.only(fields, &["ngram", "sentence"], "`repetition`", span.clone())?;
        self.fits(fields, "share", kind, &["ngram"]);
        self.fits(fields, "min", kind, &["ngram"]);
        let of = if kind == "sentence" {
            let tokens = fields.get("sentence").and_then(|node| self.whole(node, 1))?;
            RepetitionOf::Sentence { tokens }
        } else {
            let n = fields.get("ngram").and_then(|node| self.whole(node, 1))?;
            let node = self.need(fields, "share", "`repetition`", span)?;
            let min = fields.get("min").and_then(|node| self.whole(node, 0)).unwrap_or(0);
            let share = self.share(node)?;
            self.share_limit(node, share, 0.0);
            RepetitionOf::Ngrams { n, share, min }
        };
        Some(Predicate::Repetition { across: across?, of })
    }

    fn language_mix(&mut self, node: &WithSpan<Yaml>) -> Option<Predicate> {
        let fields = self.fields(node, "`language_mix`", LANGUAGE_MIX_KEYS)?;
        let choices = [("zh", Language::Zh), ("en", Language::En)];
        let language = fields.get("language").map(|node| self.choice(node, &choices));
        let node = self.need(fields, "share", "`language_mix`", &node.span)?;
        let share = self.share(node)?;
        self.share_limit(node, share, 1.0);
        let min = fields.get("min").and_then(|node| self.whole(node, 0)).unwrap_or(0);
        let allow = self.listed_words(fields.get("allow"));
        let names = fields.get("names").and_then(|node| self.boolean(node)).unwrap_or(false);
        let language = match language {
            None => None,
            Some(language) => Some(language?),
        };
        Some(Predicate::LanguageMix { language, mix: MixLimits { share, min, allow, names } })
    }

    /// The one key of `kinds` that is present.
    fn only<'k>(
        &mut self,
        fields: MappingFields<'_>,
        kinds: &[&'k str],
        of: &str,
        at: Range<usize>,
    ) -> Option<&'k str> {
        let mut found = kinds.iter().copied().filter(|kind| fields.get(kind).is_some());
        let names = kinds.join(", ");
        let Some(first) = found.next() else {
            if kinds.iter().any(|kind| fields.is_misspelt(kind)) {
                return None;
            }
            self.push(
                Finding::new(PackCode::MissingKey, at, format!("{of} is empty"))
                    .help(format!("one of {names}")),
            );
            return None;
        };
        if let Some(second) = found.next() {
            let span = fields.key(second).unwrap_or_default();
            let help = if of == "`match`" {
                format!("combine them: all: [{{ {first}: ... }}, {{ {second}: ... }}]")
            } else {
                "keep one".to_owned()
            };
            let message = format!("{of} has both `{first}` and `{second}`");
            self.push(Finding::new(PackCode::Contradiction, span, message).help(help));
            return None;
        }
        Some(first)
    }

    /// Reports `key` if it does not apply to `kind`.
    fn fits(&mut self, fields: MappingFields<'_>, key: &str, kind: &str, kinds: &[&str]) {
        if let (Some(span), false) = (fields.key(key), kinds.contains(&kind)) {
            let message = format!("`{key}` does not apply to `{kind}`");
            self.push(
                Finding::new(PackCode::Contradiction, span, message)
                    .help(format!("it applies to {}", kinds.join(", "))),
            );
        }
    }

    fn not_empty(&mut self, empty: bool, span: &Range<usize>, key: &str) -> Option<()> {
        if empty {
            self.bad(span, format!("`{key}` is empty"), "list at least one");
            return None;
        }
        Some(())
    }
}
