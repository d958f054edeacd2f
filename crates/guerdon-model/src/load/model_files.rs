//! The `[files]` section of the manifest: the files of a model with their hashes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::load::files::{Sha256Hex, size};

/// The files of a model, relative to its folder; hashes are SHA-256 in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelFiles {
    /// The ONNX graph.
    pub model: PathBuf,
    /// The hash of the graph.
    pub model_sha256: Sha256Hex,
    /// The files of weights beside the graph, which names them too: a string, or a list for
    /// several.
    #[serde(default, with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub model_data: Vec<PathBuf>,
    /// The hashes of the files of weights, in the same order.
    #[serde(default, with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub model_data_sha256: Vec<Sha256Hex>,
    /// The Hugging Face `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// The hash of the tokenizer.
    pub tokenizer_sha256: Sha256Hex,
    /// The Jinja chat template; only with `format = "chat_template"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<PathBuf>,
    /// The hash of the chat template, which is checked if given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template_sha256: Option<Sha256Hex>,
}

/// A file of a model and its hash, if the manifest states it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NamedFile<'a> {
    pub(crate) path: &'a Path,
    pub(crate) hash: Option<&'a Sha256Hex>,
}

impl ModelFiles {
    /// Every file, in a fixed order.
    pub(crate) fn named(&self) -> impl Iterator<Item = NamedFile<'_>> {
        let data = self.model_data.iter().zip(self.model_data_sha256.iter().map(Some));
        let template =
            self.chat_template.iter().map(|path| (path, self.chat_template_sha256.as_ref()));
        std::iter::once((&self.model, Some(&self.model_sha256)))
            .chain(data)
            .chain([(&self.tokenizer, Some(&self.tokenizer_sha256))])
            .chain(template)
            .map(|(path, hash)| NamedFile { path, hash })
    }

    /// Size of the graph and its weights in bytes.
    pub(crate) fn model_bytes(&self, folder: &Path) -> Result<u64, Error> {
        let parts = std::iter::once(&self.model).chain(&self.model_data);
        parts.map(|part| size(&folder.join(part))).sum()
    }

    /// The hash of the graph, with those of its weights.
    pub(crate) fn model_hash(&self) -> String {
        let hashes = std::iter::once(&self.model_sha256).chain(&self.model_data_sha256);
        hashes.map(Sha256Hex::as_str).collect::<Vec<_>>().join("+")
    }

    /// Checks the section. The error names the key and the fix.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (files, hashes) = (self.model_data.len(), self.model_data_sha256.len());
        if (files == 0) != (hashes == 0) {
            return Err(
                "`files.model_data` and `files.model_data_sha256` come together; give both or neither"
                    .to_owned(),
            );
        }
        if files != hashes {
            return Err(format!(
                "`files.model_data` has {files} files, and `files.model_data_sha256` has {hashes} \
                 hashes; give one hash per file, in the same order"
            ));
        }
        let mut seen = BTreeSet::new();
        match self.model_data.iter().find(|file| !seen.insert(*file)) {
            Some(file) => {
                Err(format!("`files.model_data` names {} twice; remove one", file.display()))
            }
            None => Ok(()),
        }
    }
}

/// A list whose only element is written without brackets.
mod one_or_many {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a string or a list of strings")]
    enum StringOrList {
        One(String),
        Many(Vec<String>),
    }

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        list: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match list {
            [only] => only.serialize(serializer),
            several => several.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        T: TryFrom<String>,
        T::Error: std::fmt::Display,
        D: Deserializer<'de>,
    {
        let written = match StringOrList::deserialize(deserializer)? {
            StringOrList::One(only) => vec![only],
            StringOrList::Many(several) => several,
        };
        let parsed = written.into_iter().map(T::try_from).collect::<Result<_, _>>();
        parsed.map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(data: &str) -> Result<ModelFiles, String> {
        let hash = "0".repeat(64);
        let text = format!(
            "model = \"m\"\nmodel_sha256 = \"{hash}\"\ntokenizer = \"t\"\ntokenizer_sha256 = \"{hash}\"\n{data}"
        );
        let files: ModelFiles = toml::from_str(&text).map_err(|error| error.to_string())?;
        files.check().map(|()| files)
    }

    #[test]
    fn weights_are_one_file_or_a_list_and_round_trip() {
        let [a, b] = ["a", "b"].map(|digit| digit.repeat(64));
        let one = parse(&format!("model_data = \"d\"\nmodel_data_sha256 = \"{a}\"")).unwrap();
        assert_eq!(one.model_hash(), format!("{}+{a}", "0".repeat(64)));
        assert!(toml::to_string(&one).unwrap().contains("model_data = \"d\""));
        let two =
            format!("model_data = [\"d\", \"e\"]\nmodel_data_sha256 = [\"{a}\", \"sha256:{b}\"]");
        let two = parse(&two).unwrap();
        assert_eq!(two.model_hash(), format!("{}+{a}+{b}", "0".repeat(64)));
        for files in [one, two, parse("").unwrap()] {
            let text = toml::to_string(&files).unwrap();
            assert_eq!(toml::from_str::<ModelFiles>(&text).unwrap(), files);
        }
    }

    #[test]
    fn lists_that_do_not_match_are_refused() {
        let a = "a".repeat(64);
        for (data, fault) in [
            ("model_data = \"d\"".to_owned(), "come together"),
            (format!("model_data_sha256 = \"{a}\""), "come together"),
            (
                format!("model_data = [\"d\", \"e\"]\nmodel_data_sha256 = \"{a}\""),
                "one hash per file",
            ),
            (
                format!("model_data = [\"d\", \"d\"]\nmodel_data_sha256 = [\"{a}\", \"{a}\"]"),
                "d twice",
            ),
            ("model_data = 3\nmodel_data_sha256 = 4".to_owned(), "a string or a list of strings"),
            ("model_data = \"d\"\nmodel_data_sha256 = \"x\"".to_owned(), "is not a SHA-256"),
        ] {
            let error = parse(&data).unwrap_err();
            assert!(error.contains(fault), "{error}");
        }
    }
}
