//! Tolerant reading of replies: words and keys that a later server adds must not break a client.
//!
//! A server reads requests and configuration strictly, so that a misspelt word is an error. A
//! client reads replies tolerantly: [`Word`] keeps an unknown word as text, and [`known_keys`]
//! ignores unknown keys of a type whose own deserialisation is strict.

use std::fmt;
use std::hash::Hash;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

/// A word of a reply, from a set that later servers may extend.
///
/// ```
/// use guerdon_types::{AbstainWhy, Word};
///
/// let known: Word<AbstainWhy> = serde_json::from_str(r#""deadline""#)?;
/// assert_eq!(known, AbstainWhy::Deadline);
/// let later: Word<AbstainWhy> = serde_json::from_str(r#""no_budget""#)?;
/// assert_eq!((later.known(), later.as_str()), (None, "no_budget"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Word<T> {
    /// A word that this version knows.
    Known(T),
    /// A word that this version does not know, as it was sent.
    Other(String),
}

/// A set of words that are written to JSON as text.
pub trait Vocabulary: Copy {
    /// The word as it is written in JSON.
    fn as_str(self) -> &'static str;
}

impl<T: Vocabulary> Word<T> {
    /// The word as it is written in JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(word) => word.as_str(),
            Self::Other(text) => text,
        }
    }

    /// The word, if this version knows it.
    #[must_use]
    pub const fn known(&self) -> Option<T> {
        match self {
            Self::Known(word) => Some(*word),
            Self::Other(_) => None,
        }
    }
}

impl<T> From<T> for Word<T> {
    fn from(word: T) -> Self {
        Self::Known(word)
    }
}

impl<T: PartialEq> PartialEq<T> for Word<T> {
    fn eq(&self, other: &T) -> bool {
        matches!(self, Self::Known(word) if word == other)
    }
}

impl<T: Vocabulary> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a `T` whose own deserialisation refuses unknown keys, and ignores them. Missing keys have
/// the values of `T::default()`.
///
/// # Errors
/// A known key has a value of the wrong kind.
pub(crate) fn known_keys<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Serialize + DeserializeOwned,
    D: Deserializer<'de>,
{
    use serde::de::Error as _;
    let mut object = serde_json::Map::deserialize(deserializer)?;
    let defaults = serde_json::to_value(T::default()).map_err(D::Error::custom)?;
    object.retain(|key, _| defaults.get(key).is_some());
    serde_json::from_value(object.into()).map_err(D::Error::custom)
}
