//! The combination of an ensemble's values into one.

use serde::{Deserialize, Serialize};

use super::InvalidFusion;
use crate::{Finite, Vocabulary};

/// The function from the values of an ensemble's members to the ensemble's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CombineMethod {
    /// The mean.
    #[default]
    Mean,
    /// The middle value; the mean of both middle ones if their number is even.
    Median,
    /// The lowest value.
    Min,
    /// The lower confidence bound: the mean less `k` standard deviations.
    Lcb,
    /// The soft minimum `-beta log mean exp(-value / beta)`, between the lowest value and the mean.
    SoftMin,
}

/// The combination of an ensemble's values, with its constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Combine {
    /// The function.
    pub method: CombineMethod,
    /// `lcb`: the number of standard deviations that are subtracted. 0 or more.
    pub k: Finite,
    /// `soft_min`: the temperature, in units of the values. Positive; near 0 it gives the lowest
    /// value, far above the differences of the values it gives their mean.
    pub beta: Finite,
}

impl Default for Combine {
    fn default() -> Self {
        Self { method: CombineMethod::Mean, k: Finite::ONE, beta: Finite::ONE }
    }
}

impl Combine {
    /// Checks that `k` is not negative and `beta` is positive.
    ///
    /// # Errors
    /// [`InvalidFusion`] naming the key.
    pub fn check(&self) -> Result<(), InvalidFusion> {
        let Self { method: _, k, beta } = *self;
        if k.get() < 0.0 {
            let detail = format!("is {k}; it must be 0 or more, or disagreement would be rewarded");
            return Err(InvalidFusion::new("k", detail));
        }
        if beta.get() <= 0.0 {
            return Err(InvalidFusion::new("beta", format!("is {beta}; it must be positive")));
        }
        Ok(())
    }
}

impl Vocabulary for CombineMethod {
    fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Median => "median",
            Self::Min => "min",
            Self::Lcb => "lcb",
            Self::SoftMin => "soft_min",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_json_are_those_of_the_vocabulary() {
        for method in [
            CombineMethod::Mean,
            CombineMethod::Median,
            CombineMethod::Min,
            CombineMethod::Lcb,
            CombineMethod::SoftMin,
        ] {
            assert_eq!(serde_json::to_value(method).unwrap(), method.as_str());
        }
    }

    #[test]
    fn negative_k_and_beta_of_zero_are_refused() {
        let check = |json: &str| {
            let combine: Combine = serde_json::from_str(json).unwrap();
            combine.check().map_err(|invalid| invalid.key)
        };
        assert_eq!(check(r#"{"method": "lcb", "k": 0}"#), Ok(()));
        assert_eq!(check(r#"{"method": "lcb", "k": -1}"#), Err("k"));
        assert_eq!(check(r#"{"method": "soft_min", "beta": 0}"#), Err("beta"));
    }
}
