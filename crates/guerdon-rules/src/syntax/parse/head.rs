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
            let words = self.words(Some(list));
            if words.is_empty() || words.iter().any(|word| word.trim().is_empty()) {
                if matches!(list.value, Yaml::List(_)) {
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
            let others = self.words(Some(list));
            let empty = others.is_empty() || others.iter().any(|other| other.trim().is_empty());
            if empty || word.value.trim().is_empty() {
                if matches!(list.value, Yaml::List(_)) {
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

    /// Replaces each `$name` by the words of the list.
    pub(crate) fn expanded(&mut self, words: Vec<WithSpan<String>>) -> Vec<WithSpan<String>> {
        if self.declared.words.is_empty() {
            return words;
        }
        let mut all = Vec::with_capacity(words.len());
        for word in words {
            let is_name = |name: &&str| {
                name.starts_with(|c: char| c.is_ascii_lowercase())
                    && name
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
            };
            let Some(name) = word.value.strip_prefix('$').filter(is_name) else {
                all.push(word);
                continue;
            };
            let Some(list) = self.declared.words.get(name).cloned() else {
                let message = format!("no list of words is called `{name}`");
                let names = self.declared.words.keys().take(MAX_COMPARED);
                let names: Vec<String> = names.map(|name| format!("${name}")).collect();
                let finding = Finding::new(PackCode::BadValue, word.span.clone(), message)
                    .help(format!("there are {}", names.get(..20).unwrap_or(&names).join(", ")))
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
