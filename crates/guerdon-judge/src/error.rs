//! Errors of this crate. A question that fails is not an error: it abstains.

/// An endpoint that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL is none that can be called.
    #[error("judge url `{url}` {detail}")]
    Url {
        /// As configured.
        url: String,
        /// The problem.
        detail: String,
    },
    /// A value breaks its law.
    #[error("judge `{key}` {detail}")]
    Value {
        /// The key.
        key: &'static str,
        /// The problem, and a value to use instead.
        detail: String,
    },
    /// `extra_body` would replace a field that the question is made of.
    #[error("judge `extra_body.{key}` is set by guerdon itself; {instead}")]
    ExtraBody {
        /// The field.
        key: String,
        /// The setting to use instead.
        instead: &'static str,
    },
    /// The file of answers cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The API key is invalid in a header.
    #[error(
        "the judge's API key holds a line break or another character that is invalid in a header"
    )]
    ApiKey,
    /// The HTTP client could not be built.
    #[error("the judge's HTTP client could not be built")]
    Client(#[source] reqwest::Error),
}

/// A store that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the judge's cache {path}: {detail}")]
pub struct StoreError {
    pub(crate) path: String,
    pub(crate) detail: String,
}
