//! Settings in replies: the same as in requests and configuration, but unknown words and keys are
//! accepted.

use serde::{Deserialize, Serialize};

use crate::word::known_keys;
use crate::{
    Aggregate, Calibration, Finite, FusionConfig, FusionMethod, InnerMethod, OnAbstain, Weights,
    Word,
};

/// The fusion that made a reward. A later server may use words and keys that this version does not
/// know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportedFusion {
    /// See [`FusionConfig::method`].
    pub method: Word<FusionMethod>,
    /// See [`FusionConfig::bound`].
    pub bound: Finite,
    /// See [`FusionConfig::weights`].
    #[serde(deserialize_with = "known_keys")]
    pub weights: Weights,
    /// See [`FusionConfig::inner`].
    pub inner: Word<InnerMethod>,
    /// See [`FusionConfig::floor`].
    pub floor: Finite,
    /// See [`FusionConfig::aggregate`].
    pub aggregate: Word<Aggregate>,
    /// See [`FusionConfig::on_abstain`].
    pub on_abstain: Word<OnAbstain>,
}

impl ReportedFusion {
    /// The configuration. `None` if it has a word that this version does not know.
    #[must_use]
    pub fn config(&self) -> Option<FusionConfig> {
        Some(FusionConfig {
            method: self.method.known()?,
            bound: self.bound,
            weights: self.weights,
            inner: self.inner.known()?,
            floor: self.floor,
            aggregate: self.aggregate.known()?,
            on_abstain: self.on_abstain.known()?,
        })
    }
}

impl From<FusionConfig> for ReportedFusion {
    fn from(config: FusionConfig) -> Self {
        let FusionConfig { method, bound, weights, inner, floor, aggregate, on_abstain } = config;
        Self {
            method: method.into(),
            bound,
            weights,
            inner: inner.into(),
            floor,
            aggregate: aggregate.into(),
            on_abstain: on_abstain.into(),
        }
    }
}

impl Default for ReportedFusion {
    fn default() -> Self {
        FusionConfig::default().into()
    }
}

/// The calibration that made a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ReportedCalibration {
    /// A kind that this version knows.
    Known(Calibration),
    /// A kind that this version does not know, unchanged.
    Other(serde_json::Map<String, serde_json::Value>),
}

impl From<Calibration> for ReportedCalibration {
    fn from(calibration: Calibration) -> Self {
        Self::Known(calibration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reported_fusion_has_the_same_json_as_the_configuration() {
        let config = FusionConfig { method: FusionMethod::Gated, ..FusionConfig::default() };
        let reported = ReportedFusion::from(config.clone());
        assert_eq!(
            serde_json::to_value(&reported).unwrap(),
            serde_json::to_value(&config).unwrap()
        );
        assert_eq!(reported.config(), Some(config));
    }

    #[test]
    fn unknown_method_is_kept_and_has_no_configuration() {
        let json = r#"{"method": "softmin", "temperature": 2, "weights": {"rm": 0.5, "tone": 1}}"#;
        let reported: ReportedFusion = serde_json::from_str(json).unwrap();
        assert_eq!(reported.method.as_str(), "softmin");
        assert_eq!(reported.weights.rm, Finite::new(0.5).unwrap());
        assert_eq!(reported.config(), None);
    }

    #[test]
    fn unknown_calibration_is_kept_as_it_was_sent() {
        let json = serde_json::json!({ "kind": "quantile", "knots": [1, 2] });
        let reported: ReportedCalibration = serde_json::from_value(json.clone()).unwrap();
        assert!(matches!(reported, ReportedCalibration::Other(_)));
        assert_eq!(serde_json::to_value(reported).unwrap(), json);
    }
}
