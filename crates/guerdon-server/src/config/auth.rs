//! Section `[auth]`: tokens and their scopes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Tokens of clients. Without tokens every client is served, and the server binds loopback only.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Bearer tokens.
    pub tokens: Vec<TokenConfig>,
    /// Set to serve without tokens on an address that other machines can reach.
    pub insecure: bool,
}

/// One bearer token. The configuration names the environment variable or the file that holds it,
/// never the token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Name, for the log.
    pub name: String,
    /// The environment variable that holds it. Exactly one of `env` and `file` is set.
    pub env: Option<String>,
    /// The file that holds it.
    pub file: Option<PathBuf>,
    /// Permissions of the token.
    pub scopes: Vec<Scope>,
}

/// Permission of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything except the admin routes: scoring, and all that `read` and `check` open.
    Score,
    /// Reading: info, metrics, the rule packs in use, and the inspector's pages.
    Read,
    /// `POST /v1/rules/check` alone.
    Check,
    /// Reload, rollback and promotion, and all that `read` opens.
    Admin,
}

impl Scope {
    /// The name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Read => "read",
            Self::Check => "check",
            Self::Admin => "admin",
        }
    }

    /// Returns whether a token with this scope may use what `required` opens.
    #[must_use]
    pub const fn covers(self, required: Self) -> bool {
        match required {
            Self::Score => matches!(self, Self::Score),
            Self::Check => matches!(self, Self::Check | Self::Score),
            Self::Read => matches!(self, Self::Read | Self::Score | Self::Admin),
            Self::Admin => matches!(self, Self::Admin),
        }
    }
}
