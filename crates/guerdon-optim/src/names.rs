//! The `snake_case` names under which the crate's enums appear in requests and config files.

/// Implements `ALL`, `NAMES`, `name`, `Display` and `FromStr` for an enum whose variants have fixed
/// names.
macro_rules! named {
    ($type:ident, $kind:literal, { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every variant, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name of every variant, in declaration order.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The name used in requests and config files.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::error::OptimError;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    _ => Err($crate::error::OptimError::UnknownName {
                        kind: $kind,
                        name: name.to_owned(),
                        known: Self::NAMES,
                    }),
                }
            }
        }
    };
}

pub(crate) use named;
