//! A rubric that comes with a rollout: criteria that a judge answers about the reply.

mod check;
mod needs;

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use check::{CheckedCriterion, CheckedForm, CheckedRubric};

use crate::{Finite, Vocabulary};

/// The name of the rubric of a rollout where judge prompts are named: in criteria, components and
/// abstentions. No prompt file can have this name.
pub const ROLLOUT_RUBRIC: &str = "rollout.rubric";

/// The id of the entry that keeps the share of a rubric with weights at 0 or above.
pub const RUBRIC_CLIP: &str = "clip";

/// One criterion of the rubric of a rollout. All criteria of a rubric have a `weight`, or all have
/// `levels`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RubricCriterion {
    /// The name of the criterion in results: 1 to 64 of `a-z`, `A-Z`, `0-9`, `_` and `-`. Default:
    /// `c1` for the first criterion, `c2` for the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A statement about the reply that is true or not. With `levels`, the subject of the levels.
    pub text: String,
    /// Effect on the points. Default: `bonus`, or `deduct` if the weight or the points of a level
    /// are negative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<RubricKind>,
    /// The weight of the criterion if its text is true of the reply; negative for a fault. The rubric
    /// is worth the sum of the weights that are met, divided by the sum of the positive weights, and
    /// at least 0. Default without `levels`: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Finite>,
    /// The levels, of which the judge chooses one: 2 to 10. The rubric is worth the sum of their
    /// points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<RubricLevel>,
    /// Set for a bonus without which the rubric's other bonuses do not count. Dropout never drops it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub essential: bool,
    /// Ids of bonuses that this criterion builds on: it counts only as far as they are met.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
}

/// One level of a criterion.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RubricLevel {
    /// The name of the level: 1 to 64 of `a-z`, `A-Z`, `0-9`, `_` and `-`.
    pub name: String,
    /// The points; the judge does not see them. One level has 0.
    pub points: Finite,
    /// The observation for which the judge chooses this level. Default: the name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub anchor: String,
    /// Set if the level fires the veto of a criterion of the kind `veto`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fires: bool,
}

/// Effect of a criterion on the points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RubricKind {
    /// Gives points.
    Bonus,
    /// Takes points away.
    Deduct,
    /// Takes points away and withholds the rubric's bonuses.
    Gate,
    /// Takes points away and forbids a reward above the floor, where the fusion is gated.
    Veto,
}

impl Vocabulary for RubricKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bonus => "bonus",
            Self::Deduct => "deduct",
            Self::Gate => "gate",
            Self::Veto => "veto",
        }
    }
}

impl RubricCriterion {
    /// A bonus with a weight of 1.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The id, or the name of the criterion at `place`.
    #[must_use]
    pub fn name(&self, place: usize) -> String {
        self.id.clone().unwrap_or_else(|| format!("c{}", place + 1))
    }

    /// The size of its texts, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let levels = self.levels.iter().map(|level| level.name.len() + level.anchor.len());
        let needs = self.needs.iter().map(String::len);
        self.id.as_ref().map_or(0, String::len)
            + self.text.len()
            + levels.sum::<usize>()
            + needs.sum::<usize>()
    }

    /// The approximate size in memory, in bytes.
    pub(crate) fn weight_in_memory(&self) -> usize {
        let places =
            self.levels.len() * size_of::<RubricLevel>() + self.needs.len() * size_of::<String>();
        size_of::<Self>() + places + self.bytes()
    }
}

/// The rubric of a rollout; empty if there is none. A copy shares the criteria, since the samples of a
/// prompt have the same ones.
///
/// ```
/// use guerdon_types::{RolloutRubric, RubricCriterion};
///
/// let rubric = RolloutRubric::from(vec![RubricCriterion::new("It names the price.")]);
/// assert_eq!(rubric.len(), 1);
/// assert!(RolloutRubric::default().is_empty());
/// ```
#[derive(Debug, Clone, Default)]
pub struct RolloutRubric(Option<Arc<[RubricCriterion]>>);

impl Deref for RolloutRubric {
    type Target = [RubricCriterion];

    fn deref(&self) -> &[RubricCriterion] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl From<Vec<RubricCriterion>> for RolloutRubric {
    fn from(criteria: Vec<RubricCriterion>) -> Self {
        Self((!criteria.is_empty()).then(|| criteria.into()))
    }
}

impl PartialEq for RolloutRubric {
    fn eq(&self, other: &Self) -> bool {
        let is_shared = match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        };
        is_shared || **self == **other
    }
}

impl Serialize for RolloutRubric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for RolloutRubric {
    /// Reads a list of criteria, or `null` as an empty one.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let criteria = Option::<Vec<RubricCriterion>>::deserialize(deserializer)?;
        Ok(Self::from(criteria.unwrap_or_default()))
    }
}

impl RolloutRubric {
    /// The size of the texts, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter().map(RubricCriterion::bytes).sum()
    }
}
