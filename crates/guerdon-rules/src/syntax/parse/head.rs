//! Reads the declarations at the head of a file.

use guerdon_text::Finding;

use crate::syntax::codes::PackCode;
use crate::syntax::declarations::WordLists;
use crate::syntax::facts::{FactType, Facts, MAX_COMPARED};
use crate::syntax::fields::{MappingFields, Reader};
use crate::syntax::yaml::{WithSpan, Yaml};

/// The greatest number of texts that a fact can be declared to be one of.
const MAX_VALUES: usize = 1_000;

impl Reader<'_> {
    /// Reads the declarations of the file itself.
    pub(crate) fn declarations(&mut self, fields: MappingFields<'_>) {
        if let Some(node) = fields.get("units") {
            self.declared.units = self.lists(node, "units", "money: [元, '¥', RMB]");
        }
        if let Some(node) = fields.get("words") {
            self.declared.words = self.lists(node, "words", "refusals: [不能, cannot]");
        }
        if let Some(node) = fields.get("aliases") {
            self.declare_aliases(node);
        }
        if let Some(node) = fields.get("facts") {
            self.declare_facts(node);
        }
    }

    /// Reads lists with names, as under `units:` and `words:`.
    fn lists(&mut self, node: &WithSpan<Yaml>, key: &str, example: &str) -> WordLists {
        let mut lists = WordLists::new();
        let Yaml::Map(entries) = &node.value else {
            let message = format!("`{key}` is a mapping of names to lists");
            self.bad(&node.span, message, example);
            return lists;
        };
        for (name, list) in entries {
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
            if name.value.is_empty() || !name.value.chars().all(good) {
                let message = format!("`{}` is not a name of {key}", name.value);
                self.bad(&name.span, message, format!("lower-case letters, such as {example}"));
                continue;
            }
            let found = self.findings.len();
            let texts = self.texts(list);
            let is_read = self.findings.len() == found;
            if key == "words" {
                for text in &texts {
                    if self.list_name(&text.value).is_some() {
                        let message = format!("`{}` names a list inside a list", text.value);
                        self.bad(
                            &text.span,
                            message,
                            "write its words, or name both lists in the rule",
                        );
                    }
                }
            }
            let words: Vec<String> = texts.into_iter().map(|text| text.value).collect();
            if words.is_empty() || words.iter().any(|word| word.trim().is_empty()) {
                if is_read {
                    let message = format!("`{}` is empty or has an empty item", name.value);
                    self.bad(&list.span, message, "list at least one");
                }
                continue;
            }
            lists.insert(name.value.clone(), words.into());
        }
        lists
    }

    /// Reads `aliases:`, words with their other spellings.
    fn declare_aliases(&mut self, node: &WithSpan<Yaml>) {
        let Yaml::Map(entries) = &node.value else {
            let help = "微信: [威信, 薇信]";
            self.bad(&node.span, "`aliases` is a mapping of words to other spellings", help);
            return;
        };
        for (word, list) in entries {
            let found = self.findings.len();
            let others = self.words(Some(list));
            let is_read = self.findings.len() == found;
            let empty = others.is_empty() || others.iter().any(|other| other.trim().is_empty());
            if empty || word.value.trim().is_empty() {
                if is_read {
                    let message = format!("`{}` has no other spelling", word.value);
                    self.bad(&list.span, message, "list at least one");
                }
                continue;
            }
            self.declared.aliases.insert(word.value.clone(), others);
        }
    }

    /// Reads `facts:`, the keys of the context with their types.
    fn declare_facts(&mut self, node: &WithSpan<Yaml>) {
        let mut facts = Facts::default();
        let Yaml::Map(entries) = &node.value else {
            let help = "target_price: number";
            self.bad(&node.span, "`facts` is a mapping of context keys to types", help);
            return;
        };
        for (key, kind) in entries {
            let path = key.value.strip_prefix("context.").unwrap_or(&key.value);
            if path.split('.').any(str::is_empty) {
                let message = format!("`{}` is not a key of the context", key.value);
                self.bad(&key.span, message, "such as target_price, or offer.price in a mapping");
                continue;
            }
            self.fact_name(key, path);
            if let Some(kind) = self.fact_type(kind) {
                facts.declare(path, kind);
            }
        }
        let groups: Vec<&WithSpan<String>> = entries
            .iter()
            .map(|(key, _)| key)
            .filter(|key| facts.is_group(key.value.strip_prefix("context.").unwrap_or(&key.value)))
            .collect();
        for key in groups {
            let message = format!("`{}` is a value and a mapping", key.value);
            self.bad(&key.span, message, "declare only the keys in the mapping");
        }
        self.declared.facts = Some(facts);
    }

    fn fact_type(&mut self, node: &WithSpan<Yaml>) -> Option<FactType> {
        if let Yaml::List(_) = node.value {
            let values = self.words(Some(node));
            if values.is_empty() {
                self.bad(&node.span, "no value is allowed", "list the values, or write `text`");
                return None;
            }
            if values.len() > MAX_VALUES {
                let message = format!("more than {MAX_VALUES} values");
                self.bad(&node.span, message, "declare the fact as `text`");
                return None;
            }
            return Some(FactType::OneOf(values));
        }
        self.choice(node, &FactType::NAMED)
    }

    /// The name of a list of words in `$name`. In other letters it is a name only if there is such a
    /// list: the text may be an amount such as `$USD`.
    fn list_name<'w>(&self, word: &'w str) -> Option<&'w str> {
        let name = word.strip_prefix('$')?;
        let is_name = |name: &str| {
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
            name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(good)
        };
        let lower = || name.to_ascii_lowercase();
        (is_name(name) || self.declared.words.contains_key(&lower())).then_some(name)
    }

    /// Replaces each `$name` by the words of the list.
    pub(crate) fn expanded(&mut self, words: Vec<WithSpan<String>>) -> Vec<WithSpan<String>> {
        let mut all = Vec::with_capacity(words.len());
        for word in words {
            let Some(name) = self.list_name(&word.value) else {
                all.push(word);
                continue;
            };
            let Some(list) = self.declared.words.get(name).cloned() else {
                if self.declared.is_partial {
                    continue;
                }
                let message = format!("no list of words is called `{name}`");
                let names = self.declared.words.keys().take(MAX_COMPARED);
                let names: Vec<String> = names.map(|name| format!("${name}")).collect();
                let help = if names.is_empty() {
                    format!("declare `words: {{ {}: [...] }}` or import it", name.to_lowercase())
                } else {
                    format!("there are {}", names.get(..20).unwrap_or(&names).join(", "))
                };
                let finding = Finding::new(PackCode::BadValue, word.span.clone(), message)
                    .help(help)
                    .nearest(&word.value, names.iter().map(String::as_str));
                self.push(finding);
                continue;
            };
            if !self.spend(list.len(), &word.span) {
                return all;
            }
            let span = &word.span;
            all.extend(
                list.iter().map(|value| WithSpan { value: value.clone(), span: span.clone() }),
            );
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use guerdon_text::SourceText;

    use crate::syntax::codes::PackCode;
    use crate::syntax::parse::parse_all;

    #[test]
    fn a_list_of_words_that_does_not_exist_is_reported_wherever_it_is_named() {
        let bad = |head: &str, word: &str| {
            let text = format!(
                "pack: p\n{head}rules:\n  - {{ id: a, points: -1, match: {{ any_of: [{word}] }} }}\n"
            );
            let parsed = parse_all(&[SourceText::new("p.yaml", text)]);
            parsed[0].findings.iter().filter(|one| one.code() == PackCode::BadValue.into()).count()
        };
        let own = "words: { never: [cannot] }\n";
        for (head, word) in [
            ("", "$never"),
            (own, "$nevr"),
            (own, "$Never"),
            (own, "$NEVER"),
            ("words: { never: [cannot], all: [$never] }\n", "$all"),
            ("words: { all: [x, $other] }\n", "$all"),
        ] {
            assert_eq!(bad(head, word), 1, "{head} {word}");
        }
        for (head, word) in [(own, "$never"), (own, "$100"), ("", "$100"), ("", "$USD"), ("", "$")]
        {
            assert_eq!(bad(head, word), 0, "{head} {word}");
        }
    }

    #[test]
    fn the_words_that_lists_stand_for_are_bounded_in_all_files_together() {
        let words: Vec<String> = (0..50_000).map(|index| format!("w{index}")).collect();
        let lists = format!("words: {{ all: [{0}] }}\nunits: {{ all: [{0}] }}\n", words.join(", "));
        let pack = |id: &str| {
            let mut pack = format!("pack: {id}\n{lists}rules:\n");
            for index in 0..4 {
                pack +=
                    &format!("  - {{ id: r{index}, points: -1, match: {{ any_of: [$all] }} }}\n");
                pack += &format!(
                    "  - {{ id: n{index}, points: -1, match: {{ number: {{ unit: [all] }} }} }}\n"
                );
            }
            SourceText::new(format!("{id}.yaml"), pack)
        };
        let parsed = parse_all(&[pack("p"), pack("q")]);
        let too_large = |findings: &[guerdon_text::Finding]| {
            findings.iter().filter(|finding| finding.code() == PackCode::TooLarge.into()).count()
        };
        let counts: Vec<usize> = parsed.iter().map(|text| too_large(&text.findings)).collect();
        assert_eq!(counts, [0, 1], "reported once");
    }
}
