//! The keyed name of the block that holds the judged text. It is stable for a text, so that the
//! same question keeps its key, and its author cannot predict it. The policy can learn neither its
//! own tag nor that of another text.

use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::Rng as _;
use sha2::Sha256;

use guerdon_text::hex;

/// The key.
#[derive(Clone)]
pub(crate) struct Nonce([u8; 32]);

impl Nonce {
    /// One of this process's own. It need not outlive the process: cache keys do not depend on it.
    pub(crate) fn random() -> Self {
        Self(rand::rng().random())
    }

    /// A fixed key, for previews only. Its tags are predictable.
    pub(crate) const fn for_show() -> Self {
        Self([0; 32])
    }

    /// The tag of `text`: `turn-` and 64 bits of HMAC-SHA256 (RFC 2104) in hexadecimal.
    pub(crate) fn tag(&self, text: &str) -> String {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return "turn".to_owned() };
        mac.update(text.as_bytes());
        let hash = hex(&mac.finalize().into_bytes());
        format!("turn-{}", hash.get(..16).unwrap_or_default())
    }
}

impl std::fmt::Debug for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonce(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_depends_on_the_text_and_on_the_key_and_on_nothing_else() {
        let (one, other) = (Nonce::random(), Nonce::random());
        assert_eq!(one.tag("a"), one.tag("a"));
        assert_ne!(one.tag("a"), one.tag("b"));
        assert_ne!(one.tag("a"), other.tag("a"));
        assert_eq!(one.tag("a").len(), "turn-".len() + 16);
        assert!(!format!("{one:?}").contains(&hex(&one.0)));
    }
}
