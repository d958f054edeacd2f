//! Newtypes for names, so that the compiler keeps them apart.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident $(, $deserialize:literal)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name($(#[serde(deserialize_with = $deserialize)])? String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<S: Into<String>> From<S> for $name {
            fn from(text: S) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The caller's name for a rollout; echoed. Defaults to its index in the request. An integer is
    /// read as its digits.
    RolloutId,
    "text_or_integer"
);
name!(
    /// The samples of one prompt share a group. Group-relative advantages compare rollouts within
    /// it. An integer is read as its digits.
    GroupId,
    "text_or_integer"
);
name!(
    /// A reward source: `rm`, `judge`, `rules`, or the name of an external source.
    SourceId
);
name!(
    /// A named set of reward model, judge prompts, rule packs and fusion.
    ProfileName
);
name!(
    /// The id of a request, in the reply, in the log and in every problem body.
    RequestId
);

/// Deserializes a string, or an integer as its digits: data sets number their rows.
fn text_or_integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(NameVisitor)
}

/// As [`text_or_integer`], or `null`.
pub(crate) fn optional_text_or_integer<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    struct Name(#[serde(deserialize_with = "text_or_integer")] String);
    Ok(Option::<Name>::deserialize(deserializer)?.map(|Name(name)| name))
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an integer")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E>(self, text: String) -> Result<String, E> {
        Ok(text)
    }

    fn visit_u64<E>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_i64<E>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

impl SourceId {
    /// The preference reward model's usual name.
    #[must_use]
    pub fn rm() -> Self {
        Self::from("rm")
    }

    /// The LLM judge's usual name.
    #[must_use]
    pub fn judge() -> Self {
        Self::from("judge")
    }

    /// The rule packs' usual name.
    #[must_use]
    pub fn rules() -> Self {
        Self::from("rules")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_their_digits_and_names_are_written_as_strings() {
        for (json, name) in [
            ("17", "17"),
            ("-3", "-3"),
            ("18446744073709551615", "18446744073709551615"),
            ("\"a\"", "a"),
        ] {
            let id: RolloutId = serde_json::from_str(json).unwrap();
            assert_eq!(id.as_str(), name);
            assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<GroupId>(json).unwrap().as_str(), name);
        }
        for refused in ["1.5", "1e3", "null", "true", "[1]", "18446744073709551616"] {
            assert!(serde_json::from_str::<RolloutId>(refused).is_err(), "{refused}");
        }
    }
}
