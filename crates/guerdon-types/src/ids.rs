//! Newtypes for names, so that the compiler keeps them apart.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(String);

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
    /// The caller's name for a rollout; echoed. Defaults to its index in the request.
    RolloutId
);
name!(
    /// The samples of one prompt share a group. Group-relative advantages compare rollouts within
    /// it.
    GroupId
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
