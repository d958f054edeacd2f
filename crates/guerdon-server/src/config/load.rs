//! Reads the configuration: one TOML file < environment < flags. Each layer is checked on its own,
//! so that an error names the line, the variable or the flag that caused it, and suggests the
//! nearest key for a misspelt one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize as _;
use toml::{Table, Value};

use super::{Config, Environment};
use crate::load::file_set::FileSet;

const PREFIX: &str = "GUERDON__";

/// The layers of the configuration. They are read again for a reload.
#[derive(Debug, Clone)]
pub struct ConfigSource {
    /// The TOML file; paths in the configuration are relative to its folder.
    pub file: Option<PathBuf>,
    /// Variables named `GUERDON__SECTION__KEY`.
    pub environment: Arc<dyn Environment>,
    /// Values from command line flags. They win over the other layers.
    pub overrides: Vec<Override>,
}

/// A value from a command line flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The flag, for error messages.
    pub flag: String,
    /// The key in the configuration, segment by segment.
    pub key: Vec<String>,
    /// The value.
    pub value: Value,
}

impl Override {
    /// `flag` sets `key` to `value`.
    pub fn new(flag: &str, key: &[&str], value: impl Into<Value>) -> Self {
        Self {
            flag: flag.into(),
            key: key.iter().map(|segment| (*segment).to_owned()).collect(),
            value: value.into(),
        }
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read `{path}`: {cause}\n  help: name an existing file with --config, run in the folder that holds guerdon.toml, or write one with `guerdon init`"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: std::io::Error,
    },
    /// A layer does not parse or does not fit.
    #[error("{origin}: {detail}{}", help(hint))]
    Invalid {
        /// `guerdon.toml`, an environment variable, or a flag.
        origin: String,
        /// The error; for a file with its line.
        detail: String,
        /// The suggested change.
        hint: Option<String>,
    },
}

fn help(hint: &Option<String>) -> String {
    hint.as_ref().map(|hint| format!("\n  help: {hint}")).unwrap_or_default()
}

impl ConfigSource {
    /// The folder that paths in the configuration are relative to.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        let parent = self
            .file
            .as_deref()
            .and_then(Path::parent)
            .filter(|parent| !parent.as_os_str().is_empty());
        parent.map_or_else(|| PathBuf::from("."), Path::to_owned)
    }

    /// Reads and checks every layer.
    ///
    /// # Errors
    /// [`ConfigError`] naming the layer and the place in it.
    pub fn load(&self) -> Result<Config, ConfigError> {
        self.load_in(&mut FileSet::default())
    }

    /// As [`ConfigSource::load`], through `files`.
    pub(crate) fn load_in(&self, files: &mut FileSet) -> Result<Config, ConfigError> {
        let mut table = match &self.file {
            None => Table::new(),
            Some(path) => {
                let text = files
                    .read(path)
                    .map_err(|cause| ConfigError::Read { path: path.clone(), cause })?;
                let origin = path.display().to_string();
                // Typed straight from the text: only there does an error know its line.
                toml::from_str::<Config>(&text).map_err(|error| {
                    invalid(&origin, error.to_string().trim_end(), error.message())
                })?;
                toml::from_str(&text)
                    .map_err(|error| invalid(&origin, &error.to_string(), error.message()))?
            }
        };
        let mut layers = Vec::new();
        for (name, text) in self.environment.with_prefix(PREFIX) {
            let key: Vec<String> =
                name[PREFIX.len()..].to_ascii_lowercase().split("__").map(str::to_owned).collect();
            layers.push(Layer {
                origin: format!("environment variable {name}"),
                key,
                value: value_of(&text),
                text,
            });
        }
        for Override { flag, key, value } in &self.overrides {
            let text = value.as_str().map(str::to_owned).unwrap_or_default();
            layers.push(Layer {
                origin: format!("flag {flag}"),
                key: key.clone(),
                value: value.clone(),
                text,
            });
        }
        let mut incomplete = None;
        for layer in layers {
            incomplete = lay_over(&mut table, &layer)?.or(incomplete);
        }
        Config::deserialize(Value::Table(table)).map_err(|error| {
            let origin = incomplete.unwrap_or_else(|| "the configuration".to_owned());
            invalid(&origin, error.message(), error.message())
        })
    }
}

/// One value from a variable or a flag.
struct Layer {
    origin: String,
    key: Vec<String>,
    value: Value,
    text: String,
}

/// A variable's text as the TOML value it spells, else as a string: `8` is a number, `0.0.0.0:80` a
/// string.
fn value_of(text: &str) -> Value {
    toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Sets the layer's value in `table` and checks the whole, so that an error can be attributed to
/// the layer. Returns the layer's origin if a section is incomplete, which is no error yet: a later
/// layer may complete it. The toml crate gives its errors no kind, so the two that matter here are
/// recognised by their text; the tests below fail if that text changes.
fn lay_over(table: &mut Table, layer: &Layer) -> Result<Option<String>, ConfigError> {
    set(table, layer, layer.value.clone())?;
    let check = |table: &Table| Config::deserialize(Value::Table(table.clone())).map(|_| ());
    let Err(mut error) = check(table) else { return Ok(None) };
    if error.message().contains("expected a string") && !layer.value.is_str() {
        // `8` may be a name that looks like a number.
        set(table, layer, Value::String(layer.text.clone()))?;
        match check(table) {
            Ok(()) => return Ok(None),
            Err(as_text) => error = as_text,
        }
    }
    if error.message().contains("missing field") {
        return Ok(Some(layer.origin.clone()));
    }
    Err(invalid(&layer.origin, error.message(), error.message()))
}

fn set(table: &mut Table, layer: &Layer, value: Value) -> Result<(), ConfigError> {
    let Some((last, parents)) = layer.key.split_last() else { return Ok(()) };
    let mut place = table;
    for segment in parents {
        let entry = place.entry(segment.clone()).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = entry else {
            let detail =
                format!("`{}` is below `{segment}`, which is not a section", layer.key.join("."));
            return Err(ConfigError::Invalid { origin: layer.origin.clone(), detail, hint: None });
        };
        place = inner;
    }
    place.insert(last.clone(), value);
    Ok(())
}

fn invalid(origin: &str, detail: &str, message: &str) -> ConfigError {
    ConfigError::Invalid {
        origin: origin.into(),
        detail: without_passwords(detail),
        hint: guerdon_types::unknown_name_hint(message),
    }
}

/// The text with stars in the place of the user and the password of each URL, since an error quotes
/// the line of the file.
fn without_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        shown.push_str(before);
        let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',');
        let url = after.split(is_end).next().unwrap_or_default();
        let secret = url.rfind('@').and_then(|end| url.get(..end)).unwrap_or_default();
        // As many stars as characters, so that the mark below the line stays in place.
        shown.extend(secret.chars().map(|_| '*'));
        rest = after.get(secret.len()..).unwrap_or_default();
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write as _;

    use super::*;

    fn source(
        toml: &str,
        env: &[(&str, &str)],
        overrides: Vec<Override>,
    ) -> (ConfigSource, tempfile::NamedTempFile) {
        let mut file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
        file.write_all(toml.as_bytes()).unwrap();
        let environment: BTreeMap<_, _> =
            env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let file_path = Some(file.path().to_owned());
        (ConfigSource { file: file_path, environment: Arc::new(environment), overrides }, file)
    }

    #[test]
    fn error_that_quotes_a_url_does_not_show_its_password() {
        for (line, kept) in [
            ("url = \"postgres://guerdon:hunter2@db/ledger", "@db/ledger"),
            ("url = \"postgres://guerdon:hunter2@db/ledger\" x", "@db/ledger"),
            ("url = 'redis://:hunter2@cache:6379' 'redis://a:hunter2@b'", "@cache:6379"),
            ("url = postgres://guerdon:p/hunter2@db", "@db"),
            ("url = [\"postgres://a:hunter2@b\", \"https://c:hunter2@d\",, ]", "@b"),
        ] {
            let (source, _file) = source(&format!("[ledger]\n{line}\n"), &[], vec![]);
            let error = source.load().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains(kept), "{error}");
        }
        assert_eq!(without_passwords("see https://a/b://c"), "see https://a/b://c");
    }

    #[test]
    fn flags_win_over_the_environment_and_the_environment_over_the_file() {
        let toml = "[server]\nlisten = \"127.0.0.1:1\"\nlog = \"warn\"\ndrain = \"1s\"\n";
        let env = [("GUERDON__SERVER__LOG", "debug"), ("GUERDON__SERVER__LISTEN", "127.0.0.1:2")];
        let flags = vec![Override::new("--listen", &["server", "listen"], "127.0.0.1:3")];
        let (source, _file) = source(toml, &env, flags);
        let config = source.load().unwrap();
        assert_eq!(config.server.listen.port(), 3);
        assert_eq!(config.server.log, "debug");
        assert_eq!(config.server.drain.as_secs(), 1);
    }

    #[test]
    fn misspelt_key_is_reported_with_its_line_and_the_nearest_key() {
        let (source, _file) =
            source("[server]\nlisten = \"127.0.0.1:1\"\ndrian = \"1s\"\n", &[], Vec::new());
        let error = source.load().unwrap_err().to_string();
        assert!(error.contains("line 3"), "{error}");
        assert!(error.contains("did you mean `drain`?"), "{error}");
    }

    #[test]
    fn misspelt_variable_is_reported_by_name() {
        let (source, _file) = source("", &[("GUERDON__SERVER__LISEN", "127.0.0.1:1")], Vec::new());
        let error = source.load().unwrap_err().to_string();
        assert!(error.contains("GUERDON__SERVER__LISEN"), "{error}");
        assert!(error.contains("did you mean `listen`?"), "{error}");
    }

    #[test]
    fn several_variables_can_make_a_section_and_a_name_can_look_like_a_number() {
        let env = [
            ("GUERDON__JUDGES__X__MODEL", "4"),
            ("GUERDON__JUDGES__X__URL", "http://127.0.0.1:1/v1"),
        ];
        let (complete, _file) = source("", &env, Vec::new());
        assert_eq!(complete.load().unwrap().judges["x"].model, "4");
        let (incomplete, _file) = source("", &env[..1], Vec::new());
        let error = incomplete.load().unwrap_err().to_string();
        assert!(error.contains("GUERDON__JUDGES__X__MODEL") && error.contains("`url`"), "{error}");
    }

    #[test]
    fn number_that_is_not_finite_is_refused() {
        let (source, _file) = source("[profiles.p.fusion]\nbound = nan\n", &[], Vec::new());
        assert!(source.load().unwrap_err().to_string().contains("not a finite number"));
    }

    #[test]
    fn missing_file_is_reported_by_name() {
        let source = ConfigSource {
            file: Some("nowhere/guerdon.toml".into()),
            environment: Arc::new(BTreeMap::new()),
            overrides: Vec::new(),
        };
        assert!(source.load().unwrap_err().to_string().contains("nowhere/guerdon.toml"));
    }
}
