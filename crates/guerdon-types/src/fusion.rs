//! The configuration of the fusion, which combines several sources into one reward. A request may
//! override parts of it. guerdon-fusion has the arithmetic.

use serde::{Deserialize, Serialize};

use crate::{Finite, Invalid, OnAbstain, ProblemCode, Vocabulary};

/// A fusion configuration. guerdon-fusion has the equations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct FusionConfig {
    /// The method of the fusion.
    pub method: FusionMethod,
    /// `n`: the enhancement is clipped to `[-n, n]`, in points. Positive; the paper uses 100.
    pub bound: Finite,
    /// The weights of `weighted_sum`.
    pub weights: Weights,
    /// `gated`: the fusion of a turn without a veto.
    pub inner: InnerMethod,
    /// `gated`: the highest reward of a vetoed turn.
    pub floor: Finite,
    /// The combination of turn rewards into the rollout's.
    pub aggregate: Aggregate,
    /// The effect of a missing judge or rule signal on the turn's reward: a word for every cause, or
    /// an action for each cause.
    pub on_abstain: OnAbstain,
}

impl Default for FusionConfig {
    fn default() -> Self {
        Self {
            method: FusionMethod::Repo,
            bound: Finite::from(100),
            weights: Weights::default(),
            inner: InnerMethod::Repo,
            floor: Finite::from(-2),
            aggregate: Aggregate::Last,
            on_abstain: OnAbstain::Skip,
        }
    }
}

/// The method of the fusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FusionMethod {
    /// The paper's bounded, sign-keeping modulation of the RM by judge and rules.
    Repo,
    /// A weighted sum.
    WeightedSum,
    /// As `inner`, but the reward of a turn with a `veto` is at most `floor`.
    Gated,
}

/// The fusion that `gated` applies to a turn without a veto.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum InnerMethod {
    /// As the method `repo`.
    Repo,
    /// As the method `weighted_sum`.
    WeightedSum,
}

/// The weights of `weighted_sum`: the RM's per unit of calibrated score, the others per `bound`
/// points.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// The weight of the reward model's score.
    pub rm: Finite,
    /// The weight of the judge's points.
    pub judge: Finite,
    /// The weight of the rules' points.
    pub rules: Finite,
    /// The weight of every external source.
    pub other: Finite,
}

impl Default for Weights {
    fn default() -> Self {
        Self { rm: Finite::ONE, judge: Finite::ONE, rules: Finite::ONE, other: Finite::ONE }
    }
}

/// The combination of turn rewards into the rollout's reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// The last scored turn's reward.
    Last,
    /// The mean.
    Mean,
    /// The sum.
    Sum,
    /// The lowest turn's reward.
    Min,
}

/// The function from the RM's raw output to the score that enters the fusion. `repo` scales patches
/// by the size of this score, so its zero matters: a Bradley-Terry model is only defined up to a
/// constant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Calibration {
    /// `score = raw`.
    #[default]
    Raw,
    /// `score = raw - mean`.
    Centred {
        /// The mean raw score of a reference set.
        mean: Finite,
    },
    /// `score = (raw - mean) / std`.
    Standardised {
        /// The mean raw score of a reference set.
        mean: Finite,
        /// Its standard deviation; positive.
        std: Finite,
    },
}

/// Changes to a [`FusionConfig`]. Missing keys keep their values.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct FusionPatch {
    /// See [`FusionConfig::method`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<FusionMethod>,
    /// See [`FusionConfig::bound`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<Finite>,
    /// See [`FusionConfig::weights`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weights>,
    /// See [`FusionConfig::inner`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inner: Option<InnerMethod>,
    /// See [`FusionConfig::floor`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<Finite>,
    /// See [`FusionConfig::aggregate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregate>,
    /// See [`FusionConfig::on_abstain`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_abstain: Option<OnAbstain>,
}

/// An invalid fusion configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` {detail}")]
pub struct InvalidFusion {
    /// The key.
    pub key: &'static str,
    /// The fault of its value.
    pub detail: String,
}

impl FusionConfig {
    /// This configuration with the changes of `patch`.
    ///
    /// # Errors
    /// [`InvalidFusion`] if the result is invalid.
    pub fn patched(&self, patch: &FusionPatch) -> Result<Self, InvalidFusion> {
        let FusionPatch { method, bound, weights, inner, floor, aggregate, on_abstain } =
            patch.clone();
        let patched = Self {
            method: method.unwrap_or(self.method),
            bound: bound.unwrap_or(self.bound),
            weights: weights.unwrap_or(self.weights),
            inner: inner.unwrap_or(self.inner),
            floor: floor.unwrap_or(self.floor),
            aggregate: aggregate.unwrap_or(self.aggregate),
            on_abstain: on_abstain.unwrap_or(self.on_abstain),
        };
        patched.check()?;
        Ok(patched)
    }

    /// Checks that the bound is positive and no weight is negative.
    ///
    /// # Errors
    /// [`InvalidFusion`] naming the key.
    pub fn check(&self) -> Result<(), InvalidFusion> {
        if self.bound.get() <= 0.0 {
            return Err(InvalidFusion {
                key: "bound",
                detail: format!("is {}; it must be positive", self.bound),
            });
        }
        let Weights { rm, judge, rules, other } = self.weights;
        for (key, weight) in [
            ("weights.rm", rm),
            ("weights.judge", judge),
            ("weights.rules", rules),
            ("weights.other", other),
        ] {
            if weight.get() < 0.0 {
                let detail =
                    format!("is {weight}; a negative weight would reverse the source's points");
                return Err(InvalidFusion { key, detail });
            }
        }
        Ok(())
    }

    /// True if a turn without an RM score cannot have a reward.
    #[must_use]
    pub const fn needs_rm(&self) -> bool {
        match self.method {
            FusionMethod::Repo => true,
            FusionMethod::WeightedSum => false,
            FusionMethod::Gated => matches!(self.inner, InnerMethod::Repo),
        }
    }
}

impl Calibration {
    /// Checks that `std` is positive.
    ///
    /// # Errors
    /// [`InvalidFusion`] naming the key.
    pub fn check(&self) -> Result<(), InvalidFusion> {
        match self {
            Self::Standardised { std, .. } if std.get() <= 0.0 => Err(InvalidFusion {
                key: "calibration.std",
                detail: format!("is {std}; it must be positive"),
            }),
            _ => Ok(()),
        }
    }
}

impl Vocabulary for FusionMethod {
    fn as_str(self) -> &'static str {
        match self {
            Self::Repo => "repo",
            Self::WeightedSum => "weighted_sum",
            Self::Gated => "gated",
        }
    }
}

impl Vocabulary for InnerMethod {
    fn as_str(self) -> &'static str {
        match self {
            Self::Repo => "repo",
            Self::WeightedSum => "weighted_sum",
        }
    }
}

impl Vocabulary for Aggregate {
    fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Mean => "mean",
            Self::Sum => "sum",
            Self::Min => "min",
        }
    }
}

impl From<InvalidFusion> for Invalid {
    fn from(invalid: InvalidFusion) -> Self {
        let pointer = format!("/fusion/{}", invalid.key.replace('.', "/"));
        Self::new(ProblemCode::InvalidRequest, pointer, invalid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patch_changes_only_its_keys() {
        let patch: FusionPatch =
            serde_json::from_str(r#"{"method": "weighted_sum", "bound": 50}"#).unwrap();
        let patched = FusionConfig::default().patched(&patch).unwrap();
        assert_eq!(patched.method, FusionMethod::WeightedSum);
        assert_eq!(patched.bound, Finite::from(50));
        assert_eq!(patched.aggregate, Aggregate::Last);
    }

    #[test]
    fn bound_of_zero_is_refused_with_its_pointer() {
        let patch = FusionPatch { bound: Some(Finite::ZERO), ..FusionPatch::default() };
        let invalid = FusionConfig::default().patched(&patch).unwrap_err();
        assert_eq!(Invalid::from(invalid).pointer, "/fusion/bound");
    }

    #[test]
    fn unknown_key_is_refused() {
        assert!(serde_json::from_str::<FusionPatch>(r#"{"bond": 50}"#).is_err());
    }
}
