//! The files of a model folder without a manifest, found by the names that exporters give them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Error;
use crate::load::files::{read_text, size};

/// Size of the largest accepted JSON file of settings.
const MAX_SETTINGS: u64 = 64 << 20;

/// A model folder and the JSON files in it. Missing files are empty objects.
#[derive(Debug)]
pub(crate) struct ModelFolder {
    pub(crate) path: PathBuf,
    pub(crate) config: Value,
    pub(crate) tokenizer_config: Value,
    pub(crate) special_tokens: Value,
    /// `sentence_bert_config.json` of sentence-transformers.
    pub(crate) sentence_config: Value,
}

/// Variants of one graph by the names that exporters give them, the most exact first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum GraphVariant {
    /// `model.onnx`.
    Plain,
    /// Optimised, in 32 bits.
    Optimised,
    /// A name of another kind.
    Other,
    /// In 16 bits.
    Half,
    /// In 8 bits or fewer.
    Quantised,
}

impl GraphVariant {
    fn of(file: &Path) -> Self {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        match name.as_str() {
            "model" => Self::Plain,
            _ if has(&["quant", "int8", "uint8", "int4", "q4", "q8", "bnb"]) => Self::Quantised,
            _ if has(&["fp16", "bf16", "float16", "half", "_o4"]) => Self::Half,
            _ if has(&["_o1", "_o2", "_o3", "optimized", "optimised", "fp32"]) => Self::Optimised,
            _ => Self::Other,
        }
    }
}

/// A JSON file of settings, which is an object.
fn read_settings(file: &Path) -> Result<Value, Error> {
    let refused = |detail| Error::Draft { path: file.to_owned(), detail };
    if size(file)? > MAX_SETTINGS {
        return Err(refused(format!("has more than {MAX_SETTINGS} bytes")));
    }
    let text = read_text(file)?;
    let kind = match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
        Ok(Value::Object(settings)) => return Ok(Value::Object(settings)),
        Err(error) => {
            return Err(refused(format!("is not JSON: {error}; download or export it again")));
        }
        Ok(Value::Array(_)) => "a list",
        Ok(Value::String(_)) => "a text",
        Ok(Value::Number(_)) => "a number",
        Ok(Value::Bool(_) | Value::Null) => "a single word",
    };
    Err(refused(format!("holds {kind}, not an object with settings; download or export it again")))
}

impl ModelFolder {
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let json = |name: &str| -> Result<Value, Error> {
            let Some(file) = Self::find(path, name) else { return Ok(Value::Null) };
            read_settings(&file)
        };
        if !path.is_dir() {
            let detail = "is not a folder".to_owned();
            return Err(Error::Draft { path: path.to_owned(), detail });
        }
        Ok(Self {
            path: path.to_owned(),
            config: json("config.json")?,
            tokenizer_config: json("tokenizer_config.json")?,
            special_tokens: json("special_tokens_map.json")?,
            sentence_config: json("sentence_bert_config.json")?,
        })
    }

    /// The file called `name` in the folder, in its `onnx` folder, or above a folder called `onnx`.
    fn find(folder: &Path, name: &str) -> Option<PathBuf> {
        Self::places(folder)
            .into_iter()
            .map(|place| folder.join(place).join(name))
            .find(|file| file.is_file())
    }

    fn places(folder: &Path) -> Vec<&'static str> {
        let above = folder.file_name().is_some_and(|name| name == "onnx");
        ["", "onnx"].into_iter().chain(above.then_some("..")).collect()
    }

    /// The path of a file relative to the folder.
    pub(crate) fn relative(&self, name: &str) -> Option<PathBuf> {
        let found = Self::find(&self.path, name)?;
        found.strip_prefix(&self.path).ok().map(Path::to_owned)
    }

    /// The graph: `wanted`, or model.onnx, or the only ONNX file. The second value is the reason.
    pub(crate) fn graph(&self, wanted: Option<&Path>) -> Result<(PathBuf, String), Error> {
        let refused = |detail| Error::Draft { path: self.path.clone(), detail };
        let found = self.onnx_files()?;
        let listed = || {
            found
                .iter()
                .take(20)
                .map(|file| file.display().to_string())
                .collect::<Vec<_>>()
                .join(", ")
        };
        if let Some(wanted) = wanted {
            let inside = wanted.strip_prefix(&self.path).unwrap_or(wanted);
            return match self.path.join(inside).is_file() {
                true => Ok((inside.to_owned(), "as given".to_owned())),
                false => Err(refused(format!(
                    "has no file {}; its ONNX files: {}",
                    inside.display(),
                    listed()
                ))),
            };
        }
        let best = found.iter().map(|file| GraphVariant::of(file)).min();
        let chosen: Vec<&PathBuf> =
            found.iter().filter(|file| Some(GraphVariant::of(file)) == best).collect();
        let others = found.len().saturating_sub(1);
        match (best, chosen.as_slice()) {
            (None, _) => Err(refused(
                "has no ONNX file; write one with examples/reward-model/export_hf.py, or with \
                 `optimum-cli export onnx --task text-classification --model MODEL FOLDER`"
                    .to_owned(),
            )),
            (_, [only]) if others == 0 => Ok(((*only).clone(), "the only ONNX file".to_owned())),
            (Some(GraphVariant::Plain), [first, ..]) => {
                let reason =
                    format!("the usual name; {others} others are ignored (`--graph` chooses)");
                Ok(((*first).clone(), reason))
            }
            (Some(GraphVariant::Other), [_, _, ..]) => Err(refused(format!(
                "has several ONNX files: {}; choose one with `--graph`",
                listed()
            ))),
            (Some(_), [first, ..]) => {
                let reason =
                    format!("the most exact of {}, by its name (`--graph` chooses)", listed());
                Ok(((*first).clone(), reason))
            }
            (Some(_), []) => Err(refused("has no ONNX file".to_owned())),
        }
    }

    fn onnx_files(&self) -> Result<Vec<PathBuf>, Error> {
        let mut found = Vec::new();
        for place in ["", "onnx"] {
            let folder = self.path.join(place);
            if !folder.is_dir() {
                continue;
            }
            let failed = |source| Error::File { path: folder.clone(), source };
            for entry in folder.read_dir().map_err(failed)? {
                let name = PathBuf::from(entry.map_err(failed)?.file_name());
                if name.extension().is_some_and(|ending| ending == "onnx") {
                    found.push(Path::new(place).join(name));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// A setting of the model, also from the text part of a model of several kinds of input.
    pub(crate) fn setting(&self, key: &str) -> Option<&Value> {
        let text = self.config.get("text_config").and_then(|text| text.get(key));
        self.config.get(key).filter(|value| !value.is_null()).or(text).filter(|v| !v.is_null())
    }

    pub(crate) fn number(&self, key: &str) -> Option<usize> {
        self.setting(key).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok())
    }

    /// The names of the labels by number, from `id2label` or `label2id`.
    pub(crate) fn label_names(&self) -> BTreeMap<usize, String> {
        let by_number = self.setting("id2label").and_then(Value::as_object).map(|named| {
            let name =
                |(id, name): (&String, &Value)| Some((id.parse().ok()?, name.as_str()?.to_owned()));
            named.iter().filter_map(name).collect::<BTreeMap<_, _>>()
        });
        let by_name = || {
            let named = self.setting("label2id").and_then(Value::as_object)?;
            let number = |(name, id): (&String, &Value)| {
                Some((usize::try_from(id.as_u64()?).ok()?, name.clone()))
            };
            Some(named.iter().filter_map(number).collect())
        };
        by_number.filter(|names| !names.is_empty()).or_else(by_name).unwrap_or_default()
    }

    /// A special token such as `pad_token`, which is a string or an object with `content`.
    pub(crate) fn special_token(&self, key: &str) -> Option<(String, &'static str)> {
        let places = [
            (&self.tokenizer_config, "tokenizer_config.json"),
            (&self.special_tokens, "special_tokens_map.json"),
        ];
        places.into_iter().find_map(|(json, file)| {
            let token = json.get(key)?;
            let text = token.as_str().or_else(|| token.get("content")?.as_str())?;
            Some((text.to_owned(), file))
        })
    }

    /// The chat template and the file that holds it.
    pub(crate) fn chat_template(&self) -> Result<Option<(String, String)>, Error> {
        for name in ["chat_template.jinja", "chat_template.json"] {
            let Some(file) = Self::find(&self.path, name) else { continue };
            if name.ends_with("jinja") {
                return Ok(Some((read_text(&file)?, name.to_owned())));
            }
            let json = read_settings(&file)?;
            if let Some(template) = json.get("chat_template").and_then(Value::as_str) {
                return Ok(Some((template.to_owned(), name.to_owned())));
            }
        }
        let file = "tokenizer_config.json".to_owned();
        match self.tokenizer_config.get("chat_template") {
            Some(Value::String(template)) => Ok(Some((template.clone(), file))),
            Some(Value::Array(named)) => {
                let is_default =
                    |entry: &&Value| entry.get("name").and_then(Value::as_str) == Some("default");
                let chosen = named.iter().find(is_default).or(match named.as_slice() {
                    [only] => Some(only),
                    _ => None,
                });
                let template = chosen.and_then(|entry| entry.get("template")?.as_str());
                match template {
                    Some(template) => Ok(Some((template.to_owned(), file))),
                    None => Err(Error::Draft {
                        path: self.path.join(file),
                        detail: "has several chat templates, none of them called `default`; write \
                                 the one of the model's training to chat_template.jinja"
                            .to_owned(),
                    }),
                }
            }
            _ => Ok(None),
        }
    }

    /// The `license` in the front matter of the model card.
    pub(crate) fn license(&self) -> Option<String> {
        let file = Self::find(&self.path, "README.md")
            .filter(|file| size(file).is_ok_and(|bytes| bytes <= MAX_SETTINGS))?;
        let text = read_text(&file).ok()?;
        let front = text.strip_prefix("---")?.split("\n---").next()?.to_owned();
        let license = front.lines().find_map(|line| line.strip_prefix("license:"))?.trim();
        let known = [("mit", "MIT"), ("apache-2.0", "Apache-2.0")];
        let spdx = known.iter().find(|(name, _)| *name == license).map_or(license, |(_, id)| *id);
        (!spdx.is_empty() && spdx.len() <= 80).then(|| spdx.to_owned())
    }
}
