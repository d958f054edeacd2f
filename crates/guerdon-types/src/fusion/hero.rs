//! The settings of `hero`.

use serde::{Deserialize, Serialize};

use super::InvalidFusion;
use crate::Finite;

/// The settings of `hero`: the reward model orders replies within the stratum that the verifier
/// gives them, right or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct HeroConfig {
    /// Half the width of the stratum of wrong replies, whose rewards are within `[-alpha, alpha]`.
    /// 0 or more, and `alpha + beta` is below 1, so that the strata do not overlap.
    pub alpha: Finite,
    /// Half the width of the stratum of right replies, whose rewards are within
    /// `[1 - beta, 1 + beta]`. 0 or more.
    pub beta: Finite,
    /// The fewest points of judge, rules and other sources together with which a reply counts as
    /// right. A reply with a veto is always wrong. Default: every reply without a veto is right.
    pub pass: Option<Finite>,
    /// The usual standard deviation of the reward model's scores within a group. Groups that
    /// spread further weigh more. 0 or more. Default: all groups weigh 1.
    pub spread: Option<Finite>,
    /// The weight that a group without spread approaches. 0 or more.
    pub min_weight: Finite,
    /// The weight that a group with much spread approaches. At least `min_weight`.
    pub max_weight: Finite,
    /// The steepness of the weight at `spread`, per unit of score. 0 or more.
    pub steepness: Finite,
}

impl Default for HeroConfig {
    fn default() -> Self {
        const NARROW: Finite = Finite::constant(0.05);
        const HALF: Finite = Finite::constant(0.5);
        Self {
            alpha: NARROW,
            beta: NARROW,
            pass: None,
            spread: None,
            min_weight: HALF,
            max_weight: Finite::from(2),
            steepness: Finite::from(5),
        }
    }
}

impl HeroConfig {
    /// Checks that no number is negative, that the strata do not overlap, and that the weights are
    /// in order.
    ///
    /// # Errors
    /// [`InvalidFusion`] naming the key.
    pub fn check(&self) -> Result<(), InvalidFusion> {
        let Self { alpha, beta, pass: _, spread, min_weight, max_weight, steepness } = *self;
        for (key, value) in [
            ("hero.alpha", alpha),
            ("hero.beta", beta),
            ("hero.spread", spread.unwrap_or(Finite::ZERO)),
            ("hero.min_weight", min_weight),
            ("hero.steepness", steepness),
        ] {
            if value.get() < 0.0 {
                return Err(InvalidFusion::new(key, format!("is {value}; it must be 0 or more")));
            }
        }
        if alpha.get() + beta.get() >= 1.0 {
            let detail = format!(
                "is {alpha}, and `hero.beta` is {beta}; their sum must be below 1, or a wrong reply \
                 could earn more than a right one"
            );
            return Err(InvalidFusion::new("hero.alpha", detail));
        }
        if max_weight < min_weight {
            let detail =
                format!("is {max_weight}; it must be at least `hero.min_weight`, {min_weight}");
            return Err(InvalidFusion::new("hero.max_weight", detail));
        }
        Ok(())
    }

    /// True if every setting is the default.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<(), &'static str> {
        let config: HeroConfig = serde_json::from_str(json).unwrap();
        config.check().map_err(|invalid| invalid.key)
    }

    #[test]
    fn strata_that_overlap_and_weights_out_of_order_are_refused() {
        assert_eq!(read("{}"), Ok(()));
        assert_eq!(read(r#"{"alpha": 0, "beta": 0}"#), Ok(()));
        assert_eq!(read(r#"{"alpha": 0.5, "beta": 0.5}"#), Err("hero.alpha"));
        assert_eq!(read(r#"{"beta": -0.1}"#), Err("hero.beta"));
        assert_eq!(read(r#"{"min_weight": 3}"#), Err("hero.max_weight"));
        assert_eq!(read(r#"{"spread": -1}"#), Err("hero.spread"));
        assert!(serde_json::from_str::<HeroConfig>(r#"{"apha": 1}"#).is_err());
    }
}
