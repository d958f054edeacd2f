//! Errors of this crate. A failed question is not an error but an abstention.

/// An endpoint cannot be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL is not usable.
    #[error("judge url `{url}` {detail}")]
    Url {
        /// The configured URL.
        url: String,
        /// The problem.
        detail: String,
    },
    /// A value is out of range or contradicts another value.
    #[error("judge `{key}` {detail}")]
    Value {
        /// The key.
        key: &'static str,
        /// The problem, and a value to use instead.
        detail: String,
    },
    /// `extra_body` would replace a field that guerdon sets.
    #[error("judge `extra_body.{key}` is set by guerdon itself; {instead}")]
    ExtraBody {
        /// The field.
        key: String,
        /// The setting to use instead.
        instead: &'static str,
    },
    /// The file of cached answers cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The API key has a character that is invalid in a header.
    #[error(
        "the judge's API key contains a line break or another character that is invalid in a header"
    )]
    ApiKey,
    /// The HTTP client could not be built.
    #[error("the judge's HTTP client could not be built")]
    Client(#[source] reqwest::Error),
}

/// An operation on the file of cached answers failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the judge's cache {path}: {detail}")]
pub struct StoreError {
    pub(crate) path: String,
    pub(crate) detail: String,
}
