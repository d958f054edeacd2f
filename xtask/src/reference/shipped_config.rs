//! The values of the shipped `guerdon.toml`, those behind comment signs included.

use toml::{Table, Value};

/// The shipped configuration with every key set.
#[derive(Debug)]
pub(super) struct ShippedConfig(Table);

impl ShippedConfig {
    /// Reads the text of `guerdon.toml`.
    ///
    /// # Errors
    /// The text is not TOML once its keys are uncommented.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let lines: Vec<&str> = text.lines().map(uncommented).collect();
        Ok(Self(toml::from_str(&lines.join("\n"))?))
    }

    /// The value of a key as TOML. In the path `NAME` is any table, and `list[]` any element.
    pub(super) fn value(&self, path: &str) -> Option<String> {
        let segments: Vec<&str> = path.split('.').collect();
        find(&Value::Table(self.0.clone()), &segments)
    }

    /// The paths of all keys, with `NAME` for names and `list[]` for lists of tables.
    #[cfg(test)]
    pub(super) fn paths(&self) -> std::collections::BTreeSet<String> {
        let mut found = std::collections::BTreeSet::new();
        collect("", &Value::Table(self.0.clone()), &mut found);
        found
    }
}

fn find(value: &Value, segments: &[&str]) -> Option<String> {
    let Some((first, rest)) = segments.split_first() else { return Some(value.to_string()) };
    let table = value.as_table()?;
    if *first == "NAME" {
        return table.values().find_map(|value| find(value, rest));
    }
    match first.strip_suffix("[]") {
        Some(list) => table.get(list)?.as_array()?.iter().find_map(|value| find(value, rest)),
        None => find(table.get(*first)?, rest),
    }
}

#[cfg(test)]
fn collect(path: &str, value: &Value, found: &mut std::collections::BTreeSet<String>) {
    /// Tables whose keys are not those of the configuration, or are listed elsewhere.
    const WHOLE: [&str; 2] = ["fallback", "extra_body"];
    let last = path.rsplit('.').next().unwrap_or_default();
    match value {
        Value::Table(table) if !WHOLE.contains(&last) => {
            for (key, value) in table {
                let named =
                    matches!(path, "models" | "judges" | "profiles" | "profiles.NAME.sources");
                let key = if named { "NAME" } else { key };
                let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                collect(&path, value, found);
            }
        }
        Value::Array(items) if items.first().is_some_and(Value::is_table) => {
            for item in items {
                collect(&format!("{path}[]"), item, found);
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

/// The line without its comment sign if it is a key or a table that is not set.
fn uncommented(line: &str) -> &str {
    let Some(rest) = line.strip_prefix("# ") else { return line };
    let (name, after) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
    let is_key = after.starts_with(" = ") && name.chars().all(is_name);
    let is_table = after.is_empty()
        && name.starts_with('[')
        && name.trim_matches(['[', ']']).chars().all(is_name);
    if is_key || is_table { rest } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_path_with_any_name_and_element() {
        let text = "# a = 1\n# A sentence = none\n[models.e5]\npath = \"m\"\n# [[auth.tokens]]\n# env = \"T\"";
        let config = ShippedConfig::parse(text).unwrap();
        assert_eq!(config.value("a").as_deref(), Some("1"));
        assert_eq!(config.value("models.NAME.path").as_deref(), Some("\"m\""));
        assert_eq!(config.value("auth.tokens[].env").as_deref(), Some("\"T\""));
        assert_eq!(config.value("auth.tokens[].file"), None);
        let paths: Vec<String> = config.paths().into_iter().collect();
        assert_eq!(paths, ["a", "auth.tokens[].env", "models.NAME.path"]);
    }
}
