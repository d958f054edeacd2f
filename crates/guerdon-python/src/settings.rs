//! Settings of single stages, read from JSON text. Names are those of the Python signatures. Names
//! and values that a stage does not have are refused.

use std::fmt::Display;
use std::str::FromStr;

use guerdon_client::optim::{
    Aggregation, ClipRange, CorrectionConfig, CorrectionLevel, Divergence, Estimator, GaeConfig,
    GroupConfig, KlConfig, KlEstimator, KlGradient, Lambda, Normaliser, PolicyConfig, Rejection,
    RejectionScope, Surrogate, ValueConfig, WeightBound, WhitenConfig,
};
use pyo3::PyResult;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};

use crate::errors::{input_error, optim_error};

/// Parses settings.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> PyResult<T> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let (place, detail) = (error.path().to_string(), error.inner().to_string());
        let detail = detail.rsplit_once(" at line ").map_or(detail.as_str(), |(detail, _)| detail);
        input_error(if place == "." { detail.to_owned() } else { format!("`{place}`: {detail}") })
    })
}

/// Deserialises an enum from the name of a variant.
pub(crate) fn parse_name<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    from: D,
) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// Deserialises a number; `null` is infinity (no bound).
fn infinite_if_null<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::INFINITY))
}

/// Settings of [`GaeConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GaeSettings {
    pub(crate) gamma: f64,
    pub(crate) lam: f64,
    pub(crate) alpha: Option<f64>,
    pub(crate) value_lam: Option<f64>,
}

impl Default for GaeSettings {
    fn default() -> Self {
        Self { gamma: 1.0, lam: 0.95, alpha: None, value_lam: None }
    }
}

impl From<GaeSettings> for GaeConfig {
    fn from(GaeSettings { gamma, lam, alpha, value_lam }: GaeSettings) -> Self {
        let lambda = alpha.map_or(Lambda::Constant(lam), |alpha| Lambda::LengthAdaptive { alpha });
        Self { gamma, lambda, value_lambda: value_lam }
    }
}

/// Settings of [`GroupConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GroupSettings {
    #[serde(deserialize_with = "parse_name")]
    estimator: Estimator,
    eps: f64,
}

impl Default for GroupSettings {
    fn default() -> Self {
        let GroupConfig { estimator, eps } = GroupConfig::default();
        Self { estimator, eps }
    }
}

impl GroupSettings {
    /// # Errors
    /// `OptimError` for an estimator that does not exist.
    pub(crate) fn of(estimator: &str, eps: Option<f64>) -> PyResult<Self> {
        let estimator = estimator.parse().map_err(|error| optim_error(&error))?;
        Ok(Self { estimator, eps: eps.unwrap_or(Self::default().eps) })
    }
}

impl From<GroupSettings> for GroupConfig {
    fn from(GroupSettings { estimator, eps }: GroupSettings) -> Self {
        Self { estimator, eps }
    }
}

/// Settings of [`WhitenConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WhitenSettings {
    centre: bool,
    eps: f64,
}

impl Default for WhitenSettings {
    fn default() -> Self {
        let WhitenConfig { centre, eps } = WhitenConfig::default();
        Self { centre, eps }
    }
}

impl From<WhitenSettings> for WhitenConfig {
    fn from(WhitenSettings { centre, eps }: WhitenSettings) -> Self {
        Self { centre, eps }
    }
}

/// Settings of [`KlConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct KlSettings {
    #[serde(deserialize_with = "parse_name")]
    estimator: KlEstimator,
    #[serde(deserialize_with = "parse_name")]
    gradient: KlGradient,
    #[serde(deserialize_with = "infinite_if_null")]
    k3_limit: f64,
}

impl Default for KlSettings {
    fn default() -> Self {
        let KlConfig { estimator, gradient, k3_limit } = KlConfig::default();
        Self { estimator, gradient, k3_limit }
    }
}

impl From<KlSettings> for KlConfig {
    fn from(KlSettings { estimator, gradient, k3_limit }: KlSettings) -> Self {
        Self { estimator, gradient, k3_limit }
    }
}

/// Settings of [`PolicyConfig`], flat; the conversion checks that the surrogate has each of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PolicySettings {
    surrogate: Option<String>,
    clip_low: Option<f64>,
    clip_high: Option<f64>,
    dual_clip: Option<f64>,
    tau_positive: Option<f64>,
    tau_negative: Option<f64>,
    beta: Option<f64>,
    max_ratio: Option<f64>,
    cov_share: Option<f64>,
    cov_low: Option<f64>,
    cov_high: Option<f64>,
    seed: Option<u64>,
    kl_coefficient: Option<f64>,
    #[serde(deserialize_with = "parse_name")]
    aggregation: Aggregation,
}

/// The surrogates and the settings of each.
const SURROGATES: &[(&str, &[&str])] = &[
    ("ppo", &["clip_low", "clip_high", "dual_clip"]),
    ("gspo", &["clip_low", "clip_high"]),
    ("gspo_token", &["clip_low", "clip_high"]),
    ("gmpo", &["clip_low", "clip_high"]),
    ("cispo", &["clip_low", "clip_high"]),
    ("sapo", &["tau_positive", "tau_negative"]),
    ("dro", &["beta"]),
    ("reinforce", &[]),
    ("dppo_tv", &["clip_low", "clip_high", "max_ratio"]),
    ("dppo_kl", &["clip_low", "clip_high", "max_ratio"]),
    ("clip_cov", &["clip_low", "clip_high", "cov_share", "cov_low", "cov_high", "seed"]),
    ("kl_cov", &["cov_share", "kl_coefficient"]),
];

impl PolicySettings {
    /// # Errors
    /// `OptimError` for a surrogate that does not exist, or a setting that it does not have.
    pub(crate) fn config(&self) -> PyResult<PolicyConfig> {
        let name = self.surrogate.as_deref().unwrap_or("ppo");
        let names: Vec<&str> = SURROGATES.iter().map(|(name, _)| *name).collect();
        let Some((_, has)) = SURROGATES.iter().find(|(known, _)| *known == name) else {
            return Err(input_error(format!(
                "unknown surrogate {name:?}; expected one of: {}",
                names.join(", ")
            )));
        };
        let given = [
            ("clip_low", self.clip_low),
            ("clip_high", self.clip_high),
            ("dual_clip", self.dual_clip),
            ("tau_positive", self.tau_positive),
            ("tau_negative", self.tau_negative),
            ("beta", self.beta),
            ("max_ratio", self.max_ratio),
            ("cov_share", self.cov_share),
            ("cov_low", self.cov_low),
            ("cov_high", self.cov_high),
            ("seed", self.seed.map(|seed| seed as f64)),
            ("kl_coefficient", self.kl_coefficient),
        ];
        if let Some((stray, _)) =
            given.iter().find(|(field, value)| value.is_some() && !has.contains(field))
        {
            let only = if has.is_empty() {
                "it has none".to_owned()
            } else {
                format!("only `{}`", has.join("`, `"))
            };
            return Err(input_error(format!(
                "the surrogate `{name}` has no setting `{stray}`, {only}; leave it out"
            )));
        }
        // GSPO's ratio is per row, and the range of its paper a thousandth of that for tokens.
        let default = match name {
            "gspo" | "gspo_token" => ClipRange { low: 3e-4, high: 4e-4 },
            // Of a probability, and of a divergence in nats.
            "dppo_tv" => ClipRange { low: 0.15, high: 0.15 },
            "dppo_kl" => ClipRange { low: 0.05, high: 0.05 },
            _ => ClipRange::default(),
        };
        let max_ratio = self.max_ratio.unwrap_or(20.0);
        let share = self.cov_share.unwrap_or(2e-4);
        let clip = ClipRange {
            low: self.clip_low.unwrap_or(default.low),
            high: self.clip_high.unwrap_or(default.high),
        };
        let surrogate = match name {
            "gspo" => Surrogate::Gspo { clip },
            "gspo_token" => Surrogate::GspoToken { clip },
            "dppo_tv" => Surrogate::DppoTv { clip, max_ratio },
            "dppo_kl" => Surrogate::DppoKl { clip, max_ratio },
            "clip_cov" => Surrogate::ClipCov {
                clip,
                share,
                low: self.cov_low.unwrap_or(1.0),
                high: self.cov_high.unwrap_or(5.0),
                seed: self.seed.unwrap_or(0),
            },
            "kl_cov" => Surrogate::KlCov { share, coefficient: self.kl_coefficient.unwrap_or(1.0) },
            "gmpo" => Surrogate::Gmpo { clip },
            "cispo" => Surrogate::Cispo { clip },
            "sapo" => Surrogate::Sapo {
                tau_positive: self.tau_positive.unwrap_or(1.0),
                tau_negative: self.tau_negative.unwrap_or(1.05),
            },
            "dro" => Surrogate::Dro { beta: self.beta.unwrap_or(0.1) },
            "reinforce" => Surrogate::Reinforce,
            _ => Surrogate::Ppo { clip, dual: self.dual_clip },
        };
        Ok(PolicyConfig { surrogate, aggregation: self.aggregation })
    }
}

/// Settings of [`ValueConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ValueSettings {
    clip: Option<f64>,
    #[serde(deserialize_with = "parse_name")]
    aggregation: Aggregation,
}

impl Default for ValueSettings {
    fn default() -> Self {
        let ValueConfig { clip, aggregation } = ValueConfig::default();
        Self { clip, aggregation }
    }
}

impl From<ValueSettings> for ValueConfig {
    fn from(ValueSettings { clip, aggregation }: ValueSettings) -> Self {
        Self { clip, aggregation }
    }
}

/// Parses the name of an aggregation.
///
/// # Errors
/// `OptimError` for an unknown name.
pub(crate) fn aggregation(name: &str) -> PyResult<Aggregation> {
    name.parse().map_err(|error| optim_error(&error))
}

/// Settings of [`CorrectionConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CorrectionSettings {
    #[serde(deserialize_with = "parse_name")]
    level: CorrectionLevel,
    bound: BoundName,
    low: f64,
    high: f64,
    normalise: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BoundName {
    Truncate,
    Drop,
    DropRows,
}

impl From<CorrectionSettings> for CorrectionConfig {
    fn from(CorrectionSettings { level, bound, low, high, normalise }: CorrectionSettings) -> Self {
        let bound = match bound {
            BoundName::Truncate => WeightBound::Truncate { high },
            BoundName::Drop => WeightBound::Drop { low, high },
            BoundName::DropRows => WeightBound::DropRows { low, high },
        };
        Self { level, bound, normalise }
    }
}

/// Settings of [`Rejection`]; a bound that is left out is infinite.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectionSettings {
    #[serde(default, deserialize_with = "parse_name")]
    scope: RejectionScope,
    #[serde(default, deserialize_with = "parse_name")]
    divergence: Divergence,
    low: Option<f64>,
    high: Option<f64>,
}

impl From<RejectionSettings> for Rejection {
    fn from(RejectionSettings { scope, divergence, low, high }: RejectionSettings) -> Self {
        let (low, high) = (low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY));
        Self { scope, divergence, low, high }
    }
}

/// Converts Python's tuple `(tokens, rows, horizon)` to a [`Normaliser`].
pub(crate) fn divisors(normaliser: Option<(f64, f64, f64)>) -> Option<Normaliser> {
    normaliser.map(|(tokens, rows, horizon)| Normaliser { tokens, rows, horizon })
}
