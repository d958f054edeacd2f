//! The digest of a configuration: one hash of everything that shapes a reward.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The prefix of a digest.
const PREFIX: &str = "sha256:";

/// The digest of a profile's configuration: `sha256:` and 64 hexadecimal digits.
///
/// Two servers with the same digest give the same rewards, whatever their generations are. Checked
/// on construction and on deserialisation; upper-case digits are read as lower-case ones.
///
/// ```
/// use guerdon_types::ConfigDigest;
///
/// let digest = ConfigDigest::of(b"{}");
/// assert_eq!(digest.as_str().parse::<ConfigDigest>()?, digest);
/// assert!("sha256:123".parse::<ConfigDigest>().is_err());
/// # Ok::<(), guerdon_types::InvalidDigest>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^sha256:[0-9a-fA-F]{64}$"))]
#[serde(try_from = "String", into = "String")]
pub struct ConfigDigest(String);

/// A text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a digest, which is `sha256:` and 64 hexadecimal digits", guerdon_text::quote(.0))]
pub struct InvalidDigest(String);

impl ConfigDigest {
    /// The digest of a canonical text.
    #[must_use]
    pub fn of(canonical: impl AsRef<[u8]>) -> Self {
        Self(guerdon_text::content_hash(canonical))
    }

    /// The digest as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConfigDigest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        match text.strip_prefix(PREFIX) {
            Some(digits)
                if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
            {
                Ok(Self(text.to_ascii_lowercase()))
            }
            // Cut here, because the error may be kept while the text is long.
            _ => Err(InvalidDigest(guerdon_text::cut(text, 80).into_owned())),
        }
    }
}

impl TryFrom<String> for ConfigDigest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        text.parse()
    }
}

impl From<ConfigDigest> for String {
    fn from(digest: ConfigDigest) -> Self {
        digest.0
    }
}

impl fmt::Display for ConfigDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_sha256_is_a_digest() {
        let good = ConfigDigest::of("a");
        assert_eq!(
            good.as_str().to_uppercase().replace("SHA256", "sha256").parse(),
            Ok(good.clone())
        );
        let digits = &good.as_str()["sha256:".len()..];
        for bad in [
            String::new(),
            "sha256:".to_owned(),
            digits.to_owned(),
            format!("sha256:{}", &digits[1..]),
            format!("sha256:{digits}0"),
            format!("sha512:{digits}"),
            format!("sha256:g{}", &digits[1..]),
            format!(" sha256:{digits}"),
        ] {
            let error = bad.parse::<ConfigDigest>().unwrap_err().to_string();
            assert!(error.contains("64 hexadecimal digits"), "{error}");
        }
        let long = "x".repeat(1 << 20).parse::<ConfigDigest>().unwrap_err();
        assert!(long.to_string().len() < 400);
    }
}
