//! Forms that a browser sends.

use axum::body::Body;
use guerdon_types::ProblemCode;

use crate::http::problem::ApiError;

/// The fields of a form.
#[derive(Debug)]
pub(super) struct Form(Vec<u8>);

impl Form {
    /// Reads a form of at most `max` bytes.
    ///
    /// # Errors
    /// `too_large`.
    pub(super) async fn read(body: Body, max: usize) -> Result<Self, ApiError> {
        let read = axum::body::to_bytes(body, max).await;
        let bytes =
            read.map_err(|_| ApiError::new(ProblemCode::TooLarge, "the form is too long"))?;
        Ok(Self(bytes.to_vec()))
    }

    /// The value of a field, empty if there is none.
    pub(super) fn field(&self, name: &str) -> String {
        field(&self.0, name).unwrap_or_default()
    }
}

/// The value of a key, form-encoded.
pub(super) fn field(form: &[u8], name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(form);
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A random value of 148 bits, as text.
pub(super) fn random() -> String {
    let (one, other) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
    format!("{}{}", one.simple(), other.simple())
}
