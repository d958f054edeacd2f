//! An invalid setting of the fusion.

use crate::{Invalid, ProblemCode};

/// An invalid fusion configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` {detail}")]
pub struct InvalidFusion {
    /// The key.
    pub key: &'static str,
    /// The fault of its value.
    pub detail: String,
}

impl InvalidFusion {
    /// The fault `detail` of the value of `key`.
    #[must_use]
    pub const fn new(key: &'static str, detail: String) -> Self {
        Self { key, detail }
    }
}

impl From<InvalidFusion> for Invalid {
    fn from(invalid: InvalidFusion) -> Self {
        let pointer = format!("/fusion/{}", invalid.key.replace('.', "/"));
        Self::new(ProblemCode::InvalidRequest, pointer, invalid.to_string())
    }
}
