//! The verdict of the fusion on a turn.

use serde::{Deserialize, Serialize};

use crate::Vocabulary;

/// The verdict of a fusion on a turn: of `hero`, or of `screen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// `hero`: no veto fired, and the points reach `hero.pass` if it is set.
    Right,
    /// `hero`: a veto fired, or the points are below `hero.pass`.
    Wrong,
    /// `screen`: a veto fired, and the rollout leaves its group.
    Screened,
}

impl Vocabulary for Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
            Self::Screened => "screened",
        }
    }
}
