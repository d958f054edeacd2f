//! Settings in replies: the same as in requests and configuration, but unknown words and keys are
//! accepted.

use serde::{Deserialize, Serialize};

use crate::fusion::{is_one, is_zero};
use crate::word::known_keys;
use crate::{
    AbstainPolicy, Aggregate, Calibration, ContentAction, Finite, FusionConfig, FusionMethod,
    HeroConfig, InfrastructureAction, InnerMethod, OnAbstain, Weights, Word,
};

/// The word that stands for [`OnAbstain::ByCause`] in a reply. Clients that know only words read
/// it as one that they do not know.
const BY_CAUSE: &str = "by_cause";

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
    /// See [`FusionConfig::on_abstain`]; `by_cause` if `abstain_causes` has the actions.
    pub on_abstain: Word<OnAbstain>,
    /// The action for each cause of an abstention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abstain_causes: Option<ReportedCauses>,
    /// See [`FusionConfig::delta`].
    #[serde(skip_serializing_if = "is_zero")]
    pub delta: Finite,
    /// See [`FusionConfig::beta`].
    #[serde(skip_serializing_if = "is_one")]
    pub beta: Finite,
    /// See [`FusionConfig::hero`].
    #[serde(deserialize_with = "known_keys", skip_serializing_if = "HeroConfig::is_default")]
    pub hero: HeroConfig,
}

/// The action for each cause of an abstention: see [`AbstainPolicy`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedCauses {
    /// See [`AbstainPolicy::infrastructure`].
    pub infrastructure: Word<InfrastructureAction>,
    /// See [`AbstainPolicy::content`].
    pub content: Word<ContentAction>,
}

impl ReportedFusion {
    /// The configuration. `None` if it has a word that this version does not know.
    #[must_use]
    pub fn config(&self) -> Option<FusionConfig> {
        let on_abstain = match &self.abstain_causes {
            Some(ReportedCauses { infrastructure, content }) => {
                let (infrastructure, content) = (infrastructure.known()?, content.known()?);
                OnAbstain::ByCause(AbstainPolicy { infrastructure, content })
            }
            None => match self.on_abstain {
                Word::Known(known) => known,
                Word::Other(_) => return None,
            },
        };
        Some(FusionConfig {
            method: self.method.known()?,
            bound: self.bound,
            weights: self.weights,
            inner: self.inner.known()?,
            floor: self.floor,
            aggregate: self.aggregate.known()?,
            on_abstain,
            delta: self.delta,
            beta: self.beta,
            hero: self.hero,
        })
    }
}

impl From<FusionConfig> for ReportedFusion {
    fn from(config: FusionConfig) -> Self {
        let FusionConfig {
            method,
            bound,
            weights,
            inner,
            floor,
            aggregate,
            on_abstain,
            delta,
            beta,
            hero,
        } = config;
        Self {
            delta,
            beta,
            hero,
            method: method.into(),
            bound,
            weights,
            inner: inner.into(),
            floor,
            aggregate: aggregate.into(),
            on_abstain: match on_abstain {
                OnAbstain::ByCause(_) => Word::Other(BY_CAUSE.to_owned()),
                word => word.into(),
            },
            abstain_causes: match on_abstain {
                OnAbstain::ByCause(AbstainPolicy { infrastructure, content }) => {
                    let (infrastructure, content) = (infrastructure.into(), content.into());
                    Some(ReportedCauses { infrastructure, content })
                }
                OnAbstain::Skip | OnAbstain::Null => None,
            },
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
        let gated = FusionConfig { method: FusionMethod::Gated, ..FusionConfig::default() };
        let hero = HeroConfig { pass: Some(Finite::ONE), ..HeroConfig::default() };
        let other =
            FusionConfig { delta: Finite::ONE, beta: Finite::from(3), hero, ..gated.clone() };
        for config in [gated, other] {
            let reported = ReportedFusion::from(config.clone());
            let json = serde_json::to_value(&reported).unwrap();
            assert_eq!(json, serde_json::to_value(&config).unwrap());
            assert_eq!(serde_json::from_value::<ReportedFusion>(json).unwrap(), reported);
            assert_eq!(reported.config(), Some(config));
        }
    }

    #[test]
    fn actions_by_cause_are_reported_beside_a_word() {
        let on_abstain = OnAbstain::ByCause(AbstainPolicy {
            content: ContentAction::Worst,
            ..AbstainPolicy::default()
        });
        let config = FusionConfig { on_abstain, ..FusionConfig::default() };
        let json = serde_json::to_value(ReportedFusion::from(config.clone())).unwrap();
        assert_eq!(json["on_abstain"], "by_cause");
        let causes = serde_json::json!({"infrastructure": "group", "content": "worst"});
        assert_eq!(json["abstain_causes"], causes);
        let mut read: ReportedFusion = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(read.config(), Some(config));
        assert_eq!(serde_json::to_value(&read).unwrap(), json);
        let later = serde_json::json!({"infrastructure": "wait", "content": "worst"});
        read.abstain_causes = Some(serde_json::from_value(later).unwrap());
        assert_eq!(read.config(), None, "a word of a later server");
    }

    #[test]
    fn unknown_method_is_kept_and_has_no_configuration() {
        let json = r#"{"method": "nash", "temperature": 2, "weights": {"rm": 0.5, "tone": 1}}"#;
        let reported: ReportedFusion = serde_json::from_str(json).unwrap();
        assert_eq!(reported.method.as_str(), "nash");
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
