//! The changes that formatting makes, in words.

use std::fmt;

/// The differences between a pack and the formatted one. `Display` describes them in a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormatChanges {
    /// Set if the keys of the pack were sorted.
    pub pack: bool,
    /// The ids of the rules whose keys were sorted.
    pub rules: Vec<String>,
    /// Set if spaces at the ends of lines or empty lines were changed.
    pub spacing: bool,
}

/// The number of rules that a description names.
const MAX_NAMED: usize = 5;

impl fmt::Display for FormatChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.rules.get(..MAX_NAMED).unwrap_or(&self.rules).join(", ");
        let rules = match self.rules.len() {
            0 => String::new(),
            1 => format!("of rule {named}"),
            2..=MAX_NAMED => format!("of rules {named}"),
            count => format!("of rules {named} and {} more", count - MAX_NAMED),
        };
        let of = match (self.pack, rules.is_empty()) {
            (true, true) => "of the pack".to_owned(),
            (true, false) => format!("of the pack and {rules}"),
            (false, _) => rules,
        };
        let sorted = if of.is_empty() { String::new() } else { format!("sorted the keys {of}") };
        let spacing = if self.spacing { "corrected spaces and empty lines" } else { "" };
        let parts = [sorted.as_str(), spacing].into_iter().filter(|part| !part.is_empty());
        f.write_str(&parts.collect::<Vec<_>>().join("; "))
    }
}
