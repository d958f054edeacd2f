//! Other spellings of words that a pack declares, such as homophones: `微信: [威信, 薇信]`.
//!
//! They are written into the words and the regexes of the pack when it is read, so that every
//! matcher finds them at exact spans and other packs do not.

use std::collections::BTreeMap;

/// The greatest number of spellings of one word.
const MAX_SPELLINGS: usize = 64;

/// Words with their other spellings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aliases {
    words: BTreeMap<String, Vec<String>>,
}

impl Aliases {
    pub(crate) fn insert(&mut self, word: String, spellings: Vec<String>) {
        self.words.insert(word, spellings);
    }

    /// The number of spellings.
    pub(crate) fn len(&self) -> usize {
        self.words.values().map(Vec::len).sum()
    }

    /// Adds the spellings of an imported file. Returns the words that have others here.
    pub(crate) fn import(&mut self, other: &Self) -> Vec<String> {
        let mut conflicts = Vec::new();
        for (word, spellings) in &other.words {
            let own = self.words.entry(word.clone()).or_insert_with(|| spellings.clone());
            if own != spellings {
                conflicts.push(word.clone());
            }
        }
        conflicts
    }

    /// The other spellings of `text`, in which each declared word is replaced by each of its
    /// spellings.
    pub(crate) fn spellings(&self, text: &str) -> Vec<String> {
        let mut all = vec![text.to_owned()];
        for (word, others) in self.words.iter().filter(|(word, _)| text.contains(word.as_str())) {
            let more: Vec<String> = all
                .iter()
                .flat_map(|text| others.iter().map(|other| text.replace(word.as_str(), other)))
                .collect();
            all.extend(more);
            all.truncate(MAX_SPELLINGS);
        }
        all.remove(0);
        all
    }

    /// The regex `pattern` in which each declared word is a group of all its spellings, if it has
    /// one. A word in a character class, or with a repetition of its last character, stays.
    pub(crate) fn pattern(&self, pattern: &str) -> Option<String> {
        let mut out = String::with_capacity(pattern.len());
        let (mut at, mut in_class, mut changed) = (0, false, false);
        while let Some(c) = pattern.get(at..).and_then(|rest| rest.chars().next()) {
            let rest = pattern.get(at..).unwrap_or_default();
            if c == '\\' {
                let length = rest.chars().take(2).map(char::len_utf8).sum::<usize>();
                out.push_str(rest.get(..length).unwrap_or_default());
                at += length;
                continue;
            }
            in_class = (in_class || c == '[') && c != ']';
            let found = self.words.iter().find(|(word, _)| {
                let repeats = rest.get(word.len()..).unwrap_or_default();
                !in_class
                    && rest.starts_with(word.as_str())
                    && !repeats.starts_with(['?', '*', '+', '{'])
            });
            if let Some((word, others)) = found {
                let all: Vec<String> = std::iter::once(word)
                    .chain(others)
                    .map(|spelling| regex_syntax::escape(spelling))
                    .collect();
                out.push_str(&format!("(?:{})", all.join("|")));
                at += word.len();
                changed = true;
            } else {
                out.push(c);
                at += c.len_utf8();
            }
        }
        changed.then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_patterns_get_every_spelling() {
        let mut aliases = Aliases::default();
        aliases.insert("微信".into(), vec!["威信".into(), "v.x".into()]);
        aliases.insert("加".into(), vec!["伽".into()]);
        assert_eq!(aliases.spellings("加微信"), ["伽微信", "加威信", "加v.x", "伽威信", "伽v.x"]);
        assert!(aliases.spellings("好的").is_empty());
        let pattern = aliases.pattern(r"加[微信加]?(?:我的)?微信|微信?\[微信").unwrap();
        let wanted = r"(?:加|伽)[微信加]?(?:我的)?(?:微信|威信|v\.x)|微信?\[(?:微信|威信|v\.x)";
        assert_eq!(pattern, wanted);
        assert_eq!(aliases.pattern("好的"), None);
    }
}
