//! The settings of a whole update, read from JSON text: a preset and the differences from it.

use guerdon_client::optim::{
    AdvantageMethod, CriticConfig, KlConfig, KlController, KlLossConfig, MonitorConfig, OtbConfig,
    RepoConfig, TokenAlignment,
};
use pyo3::PyResult;
use serde::Deserialize;
use serde::de::Deserializer;

use crate::errors::{input_error, optim_error};
use crate::settings::{
    GaeSettings, GroupSettings, KlSettings, PolicySettings, ValueSettings, WhitenSettings, read,
};

/// Settings of [`RepoConfig`]. A key replaces the whole value of the preset; `null` removes an
/// optional part.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RepoSettings {
    #[serde(default)]
    preset: Preset,
    advantage: Option<AdvantageSettings>,
    #[serde(default, deserialize_with = "present")]
    whiten: Option<Option<WhitenSettings>>,
    kl: Option<KlSettings>,
    beta: Option<BetaSettings>,
    policy: Option<PolicySettings>,
    #[serde(default, deserialize_with = "present")]
    kl_loss: Option<Option<KlLossSettings>>,
    entropy_coefficient: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    critic: Option<Option<CriticSettings>>,
    monitors: Option<MonitorSettings>,
}

/// The presets of [`RepoConfig`].
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Preset {
    #[default]
    Paper,
    Grpo,
    Dapo,
    Gspo,
    ReinforcePlusPlusBaseline,
}

/// Distinguishes an absent key (`None`) from `null` (`Some(None)`).
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// Settings of [`AdvantageMethod`], without nesting.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "method", rename_all = "snake_case")]
enum AdvantageSettings {
    Gae {
        #[serde(default = "one")]
        gamma: f64,
        #[serde(default = "default_lam")]
        lam: f64,
        alpha: Option<f64>,
        value_lam: Option<f64>,
    },
    ReinforcePlusPlus {
        #[serde(default = "one")]
        gamma: f64,
    },
    #[serde(rename = "remax")]
    ReMax {},
    Group {
        #[serde(default = "default_estimator")]
        estimator: String,
        eps: Option<f64>,
    },
    Opo {},
    Otb {
        #[serde(default = "default_alignment")]
        alignment: String,
        #[serde(default = "yes")]
        zero_tail: bool,
        eps: Option<f64>,
    },
    TurnGae {
        #[serde(default = "one")]
        gamma: f64,
        #[serde(default = "default_lam")]
        lam: f64,
        alpha: Option<f64>,
        value_lam: Option<f64>,
    },
    TurnGroup {
        #[serde(default = "default_estimator")]
        estimator: String,
        eps: Option<f64>,
        #[serde(default = "one")]
        coefficient: f64,
    },
    Gdpo {
        #[serde(default = "default_estimator")]
        estimator: String,
        eps: Option<f64>,
        #[serde(default = "ones")]
        weights: [f64; 3],
    },
}

fn yes() -> bool {
    true
}

fn default_alignment() -> String {
    TokenAlignment::default().to_string()
}

fn one() -> f64 {
    1.0
}

fn ones() -> [f64; 3] {
    [1.0; 3]
}

fn default_lam() -> f64 {
    0.95
}

fn default_estimator() -> String {
    "grpo".to_owned()
}

impl AdvantageSettings {
    fn method(self) -> PyResult<AdvantageMethod> {
        Ok(match self {
            Self::Gae { gamma, lam, alpha, value_lam } => {
                AdvantageMethod::Gae(GaeSettings { gamma, lam, alpha, value_lam }.into())
            }
            Self::ReinforcePlusPlus { gamma } => AdvantageMethod::ReinforcePlusPlus { gamma },
            Self::ReMax {} => AdvantageMethod::ReMax,
            Self::Group { estimator, eps } => {
                AdvantageMethod::Group(GroupSettings::of(&estimator, eps)?.into())
            }
            Self::Opo {} => AdvantageMethod::Opo,
            Self::Otb { alignment, zero_tail, eps } => AdvantageMethod::Otb(OtbConfig {
                alignment: alignment.parse().map_err(|error| optim_error(&error))?,
                zero_tail,
                eps: eps.unwrap_or(OtbConfig::default().eps),
            }),
            Self::TurnGae { gamma, lam, alpha, value_lam } => {
                AdvantageMethod::TurnGae(GaeSettings { gamma, lam, alpha, value_lam }.into())
            }
            Self::TurnGroup { estimator, eps, coefficient } => AdvantageMethod::TurnGroup {
                group: GroupSettings::of(&estimator, eps)?.into(),
                coefficient,
            },
            Self::Gdpo { estimator, eps, weights } => {
                AdvantageMethod::Gdpo { group: GroupSettings::of(&estimator, eps)?.into(), weights }
            }
        })
    }
}

/// Settings of [`KlController`]: a number, or a start value with a target and a horizon.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number, or {\"beta\", \"target\", \"horizon\"}")]
enum BetaSettings {
    Fixed(f64),
    Adaptive { beta: f64, target: f64, horizon: f64 },
}

/// Settings of [`KlLossConfig`], without nesting.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct KlLossSettings {
    coefficient: f64,
    estimator: String,
    gradient: String,
    k3_limit: Option<f64>,
}

/// The defaults are those of GRPO.
impl Default for KlLossSettings {
    fn default() -> Self {
        Self {
            coefficient: 0.04,
            estimator: "k3".into(),
            gradient: "formula".into(),
            k3_limit: Some(10.0),
        }
    }
}

impl KlLossSettings {
    fn config(&self) -> PyResult<KlLossConfig> {
        let kl = KlConfig {
            estimator: self.estimator.parse().map_err(|error| optim_error(&error))?,
            gradient: self.gradient.parse().map_err(|error| optim_error(&error))?,
            k3_limit: self.k3_limit.unwrap_or(f64::INFINITY),
        };
        Ok(KlLossConfig { kl, coefficient: self.coefficient })
    }
}

/// Settings of [`CriticConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CriticSettings {
    coefficient: f64,
    loss: ValueSettings,
}

impl Default for CriticSettings {
    fn default() -> Self {
        Self { coefficient: 1.0, loss: ValueSettings::default() }
    }
}

/// Settings of [`MonitorConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MonitorSettings {
    bound: f64,
    dead_zone: f64,
}

impl Default for MonitorSettings {
    fn default() -> Self {
        let MonitorConfig { bound, dead_zone } = MonitorConfig::default();
        Self { bound, dead_zone }
    }
}

impl From<MonitorSettings> for MonitorConfig {
    fn from(MonitorSettings { bound, dead_zone }: MonitorSettings) -> Self {
        Self { bound, dead_zone }
    }
}

/// A KL coefficient: fixed, or adaptive if `target` and `horizon` are given.
pub(crate) fn controller(
    beta: f64,
    target: Option<f64>,
    horizon: Option<f64>,
) -> PyResult<KlController> {
    match (target, horizon) {
        (None, None) => KlController::fixed(beta),
        (Some(target), Some(horizon)) => KlController::adaptive(beta, target, horizon),
        _ => {
            return Err(input_error(
                "`target` and `horizon` go together; give both, or neither for a fixed beta",
            ));
        }
    }
    .map_err(|error| optim_error(&error))
}

/// Reads the settings of an update.
///
/// # Errors
/// `OptimError` for a key or a name that does not exist, or a number out of its range.
pub(crate) fn config(text: &str) -> PyResult<RepoConfig> {
    let patch: RepoSettings = read(text)?;
    let mut config = match patch.preset {
        Preset::Paper => RepoConfig::paper(),
        Preset::Grpo => RepoConfig::grpo(),
        Preset::Dapo => RepoConfig::dapo(),
        Preset::Gspo => RepoConfig::gspo(),
        Preset::ReinforcePlusPlusBaseline => RepoConfig::reinforce_plus_plus_baseline(),
    };
    if let Some(advantage) = patch.advantage {
        config.advantage = advantage.method()?;
    }
    if let Some(whiten) = patch.whiten {
        config.whiten = whiten.map(Into::into);
    }
    if let Some(kl) = patch.kl {
        config.kl = kl.into();
    }
    match patch.beta {
        Some(BetaSettings::Fixed(beta)) => config.beta = controller(beta, None, None)?,
        Some(BetaSettings::Adaptive { beta, target, horizon }) => {
            config.beta = controller(beta, Some(target), Some(horizon))?;
        }
        None => {}
    }
    if let Some(policy) = patch.policy {
        config.policy = policy.config()?;
    }
    if let Some(kl_loss) = patch.kl_loss {
        config.kl_loss = kl_loss.map(|kl_loss| kl_loss.config()).transpose()?;
    }
    if let Some(coefficient) = patch.entropy_coefficient {
        config.entropy_coefficient = coefficient;
    }
    if let Some(critic) = patch.critic {
        let critic = critic.map(|CriticSettings { coefficient, loss }| CriticConfig {
            loss: loss.into(),
            coefficient,
        });
        config.critic = critic;
    }
    if let Some(monitors) = patch.monitors {
        config.monitors = monitors.into();
    }
    Ok(config)
}
