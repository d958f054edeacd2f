//! The key under which the answer about a turn is kept.

use std::fmt;

use guerdon_text::hex;
use sha2::{Digest as _, Sha256};

/// The hash of everything that an answer may depend on: the messages up to the turn, the context
/// and the tools, or the text made of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TurnKey(pub(crate) [u8; 32]);

impl TurnKey {
    /// The key of a text, or of a pair of texts.
    pub(crate) fn of_texts(texts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for text in texts {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        Self(hash.finalize().into())
    }

    /// The key as 64 hexadecimal digits.
    pub(crate) fn to_hex(self) -> String {
        hex(&self.0)
    }
}

impl fmt::Debug for TurnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}
