//! The configuration of the fusion, and a request's changes to it.

use serde::{Deserialize, Serialize};

use super::{Aggregate, FusionMethod, HeroConfig, InnerMethod, InvalidFusion, Weights};
use crate::{Finite, OnAbstain};

/// A fusion configuration. guerdon-fusion has the equations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct FusionConfig {
    /// The method of the fusion.
    pub method: FusionMethod,
    /// `n`: the enhancement is clipped to `[-n, n]`, in points. Positive; the paper uses 100.
    pub bound: Finite,
    /// The weights of `weighted_sum` and `soft_min`.
    pub weights: Weights,
    /// `gated` and `screen`: the fusion of a turn without a veto.
    pub inner: InnerMethod,
    /// `gated`: the highest reward of a vetoed turn.
    pub floor: Finite,
    /// The combination of turn rewards into the rollout's.
    pub aggregate: Aggregate,
    /// The effect of a missing judge or rule signal on the turn's reward: a word for every cause, or
    /// an action for each cause.
    pub on_abstain: OnAbstain,
    /// `repo`: the least size of the RM's score that points modulate, in its units. 0 or more;
    /// with 0, the paper's method, points do nothing where the score is 0. Default: 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub delta: Finite,
    /// `soft_min`: the temperature, in units of its terms. Positive; near 0 the lowest term is the
    /// reward, far above the differences of the terms their weighted mean. Default: 1.
    #[serde(skip_serializing_if = "is_one")]
    pub beta: Finite,
    /// `hero`: its settings.
    #[serde(skip_serializing_if = "HeroConfig::is_default")]
    pub hero: HeroConfig,
}

/// True for the default of `delta`.
pub(crate) fn is_zero(value: &Finite) -> bool {
    *value == Finite::ZERO
}

/// True for the default of `beta`.
pub(crate) fn is_one(value: &Finite) -> bool {
    *value == Finite::ONE
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
            delta: Finite::ZERO,
            beta: Finite::ONE,
            hero: HeroConfig::default(),
        }
    }
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
    /// See [`FusionConfig::delta`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<Finite>,
    /// See [`FusionConfig::beta`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta: Option<Finite>,
    /// See [`FusionConfig::hero`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hero: Option<HeroConfig>,
}

impl FusionConfig {
    /// This configuration with the changes of `patch`.
    ///
    /// # Errors
    /// [`InvalidFusion`] if the result is invalid.
    pub fn patched(&self, patch: &FusionPatch) -> Result<Self, InvalidFusion> {
        let FusionPatch {
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
        } = patch.clone();
        let patched = Self {
            method: method.unwrap_or(self.method),
            bound: bound.unwrap_or(self.bound),
            weights: weights.unwrap_or(self.weights),
            inner: inner.unwrap_or(self.inner),
            floor: floor.unwrap_or(self.floor),
            aggregate: aggregate.unwrap_or(self.aggregate),
            on_abstain: on_abstain.unwrap_or(self.on_abstain),
            delta: delta.unwrap_or(self.delta),
            beta: beta.unwrap_or(self.beta),
            hero: hero.unwrap_or(self.hero),
        };
        patched.check()?;
        Ok(patched)
    }

    /// Checks that the bound is positive, no weight is negative, and the constants of each method
    /// are in range.
    ///
    /// # Errors
    /// [`InvalidFusion`] naming the key.
    pub fn check(&self) -> Result<(), InvalidFusion> {
        if self.bound.get() <= 0.0 {
            let detail = format!("is {}; it must be positive", self.bound);
            return Err(InvalidFusion::new("bound", detail));
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
                return Err(InvalidFusion::new(key, detail));
            }
        }
        if self.delta.get() < 0.0 {
            let detail = format!("is {}; it must be 0 or more", self.delta);
            return Err(InvalidFusion::new("delta", detail));
        }
        if self.beta.get() <= 0.0 {
            let detail = format!("is {}; it must be positive", self.beta);
            return Err(InvalidFusion::new("beta", detail));
        }
        self.hero.check()
    }

    /// True if a turn without an RM score cannot have a reward.
    #[must_use]
    pub const fn needs_rm(&self) -> bool {
        match self.method {
            FusionMethod::Repo | FusionMethod::Hero => true,
            FusionMethod::WeightedSum | FusionMethod::SoftMin => false,
            FusionMethod::Gated | FusionMethod::Screen => matches!(self.inner, InnerMethod::Repo),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Invalid, Vocabulary as _};

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

    #[test]
    fn new_keys_are_written_only_where_they_are_not_the_default() {
        let keys = |config: &FusionConfig| {
            let json = serde_json::to_value(config).unwrap();
            let keys: Vec<String> = json.as_object().unwrap().keys().cloned().collect();
            (json.to_string(), keys.len())
        };
        let (json, count) = keys(&FusionConfig::default());
        assert_eq!(count, 7, "{json}");
        for patch in [r#"{"delta": 0.2}"#, r#"{"beta": 0.5}"#, r#"{"hero": {"alpha": 0.1}}"#] {
            let patch: FusionPatch = serde_json::from_str(patch).unwrap();
            let patched = FusionConfig::default().patched(&patch).unwrap();
            assert_eq!(keys(&patched).1, 8, "{patched:?}");
            let json = serde_json::to_value(&patched).unwrap();
            assert_eq!(serde_json::from_value::<FusionConfig>(json).unwrap(), patched);
        }
    }

    #[test]
    fn constants_out_of_range_are_refused_with_their_pointers() {
        for (patch, pointer) in [
            (r#"{"delta": -0.1}"#, "/fusion/delta"),
            (r#"{"beta": 0}"#, "/fusion/beta"),
            (r#"{"hero": {"alpha": 0.6, "beta": 0.6}}"#, "/fusion/hero/alpha"),
        ] {
            let patch: FusionPatch = serde_json::from_str(patch).unwrap();
            let invalid = FusionConfig::default().patched(&patch).unwrap_err();
            assert_eq!(Invalid::from(invalid).pointer, pointer);
        }
    }

    #[test]
    fn words_in_json_are_those_of_the_vocabulary() {
        for method in [
            FusionMethod::Repo,
            FusionMethod::WeightedSum,
            FusionMethod::Gated,
            FusionMethod::SoftMin,
            FusionMethod::Screen,
            FusionMethod::Hero,
        ] {
            assert_eq!(serde_json::to_value(method).unwrap(), method.as_str());
        }
        for inner in [InnerMethod::Repo, InnerMethod::WeightedSum, InnerMethod::SoftMin] {
            assert_eq!(serde_json::to_value(inner).unwrap(), inner.as_str());
        }
    }
}
