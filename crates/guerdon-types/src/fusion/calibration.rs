//! The calibration of a reward model's raw output.

use serde::{Deserialize, Serialize};

use super::InvalidFusion;
use crate::Finite;

/// The function from the RM's raw output to the score that enters the fusion. `repo` scales patches
/// by the size of this score, so its zero matters: a Bradley-Terry model is only defined up to a
/// constant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "kind", from = "WrittenCalibration")]
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

/// A calibration as it is written. serde ignores further keys of a variant without any, so `raw` is
/// an empty table here.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
enum WrittenCalibration {
    Raw {},
    Centred { mean: Finite },
    Standardised { mean: Finite, std: Finite },
}

impl From<WrittenCalibration> for Calibration {
    fn from(written: WrittenCalibration) -> Self {
        match written {
            WrittenCalibration::Raw {} => Self::Raw,
            WrittenCalibration::Centred { mean } => Self::Centred { mean },
            WrittenCalibration::Standardised { mean, std } => Self::Standardised { mean, std },
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
            Self::Standardised { std, .. } if std.get() <= 0.0 => {
                let detail = format!("is {std}; it must be positive");
                Err(InvalidFusion::new("calibration.std", detail))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_a_kind_does_not_have_is_refused() {
        let keys = ["mean", "std", "meen"];
        for (kind, own) in [("raw", 0), ("centred", 1), ("standardised", 2)] {
            let written = |keys: &[&str]| {
                let fields: String = keys.iter().map(|key| format!(r#", "{key}": 1"#)).collect();
                serde_json::from_str::<Calibration>(&format!(r#"{{"kind": "{kind}"{fields}}}"#))
            };
            assert!(written(&keys[..own]).is_ok(), "{kind}");
            for other in &keys[own..] {
                let mut more = keys[..own].to_vec();
                more.push(other);
                let error = written(&more).unwrap_err().to_string();
                assert!(error.contains(other), "{kind}: {error}");
            }
        }
    }
}
