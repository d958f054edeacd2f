//! The configuration: plain data, one struct a room. How it is read (file < environment < flags) is `load.rs`.

mod env;
mod load;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use guerdon_judge::{EndpointConfig, Pooling};
use guerdon_model::ModelConfig;
use guerdon_types::{Calibration, Finite, FusionConfig, Limits};
use serde::{Deserialize, Serialize};

pub use env::{Environment, ProcessEnvironment};
pub use load::{ConfigError, ConfigSource, Override};

/// Everything that can be configured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The profile of a request that names none. May be left out if there is only one.
    pub default_profile: Option<String>,
    /// Where and how to listen.
    pub server: ServerConfig,
    /// What a request may hold.
    pub limits: Limits,
    /// Who may ask.
    pub auth: AuthConfig,
    /// When to load changed files.
    pub reload: ReloadConfig,
    /// Reward models, by name.
    pub models: BTreeMap<String, ModelConfig>,
    /// Judge endpoints, by name.
    pub judges: BTreeMap<String, EndpointConfig>,
    /// Profiles, by name.
    pub profiles: BTreeMap<String, ProfileConfig>,
}

/// Where and how to listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Address and port; port 0 picks a free one.
    pub listen: SocketAddr,
    /// How long requests in flight may take to finish once the server is told to stop.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
    /// Requests a second that one caller (a token, or without tokens an address) may send; as many at once after a quiet
    /// second. Not set: as many as they like.
    pub requests_per_second: Option<NonZeroU32>,
    /// What to log: a level, or `target=level` pairs separated by commas.
    pub log: String,
    /// How to log.
    pub log_format: LogFormat,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8787)),
            drain: Duration::from_secs(30),
            requests_per_second: None,
            log: "info,ort=warn".into(),
            log_format: LogFormat::Text,
        }
    }
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Who may ask. Without tokens everyone may, and the server then binds loopback only.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Bearer tokens.
    pub tokens: Vec<TokenConfig>,
    /// Serve without tokens on an address that others can reach. Said so, at your own risk.
    pub insecure: bool,
}

/// One bearer token. The token itself is never in this file: it comes from the environment or from a file of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Its name, for the log.
    pub name: String,
    /// The environment variable that holds it.
    pub env: Option<String>,
    /// The file that holds it.
    pub file: Option<PathBuf>,
    /// What it allows.
    pub scopes: Vec<Scope>,
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Scoring, and reading what the server is.
    Score,
    /// Reloading.
    Admin,
}

impl Scope {
    /// The scope as it is written in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Admin => "admin",
        }
    }
}

/// When to load changed files. SIGHUP and `POST /v1/reload` work either way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadConfig {
    /// Watch the configuration, rule packs and judge prompts.
    pub watch: bool,
    /// How long files must be quiet before they are loaded, all at once.
    #[serde(with = "humantime_serde")]
    pub debounce: Duration,
    /// The share of requests that a new generation's profiles serve until it is promoted, in [0, 1]. 1: all, at once. 0: none,
    /// but the reply tells what its rules would have said. Samples of one `group` fall on the same side.
    pub share: Share,
}

impl Default for ReloadConfig {
    fn default() -> Self {
        Self { watch: true, debounce: Duration::from_millis(200), share: Share::ALL }
    }
}

/// A share of the requests, in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(f64);

impl Share {
    /// Every request.
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
            Err(format!("{share} is not a share; give 0 to 1"))
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
    /// A name under `[models]`; left out, the profile has no `rm` source.
    pub model: Option<String>,
    /// How the model's raw output becomes its score.
    pub calibration: CalibrationConfig,
    /// Rule packs: files, or folders whose `*.yaml` are taken. None: no `rules` source.
    pub rules: Vec<PathBuf>,
    /// A name under `[judges]`; left out, the profile has no `judge` source.
    pub judge: Option<String>,
    /// Judge prompts: files, or folders whose `*.md` with front matter are taken.
    pub prompts: Vec<PathBuf>,
    /// How the judge is asked, and watched.
    pub judging: JudgingConfig,
    /// How the sources become one reward.
    pub fusion: FusionConfig,
}

/// How a profile's judge is asked, and watched.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JudgingConfig {
    /// More names under `[judges]`, asked beside `judge`; each is paid. What all of them say is pooled.
    pub panel: Vec<String>,
    /// How several opinions on one criterion become one.
    pub pooling: Pooling,
    /// What each client of this profile weighs in the queue of a judge that several profiles ask.
    pub weight: NonZeroU32,
    /// How often the judge is asked questions whose answer is known; also at start, and when its prompts change. Each is
    /// paid. Not set: never.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub probe_every: Option<Duration>,
    /// The share of those answers that must be right, in [0, 1]; below it the alarm is raised.
    pub alarm_below: Share,
}

impl Default for JudgingConfig {
    fn default() -> Self {
        Self {
            panel: Vec::new(),
            pooling: Pooling::default(),
            weight: NonZeroU32::MIN,
            probe_every: None,
            alarm_below: Share(0.8),
        }
    }
}

/// As [`Calibration`], but what is left out comes from the model's manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum CalibrationConfig {
    /// `score = raw`.
    #[default]
    Raw,
    /// `score = raw - mean`.
    Centred {
        /// Default: the manifest's.
        mean: Option<Finite>,
    },
    /// `score = (raw - mean) / std`.
    Standardised {
        /// Default: the manifest's.
        mean: Option<Finite>,
        /// Default: the manifest's.
        std: Option<Finite>,
    },
}

impl CalibrationConfig {
    /// Fills what was left out from `measured`, the manifest's `(mean, std)`.
    ///
    /// # Errors
    /// The key that is stated in neither place.
    pub fn resolve(self, measured: Option<(Finite, Finite)>) -> Result<Calibration, &'static str> {
        let stated =
            |own: Option<Finite>, measured: Option<Finite>, key| own.or(measured).ok_or(key);
        let mean = |own| stated(own, measured.map(|(mean, _)| mean), "calibration.mean");
        Ok(match self {
            Self::Raw => Calibration::Raw,
            Self::Centred { mean: own } => Calibration::Centred { mean: mean(own)? },
            Self::Standardised { mean: own, std } => Calibration::Standardised {
                mean: mean(own)?,
                std: stated(std, measured.map(|(_, std)| std), "calibration.std")?,
            },
        })
    }
}

impl Config {
    /// The profile of a request that names none.
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
    fn a_calibration_is_completed_from_the_manifest_and_its_own_words_win() {
        let config = CalibrationConfig::Standardised { mean: Some(Finite::ONE), std: None };
        let resolved = config.resolve(Some((Finite::ZERO, Finite::from(2)))).unwrap();
        assert_eq!(resolved, Calibration::Standardised { mean: Finite::ONE, std: Finite::from(2) });
        assert_eq!(config.resolve(None), Err("calibration.std"));
    }
}
