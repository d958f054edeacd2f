//! `[profiles.NAME.sources.SOURCE]`: a source of a profile by its kind, with the settings that all
//! kinds share.

mod field_names;
mod kinds;

use std::path::PathBuf;
use std::time::Duration;

use guerdon_types::{Finite, NormaliserConfig, OnAbstain, SourceRole};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use toml::Table;

use self::field_names::field_names;
pub use self::kinds::{EnsembleKeys, JudgeKeys, ModelKeys, RulesKeys, SourceKeys};

/// A source of a profile. Its name in metrics, requests and replies is the name of its table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceConfig {
    /// The kind of the source, and the keys of the kind.
    #[serde(flatten)]
    pub keys: SourceKeys,
    /// The settings that all kinds share.
    #[serde(flatten)]
    pub settings: SourceSettingsConfig,
}

/// The settings that all kinds of sources share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceSettingsConfig {
    /// The role in the fusion: `base`, `points`, `gate` or `audit`. Default: `base` for `model`,
    /// `remote_rm` and `ensemble`, `points` for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<SourceRole>,
    /// The weight of the source. Its term in the fusion is `weight` times `scale` times its
    /// normalised value. 0 or more. Default: 1.
    #[serde(skip_serializing_if = "is_one")]
    pub weight: Finite,
    /// The unit of the source's value, in points: `scale = 100` makes points of a function that
    /// returns 0 to 1. 0 or more. Default: 1.
    #[serde(skip_serializing_if = "is_one")]
    pub scale: Finite,
    /// The function from the source's value to the number that is scaled and weighted: `"raw"`,
    /// `"centred"` or `"standardised"` with the numbers of a model's manifest, or a table such as
    /// `{ kind = "quantile", knots = [...] }`, which `guerdon fit` prints. Default: the value itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalise: Option<NormaliserConfig>,
    /// The file in which the moments of `normalise = { kind = "running", online = true }` are saved,
    /// every 30 s and at the stop, and from which a restart continues. Each source and each server
    /// needs a file of its own. The digest has the configured moments, not those of the file. Default:
    /// a restart begins with the configured moments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalise_state: Option<PathBuf>,
    /// The time after which the source abstains (`deadline`). Default: the deadline of the request.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// The effect of this source's abstentions on the reward, in place of `on_abstain` of the
    /// fusion. A base and an audit have none. Default: that of the fusion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_abstain: Option<OnAbstain>,
    /// The share of the groups that the source is asked about, above 0 and at most 1, drawn by a hash
    /// of the group, its attempt and the step. Only for the role `audit`. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<Finite>,
}

fn is_one(number: &Finite) -> bool {
    *number == Finite::ONE
}

impl Default for SourceSettingsConfig {
    fn default() -> Self {
        Self {
            role: None,
            weight: Finite::ONE,
            scale: Finite::ONE,
            normalise: None,
            normalise_state: None,
            timeout: None,
            on_abstain: None,
            share: None,
        }
    }
}

impl<'de> Deserialize<'de> for SourceConfig {
    /// Reads one table with the keys of the kind and the shared ones. serde can read a flattened
    /// table, but then it does not refuse unknown keys.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Table::deserialize(deserializer)?;
        let Some(kind) = table.remove("kind") else {
            return Err(D::Error::missing_field("kind"));
        };
        let Some(kind) = kind.as_str() else {
            return Err(D::Error::custom("`kind` is not a text"));
        };
        let shared = field_names::<SourceSettingsConfig>();
        let own = SourceKeys::fields(kind)
            .ok_or_else(|| D::Error::unknown_variant(kind, SourceKeys::KINDS))?;
        let mut settings = Table::new();
        let mut keys = Table::new();
        for (key, value) in table {
            if shared.contains(&key.as_str()) {
                settings.insert(key, value);
            } else if own.contains(&key.as_str()) {
                keys.insert(key, value);
            } else {
                let known: Vec<String> =
                    own.iter().chain(shared).map(|key| format!("`{key}`")).collect();
                return Err(D::Error::custom(format!(
                    "unknown field `{key}`, expected one of {}",
                    known.join(", ")
                )));
            }
        }
        let settings = typed(settings).map_err(D::Error::custom)?;
        keys.insert("kind".to_owned(), kind.into());
        let keys = typed(keys).map_err(D::Error::custom)?;
        Ok(Self { keys, settings })
    }
}

/// Reads a table. An error names its key.
fn typed<T: DeserializeOwned>(table: Table) -> Result<T, String> {
    let mut read = Table::new();
    let error = match T::deserialize(toml::Value::Table(table.clone())) {
        Ok(value) => return Ok(value),
        Err(error) => error.message().to_owned(),
    };
    // toml's errors have no path, so the key is found by leaving keys out.
    for (key, value) in table {
        read.insert(key.clone(), value);
        let found = T::deserialize(toml::Value::Table(read.clone())).err();
        if found.is_some_and(|found| found.message() == error) && key != "kind" {
            return Err(format!("`{key}`: {error}"));
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<SourceConfig, String> {
        toml::from_str(toml).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn keys_of_the_kind_and_shared_keys_stand_in_one_table() {
        let source = read(
            "kind = \"model\"\nmodel = \"e5\"\nweight = 2\ntimeout = \"3s\"\nrole = \"audit\"",
        );
        let SourceConfig { keys, settings } = source.unwrap();
        assert_eq!(keys, SourceKeys::Model(ModelKeys { model: "e5".into() }));
        assert_eq!(settings.weight, Finite::from(2));
        assert_eq!(settings.timeout, Some(Duration::from_secs(3)));
        assert_eq!(settings.role, Some(SourceRole::Audit));
    }

    #[test]
    fn written_source_is_read_back() {
        for text in [
            "kind = \"model\"\nmodel = \"e5\"\nscale = 2.5\non_abstain = \"null\"",
            "kind = \"judge\"\njudge = \"local\"\nprompts = [\"p\"]",
            "kind = \"ensemble\"\nof = [\"a\", \"b\"]\ncombine = \"lcb\"\nk = 0.5",
            "kind = \"model\"\nmodel = \"e5\"\nnormalise = \"centred\"",
            "kind = \"rules\"\nrules = [\"r\"]\nnormalise = { kind = \"par\", reference = 2 }",
            "kind = \"rules\"\nrules = [\"r\"]\non_abstain = { content = \"worst\" }",
            "kind = \"model\"\nmodel = \"e5\"\nnormalise_state = \"rm.json\"\nnormalise = { kind = \"running\", online = true }",
        ] {
            let source = read(text).unwrap();
            let written = toml::to_string(&source).unwrap();
            assert_eq!(read(&written).unwrap(), source, "{written}");
        }
    }

    #[test]
    fn errors_name_the_key_and_the_known_ones() {
        for (toml, wanted) in [
            ("model = \"e5\"", "missing field `kind`"),
            ("kind = \"modle\"", "unknown variant `modle`"),
            ("kind = \"model\"", "missing field `model`"),
            ("kind = \"model\"\nmodel = \"e5\"\nwieght = 1", "unknown field `wieght`"),
            ("kind = \"model\"\nmodel = \"e5\"\njudge = \"a\"", "unknown field `judge`"),
            ("kind = \"model\"\nmodel = \"e5\"\nweight = nan", "`weight`: `NaN` is not a finite"),
            ("kind = \"model\"\nmodel = \"e5\"\nrole = \"bas\"", "`role`: unknown variant `bas`"),
            ("kind = 3", "`kind` is not a text"),
        ] {
            let error = read(toml).unwrap_err();
            assert!(error.starts_with(wanted), "{toml}: {error}");
        }
        let misspelt = read("kind = \"model\"\nmodel = \"e5\"\nwieght = 1").unwrap_err();
        let hint = guerdon_types::unknown_name_hint(&misspelt);
        assert_eq!(hint.as_deref(), Some("did you mean `weight`?"));
    }
}
