//! The configuration: plain data, one struct for each section. `load.rs` reads it (file <
//! environment < flags).

mod auth;
mod env;
mod host;
mod listen;
mod load;
mod rubrics;
mod server;
mod source;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use guerdon_cluster::ClusterConfig;
use guerdon_judge::{EndpointConfig, Pooling, RubricMode};
use guerdon_ledger::LedgerConfig;
use guerdon_model::ModelConfig;
use guerdon_types::{Calibration, Finite, FusionConfig, Limits};
use serde::{Deserialize, Serialize};

pub use auth::{AuthConfig, Scope, TokenConfig};
pub use env::{Environment, ProcessEnvironment};
pub use host::{HostName, InvalidHost, WebOrigin};
pub use load::{ConfigError, ConfigSource, Override};
pub use rubrics::RubricsConfig;
pub use server::{LogFormat, ServerConfig};
pub use source::{
    EnsembleKeys, JudgeKeys, ModelKeys, RulesKeys, SourceConfig, SourceKeys, SourceSettingsConfig,
};

/// The whole configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The profile of a request that names none. May be left out if there is only one.
    pub default_profile: Option<String>,
    /// Listening, draining and logging.
    pub server: ServerConfig,
    /// Limits of requests.
    pub limits: Limits,
    /// Tokens of clients.
    pub auth: AuthConfig,
    /// Reload of changed files.
    pub reload: ReloadConfig,
    /// The record of scored rollouts.
    pub ledger: LedgerConfig,
    /// Rubrics that come with rollouts.
    pub rubrics: RubricsConfig,
    /// The store that several servers share.
    pub cluster: ClusterConfig,
    /// Reward models, by name.
    pub models: BTreeMap<String, ModelConfig>,
    /// Judge endpoints, by name.
    pub judges: BTreeMap<String, EndpointConfig>,
    /// Profiles, by name.
    pub profiles: BTreeMap<String, ProfileConfig>,
}

/// Reload of changed files. SIGHUP and `POST /v1/reload` work with every setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadConfig {
    /// Set to watch the configuration, rule packs and judge prompts.
    pub watch: bool,
    /// Time without a change before files are loaded, all at once.
    #[serde(with = "humantime_serde")]
    pub debounce: Duration,
    /// Share of requests that a new generation (the candidate) serves until it is promoted, in [0,
    /// 1]. 1: all, at once. 0: none; replies then compare its rules with the rules in use. Samples
    /// of one `group` are served by the same generation.
    pub share: Share,
}

impl Default for ReloadConfig {
    fn default() -> Self {
        Self { watch: true, debounce: Duration::from_millis(200), share: Share::ALL }
    }
}

/// A share, in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(f64);

impl Share {
    /// All.
    pub const ALL: Self = Self(1.0);

    /// As a number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(share: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(format!("{share} is not in the range 0 to 1"))
        }
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> Self {
        share.0
    }
}

/// A named set of sources and their fusion.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileConfig {
    /// A name under `[models]`. Default: no `rm` source.
    pub model: Option<String>,
    /// Calibration of the model's raw output.
    pub calibration: CalibrationConfig,
    /// Rule packs: files, or folders whose `*.yaml` are taken. None: no `rules` source.
    pub rules: Vec<PathBuf>,
    /// A name under `[judges]`. Default: no `judge` source.
    pub judge: Option<String>,
    /// Judge prompts: files, or folders whose `*.md` with front matter are taken.
    pub prompts: Vec<PathBuf>,
    /// Set to load the profile although a named rules or prompts path is missing or empty, or the
    /// model's folder is missing. The missing model then abstains on every turn.
    pub allow_empty: bool,
    /// Panel, pooling and probes of the judge.
    pub judging: JudgingConfig,
    /// Fusion of the sources into one reward.
    pub fusion: FusionConfig,
    /// Sources by name, as many of each kind as wanted. `model`, `judge` with `prompts`, and `rules`
    /// above are shorthands for sources called `rm`, `judge` and `rules`. With sources here, replies
    /// have the part of every source under `parts`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, SourceConfig>,
}

/// Panel, pooling and probes of a profile's judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JudgingConfig {
    /// More names under `[judges]`, asked in addition to `judge`; each call is paid. Their verdicts
    /// are pooled.
    pub panel: Vec<String>,
    /// Pooling of several verdicts on one criterion.
    pub pooling: Pooling,
    /// Weight of each client of this profile in the queue of a judge that several profiles share.
    pub weight: NonZeroU32,
    /// Relation of a rollout's own rubric to the prompts of the profile: `beside` adds its points to
    /// theirs, `instead` asks it in their place.
    pub rubric_mode: RubricMode,
    /// Share of the criteria that a step does not ask about the samples of a group, in [0, 1]: drawn
    /// by the group and the request's `step`, the same for all samples. Essential criteria, gates and
    /// vetoes are always asked, and so is every criterion about a rollout without a group. Default:
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<Share>,
    /// Interval of probes: questions with a known answer, also asked at the start and when prompts
    /// change. Each call is paid. Default: no probes.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub probe_every: Option<Duration>,
    /// Canaries, as a share of the judged turns: turns with a known fault and a forged verdict,
    /// asked among the others. Each call is paid, at most four canaries are asked a second, and one
    /// that is judged more kindly because of its forged verdict raises the alarm. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canaries: Option<Share>,
    /// Share of probes that the judge must pass, in [0, 1]. The alarm is raised below it.
    pub alarm_below: Share,
}

impl Default for JudgingConfig {
    fn default() -> Self {
        Self {
            panel: Vec::new(),
            pooling: Pooling::default(),
            weight: NonZeroU32::MIN,
            rubric_mode: RubricMode::default(),
            dropout: None,
            probe_every: None,
            canaries: None,
            alarm_below: Share(0.8),
        }
    }
}

/// The function from the model's raw output to the score that enters the fusion. Defaults of `mean`
/// and `std` come from the model's manifest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum CalibrationConfig {
    /// `score = raw`. It is an empty table, because serde ignores further keys of a variant without
    /// any.
    Raw {},
    /// `score = raw - mean`.
    Centred {
        /// The mean raw score of a reference set. Default: the manifest's.
        mean: Option<Finite>,
    },
    /// `score = (raw - mean) / std`.
    Standardised {
        /// The mean raw score of a reference set. Default: the manifest's.
        mean: Option<Finite>,
        /// The standard deviation of the raw scores of a reference set. Default: the manifest's.
        std: Option<Finite>,
    },
}

impl Default for CalibrationConfig {
    fn default() -> Self {
        Self::Raw {}
    }
}

impl CalibrationConfig {
    /// Completes the calibration with `measured`, the manifest's `(mean, std)`.
    ///
    /// # Errors
    /// The key that is set in neither place.
    pub fn resolve(self, measured: Option<(Finite, Finite)>) -> Result<Calibration, &'static str> {
        let stated =
            |own: Option<Finite>, measured: Option<Finite>, key| own.or(measured).ok_or(key);
        let mean = |own| stated(own, measured.map(|(mean, _)| mean), "calibration.mean");
        Ok(match self {
            Self::Raw {} => Calibration::Raw,
            Self::Centred { mean: own } => Calibration::Centred { mean: mean(own)? },
            Self::Standardised { mean: own, std } => Calibration::Standardised {
                mean: mean(own)?,
                std: stated(std, measured.map(|(_, std)| std), "calibration.std")?,
            },
        })
    }
}

impl Config {
    /// The profile for requests that name none.
    #[must_use]
    pub fn default_profile(&self) -> Option<&str> {
        match &self.default_profile {
            Some(name) => Some(name),
            None if self.profiles.len() == 1 => self.profiles.keys().next().map(String::as_str),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibration_is_completed_from_the_manifest_and_own_values_win() {
        let config = CalibrationConfig::Standardised { mean: Some(Finite::ONE), std: None };
        let resolved = config.resolve(Some((Finite::ZERO, Finite::from(2)))).unwrap();
        assert_eq!(resolved, Calibration::Standardised { mean: Finite::ONE, std: Finite::from(2) });
        assert_eq!(config.resolve(None), Err("calibration.std"));
    }

    #[test]
    fn a_key_that_a_calibration_does_not_have_is_refused() {
        let read = |text: &str| toml::from_str::<CalibrationConfig>(text);
        assert_eq!(read("kind = \"raw\"").unwrap(), CalibrationConfig::default());
        for wrong in [
            "kind = \"raw\"\nmean = 1",
            "kind = \"raw\"\nstd = 1",
            "kind = \"centred\"\nstd = 1",
            "kind = \"standardised\"\nmeen = 1",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
