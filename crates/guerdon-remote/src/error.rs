//! The errors of a source that cannot be built.

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// No address.
    #[error("no address is set\n  help: set `url`, such as `url = \"http://127.0.0.1:9001\"`")]
    NoUrl,
    /// An address that cannot be called.
    #[error("`{url}` {detail}")]
    Url {
        /// The URL; without it if it holds a password.
        url: String,
        /// The fault.
        detail: String,
    },
    /// A key with a value that cannot be used.
    #[error("`{key}` {detail}")]
    Value {
        /// The key.
        key: &'static str,
        /// The fault, and the fix.
        detail: String,
    },
    /// The key or secret cannot be sent in a header.
    #[error("the API key has characters that a header cannot carry")]
    ApiKey,
    /// The HTTP client cannot be made.
    #[error("cannot make the HTTP client: {0}")]
    Client(#[source] reqwest::Error),
}
