//! Names of a model's labels, for errors about its output section.

use std::path::Path;

use serde::Deserialize;

use crate::load::files::read_text;

/// The largest number of names in an error.
const MAX_NAMES: usize = 24;

/// The longest name in an error, in characters.
const MAX_NAME: usize = 40;

/// The part of a `config.json` of transformers that names the labels.
#[derive(Deserialize)]
struct ModelConfiguration {
    #[serde(default)]
    id2label: serde_json::Map<String, serde_json::Value>,
}

/// `detail` with the names that the folder's `config.json` gives to the labels, if it is there and
/// has names other than the default `LABEL_0`.
pub(crate) fn with_label_names(detail: String, folder: &Path) -> String {
    // The file is not part of the model: without it, the error has no names.
    let Some(names) = read_text(&folder.join("config.json")).ok().and_then(|text| names(&text))
    else {
        return detail;
    };
    format!("{detail}; config.json names the labels {names}")
}

/// `0 (helpfulness), 1 (correctness)`.
fn names(config: &str) -> Option<String> {
    let config: ModelConfiguration = serde_json::from_str(config).ok()?;
    let mut names: Vec<(usize, String)> = config
        .id2label
        .iter()
        .filter_map(|(id, name)| Some((id.parse().ok()?, name.as_str()?)))
        .map(|(id, name)| (id, name.chars().take(MAX_NAME).collect()))
        .collect();
    names.sort_unstable();
    if names.len() < 2 || names.iter().all(|(_, name)| name.starts_with("LABEL_")) {
        return None;
    }
    let more = names.len() > MAX_NAMES;
    let listed: Vec<String> =
        names.into_iter().take(MAX_NAMES).map(|(id, name)| format!("{id} ({name})")).collect();
    Some(format!("{}{}", listed.join(", "), if more { ", ..." } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_named_in_the_order_of_their_ids() {
        let config = r#"{"num_labels": 3, "id2label": {"10": "c", "0": "a", "2": "b"}}"#;
        assert_eq!(names(config).unwrap(), "0 (a), 2 (b), 10 (c)");
        let many: Vec<String> =
            (0..200).map(|id| format!("\"{id}\": \"{}\"", "n".repeat(99))).collect();
        let many = names(&format!("{{\"id2label\": {{{}}}}}", many.join(", "))).unwrap();
        assert!(many.ends_with(", ...") && many.len() < 24 * 60, "{}", many.len());
    }

    #[test]
    fn default_names_and_other_files_add_nothing() {
        for config in [
            "",
            "[]",
            "{}",
            r#"{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}"#,
            r#"{"id2label": {"0": "reward"}}"#,
            r#"{"id2label": 3}"#,
        ] {
            assert_eq!(names(config), None, "{config}");
        }
        assert_eq!(with_label_names("as it was".to_owned(), Path::new("nowhere")), "as it was");
    }
}
