//! The settings of a whole update, read from JSON text: a preset, and what is to be different from it.

use guerdon_client::optim::{
    AdvantageMethod, CriticConfig, KlConfig, KlController, KlLossConfig, MonitorConfig, RepoConfig,
};
use pyo3::PyResult;
use serde::Deserialize;
use serde::de::Deserializer;

use crate::errors::{refused, unfit};
use crate::settings::{Gae, Group, Kl, Policy, Value, Whiten, read};

/// Of [`RepoConfig`]. A key that is there replaces the preset's whole value; `null` takes away what may be
/// left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Repo {
    #[serde(default)]
    preset: Preset,
    advantage: Option<Advantage>,
    #[serde(default, deserialize_with = "said")]
    whiten: Option<Option<Whiten>>,
    kl: Option<Kl>,
    beta: Option<Beta>,
    policy: Option<Policy>,
    #[serde(default, deserialize_with = "said")]
    kl_loss: Option<Option<KlLoss>>,
    entropy_coefficient: Option<f64>,
    #[serde(default, deserialize_with = "said")]
    critic: Option<Option<Critic>>,
    monitors: Option<Monitors>,
}

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

/// Whether a key was there at all is another question than whether it was `null`.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// Of [`AdvantageMethod`], flat.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "method", rename_all = "snake_case")]
enum Advantage {
    Gae {
        #[serde(default = "one")]
        gamma: f64,
        #[serde(default = "usual_lam")]
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
        #[serde(default = "usual_estimator")]
        estimator: String,
        eps: Option<f64>,
    },
    Opo {},
    Gdpo {
        #[serde(default = "usual_estimator")]
        estimator: String,
        eps: Option<f64>,
        #[serde(default = "ones")]
        weights: [f64; 3],
    },
}

fn one() -> f64 {
    1.0
}

fn ones() -> [f64; 3] {
    [1.0; 3]
}

fn usual_lam() -> f64 {
    0.95
}

fn usual_estimator() -> String {
    "grpo".to_owned()
}

impl Advantage {
    fn method(self) -> PyResult<AdvantageMethod> {
        Ok(match self {
            Self::Gae { gamma, lam, alpha, value_lam } => {
                AdvantageMethod::Gae(Gae { gamma, lam, alpha, value_lam }.into())
            }
            Self::ReinforcePlusPlus { gamma } => AdvantageMethod::ReinforcePlusPlus { gamma },
            Self::ReMax {} => AdvantageMethod::ReMax,
            Self::Group { estimator, eps } => {
                AdvantageMethod::Group(Group::of(&estimator, eps)?.into())
            }
            Self::Opo {} => AdvantageMethod::Opo,
            Self::Gdpo { estimator, eps, weights } => {
                AdvantageMethod::Gdpo { group: Group::of(&estimator, eps)?.into(), weights }
            }
        })
    }
}

/// Of [`KlController`]: a number, or a number that is steered towards a target.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number, or {\"beta\", \"target\", \"horizon\"}")]
enum Beta {
    Fixed(f64),
    Adaptive { beta: f64, target: f64, horizon: f64 },
}

/// Of [`KlLossConfig`], flat.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct KlLoss {
    coefficient: f64,
    estimator: String,
    gradient: String,
    k3_limit: Option<f64>,
}

/// GRPO's.
impl Default for KlLoss {
    fn default() -> Self {
        Self {
            coefficient: 0.04,
            estimator: "k3".into(),
            gradient: "formula".into(),
            k3_limit: Some(10.0),
        }
    }
}

impl KlLoss {
    fn config(&self) -> PyResult<KlLossConfig> {
        let kl = KlConfig {
            estimator: self.estimator.parse().map_err(|error| refused(&error))?,
            gradient: self.gradient.parse().map_err(|error| refused(&error))?,
            k3_limit: self.k3_limit.unwrap_or(f64::INFINITY),
        };
        Ok(KlLossConfig { kl, coefficient: self.coefficient })
    }
}

/// Of [`CriticConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Critic {
    coefficient: f64,
    loss: Value,
}

impl Default for Critic {
    fn default() -> Self {
        Self { coefficient: 1.0, loss: Value::default() }
    }
}

/// Of [`MonitorConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Monitors {
    bound: f64,
    dead_zone: f64,
}

impl Default for Monitors {
    fn default() -> Self {
        let MonitorConfig { bound, dead_zone } = MonitorConfig::default();
        Self { bound, dead_zone }
    }
}

impl From<Monitors> for MonitorConfig {
    fn from(Monitors { bound, dead_zone }: Monitors) -> Self {
        Self { bound, dead_zone }
    }
}

/// A price of KL: fixed, or steered where a target is given.
pub(crate) fn controller(
    beta: f64,
    target: Option<f64>,
    horizon: Option<f64>,
) -> PyResult<KlController> {
    match (target, horizon) {
        (None, None) => KlController::fixed(beta),
        (Some(target), Some(horizon)) => KlController::adaptive(beta, target, horizon),
        _ => {
            return Err(unfit(
                "`target` and `horizon` go together; give both, or neither for a fixed beta",
            ));
        }
    }
    .map_err(|error| refused(&error))
}

/// Reads the settings of an update.
///
/// # Errors
/// `OptimError` for a key or a name that does not exist, or a number out of its range.
pub(crate) fn config(text: &str) -> PyResult<RepoConfig> {
    let patch: Repo = read(text)?;
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
        Some(Beta::Fixed(beta)) => config.beta = controller(beta, None, None)?,
        Some(Beta::Adaptive { beta, target, horizon }) => {
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
        let critic = critic
            .map(|Critic { coefficient, loss }| CriticConfig { loss: loss.into(), coefficient });
        config.critic = critic;
    }
    if let Some(monitors) = patch.monitors {
        config.monitors = monitors.into();
    }
    Ok(config)
}
