//! A finite number, as every reward is. TOML and Rust can write `nan`, so the type refuses it on
//! input.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A finite `f64`: neither NaN nor infinite. Checked on construction and on deserialisation.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(try_from = "f64", into = "f64")]
pub struct Finite(f64);

/// The number is NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("`{0}` is not a finite number")]
pub struct NotFinite(f64);

impl Finite {
    /// Zero.
    pub const ZERO: Self = Self(0.0);
    /// One.
    pub const ONE: Self = Self(1.0);

    /// Checks `value`.
    ///
    /// # Errors
    /// [`NotFinite`] if `value` is NaN or infinite.
    pub const fn new(value: f64) -> Result<Self, NotFinite> {
        if value.is_finite() { Ok(Self(value)) } else { Err(NotFinite(value)) }
    }

    /// A number that is known when this crate is compiled.
    pub(crate) const fn constant(value: f64) -> Self {
        assert!(value.is_finite(), "a constant is finite");
        Self(value)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Finite {
    type Error = NotFinite;
    fn try_from(value: f64) -> Result<Self, NotFinite> {
        Self::new(value)
    }
}

impl From<Finite> for f64 {
    fn from(value: Finite) -> Self {
        value.0
    }
}

impl From<i32> for Finite {
    fn from(value: i32) -> Self {
        Self(f64::from(value))
    }
}

impl fmt::Display for Finite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_and_infinity_are_refused() {
        assert!(Finite::new(f64::NAN).is_err());
        assert!(Finite::new(f64::NEG_INFINITY).is_err());
        assert!(serde_json::from_str::<Finite>("1e999").is_err());
        assert_eq!(
            serde_json::from_str::<Finite>("-1.5").unwrap().get().to_bits(),
            (-1.5f64).to_bits()
        );
    }
}
