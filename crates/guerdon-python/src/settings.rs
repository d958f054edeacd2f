//! Settings of single stages, read from JSON text. The names are those of the Python signatures; one that a
//! method does not have is refused, and so is a value that no variant has.

use std::fmt::Display;
use std::str::FromStr;

use guerdon_client::optim::{
    Aggregation, Bound, ClipRange, CorrectionConfig, Divergence, Estimator, GaeConfig, GroupConfig,
    KlConfig, KlEstimator, KlGradient, Lambda, Level, Normaliser, PolicyConfig, Rejection, Scope,
    Surrogate, ValueConfig, WhitenConfig,
};
use pyo3::PyResult;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};

use crate::errors::{refused, unfit};

/// Reads settings.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> PyResult<T> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let (place, detail) = (error.path().to_string(), error.inner().to_string());
        let detail = detail.rsplit_once(" at line ").map_or(detail.as_str(), |(detail, _)| detail);
        unfit(if place == "." { detail.to_owned() } else { format!("`{place}`: {detail}") })
    })
}

/// A variant by its name.
pub(crate) fn named<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    from: D,
) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// A number, or `null` for no bound.
fn bound<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::INFINITY))
}

/// Of [`GaeConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Gae {
    pub(crate) gamma: f64,
    pub(crate) lam: f64,
    pub(crate) alpha: Option<f64>,
    pub(crate) value_lam: Option<f64>,
}

impl Default for Gae {
    fn default() -> Self {
        Self { gamma: 1.0, lam: 0.95, alpha: None, value_lam: None }
    }
}

impl From<Gae> for GaeConfig {
    fn from(Gae { gamma, lam, alpha, value_lam }: Gae) -> Self {
        let lambda = alpha.map_or(Lambda::Constant(lam), |alpha| Lambda::LengthAdaptive { alpha });
        Self { gamma, lambda, value_lambda: value_lam }
    }
}

/// Of [`GroupConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Group {
    #[serde(deserialize_with = "named")]
    estimator: Estimator,
    eps: f64,
}

impl Default for Group {
    fn default() -> Self {
        let GroupConfig { estimator, eps } = GroupConfig::default();
        Self { estimator, eps }
    }
}

impl Group {
    /// # Errors
    /// `OptimError` for an estimator that does not exist.
    pub(crate) fn of(estimator: &str, eps: Option<f64>) -> PyResult<Self> {
        let estimator = estimator.parse().map_err(|error| refused(&error))?;
        Ok(Self { estimator, eps: eps.unwrap_or(Self::default().eps) })
    }
}

impl From<Group> for GroupConfig {
    fn from(Group { estimator, eps }: Group) -> Self {
        Self { estimator, eps }
    }
}

/// Of [`WhitenConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Whiten {
    centre: bool,
    eps: f64,
}

impl Default for Whiten {
    fn default() -> Self {
        let WhitenConfig { centre, eps } = WhitenConfig::default();
        Self { centre, eps }
    }
}

impl From<Whiten> for WhitenConfig {
    fn from(Whiten { centre, eps }: Whiten) -> Self {
        Self { centre, eps }
    }
}

/// Of [`KlConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Kl {
    #[serde(deserialize_with = "named")]
    estimator: KlEstimator,
    #[serde(deserialize_with = "named")]
    gradient: KlGradient,
    #[serde(deserialize_with = "bound")]
    k3_limit: f64,
}

impl Default for Kl {
    fn default() -> Self {
        let KlConfig { estimator, gradient, k3_limit } = KlConfig::default();
        Self { estimator, gradient, k3_limit }
    }
}

impl From<Kl> for KlConfig {
    fn from(Kl { estimator, gradient, k3_limit }: Kl) -> Self {
        Self { estimator, gradient, k3_limit }
    }
}

/// Of [`PolicyConfig`], flat; which of them a surrogate has is checked in the conversion.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Policy {
    surrogate: Option<String>,
    clip_low: Option<f64>,
    clip_high: Option<f64>,
    dual_clip: Option<f64>,
    tau_positive: Option<f64>,
    tau_negative: Option<f64>,
    beta: Option<f64>,
    #[serde(deserialize_with = "named")]
    aggregation: Aggregation,
}

const SURROGATES: &[(&str, &[&str])] = &[
    ("ppo", &["clip_low", "clip_high", "dual_clip"]),
    ("gspo", &["clip_low", "clip_high"]),
    ("gmpo", &["clip_low", "clip_high"]),
    ("cispo", &["clip_low", "clip_high"]),
    ("sapo", &["tau_positive", "tau_negative"]),
    ("dro", &["beta"]),
    ("reinforce", &[]),
];

impl Policy {
    /// # Errors
    /// `OptimError` for a surrogate that does not exist, or a setting that it does not have.
    pub(crate) fn config(&self) -> PyResult<PolicyConfig> {
        let name = self.surrogate.as_deref().unwrap_or("ppo");
        let names: Vec<&str> = SURROGATES.iter().map(|(name, _)| *name).collect();
        let Some((_, has)) = SURROGATES.iter().find(|(known, _)| *known == name) else {
            return Err(unfit(format!("unknown surrogate {name:?}, expected one of {names:?}")));
        };
        let given = [
            ("clip_low", self.clip_low),
            ("clip_high", self.clip_high),
            ("dual_clip", self.dual_clip),
            ("tau_positive", self.tau_positive),
            ("tau_negative", self.tau_negative),
            ("beta", self.beta),
        ];
        if let Some((stray, _)) =
            given.iter().find(|(field, value)| value.is_some() && !has.contains(field))
        {
            return Err(unfit(format!(
                "the surrogate `{name}` has no `{stray}`, only {has:?}; leave it out"
            )));
        }
        // GSPO's ratio is a row's, and its paper's range a thousandth of a token's.
        let usual =
            if name == "gspo" { ClipRange { low: 3e-4, high: 4e-4 } } else { ClipRange::default() };
        let clip = ClipRange {
            low: self.clip_low.unwrap_or(usual.low),
            high: self.clip_high.unwrap_or(usual.high),
        };
        let surrogate = match name {
            "gspo" => Surrogate::Gspo { clip },
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

/// Of [`ValueConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Value {
    clip: Option<f64>,
    #[serde(deserialize_with = "named")]
    aggregation: Aggregation,
}

impl Default for Value {
    fn default() -> Self {
        let ValueConfig { clip, aggregation } = ValueConfig::default();
        Self { clip, aggregation }
    }
}

impl From<Value> for ValueConfig {
    fn from(Value { clip, aggregation }: Value) -> Self {
        Self { clip, aggregation }
    }
}

/// An aggregation by its name.
///
/// # Errors
/// `OptimError` for a name that none has.
pub(crate) fn aggregation(name: &str) -> PyResult<Aggregation> {
    name.parse().map_err(|error| refused(&error))
}

/// Of [`CorrectionConfig`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Correction {
    #[serde(deserialize_with = "named")]
    level: Level,
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

impl From<Correction> for CorrectionConfig {
    fn from(Correction { level, bound, low, high, normalise }: Correction) -> Self {
        let bound = match bound {
            BoundName::Truncate => Bound::Truncate { high },
            BoundName::Drop => Bound::Drop { low, high },
            BoundName::DropRows => Bound::DropRows { low, high },
        };
        Self { level, bound, normalise }
    }
}

/// Of [`Rejection`]; a bound that is left out is none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reject {
    #[serde(default, deserialize_with = "named")]
    scope: Scope,
    #[serde(default, deserialize_with = "named")]
    divergence: Divergence,
    low: Option<f64>,
    high: Option<f64>,
}

impl From<Reject> for Rejection {
    fn from(Reject { scope, divergence, low, high }: Reject) -> Self {
        let (low, high) = (low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY));
        Self { scope, divergence, low, high }
    }
}

/// Divisors as Python's tuple `(tokens, rows, horizon)`.
pub(crate) fn divisors(normaliser: Option<(f64, f64, f64)>) -> Option<Normaliser> {
    normaliser.map(|(tokens, rows, horizon)| Normaliser { tokens, rows, horizon })
}
