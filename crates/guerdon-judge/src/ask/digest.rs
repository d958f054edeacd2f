//! Hashes: of texts, as they are written, and of parts, as they are compared.

use sha2::{Digest as _, Sha256};

/// SHA-256.
pub(crate) type Digest = [u8; 32];

/// A hash of several parts. The length of each part is hashed before it, so that ("ab", "c")
/// differs from ("a", "bc"). A clone continues from its origin, so that a common beginning is
/// hashed once.
#[derive(Debug, Clone, Default)]
pub(crate) struct PartsHasher(Sha256);

impl PartsHasher {
    pub(crate) fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    pub(crate) fn finish(self) -> Digest {
        self.0.finalize().into()
    }
}

/// JSON with text keys always has a text; an unlikely failure must not make two values the same, so
/// it says itself.
pub(crate) fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|error| error.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&str]) -> Digest {
        let mut hash = PartsHasher::default();
        parts.iter().for_each(|part| hash.add(part.as_bytes()));
        hash.finish()
    }

    #[test]
    fn parts_are_told_apart_and_a_clone_goes_on() {
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a"]), of(&["a", ""]));
        let mut begun = PartsHasher::default();
        begun.add(b"a");
        let mut other = begun.clone();
        begun.add(b"b");
        other.add(b"c");
        assert_eq!((begun.finish(), other.finish()), (of(&["a", "b"]), of(&["a", "c"])));
    }
}
