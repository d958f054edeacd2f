//! What files and folders hold, as one value: two are equal if every file's text and every folder's listing is.

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

/// A hash over files' contents and folders' listings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<u8>);

impl Fingerprint {
    /// Reads `files`, some of which may be folders; what cannot be read counts as such.
    pub(crate) fn of(files: &[PathBuf]) -> Self {
        let mut hash = Sha256::new();
        for file in files {
            hash.update(file.as_os_str().as_encoded_bytes());
            if file.is_dir() {
                let mut names: Vec<_> = std::fs::read_dir(file)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.file_name())
                    .collect();
                names.sort();
                for name in names {
                    hash.update(name.as_encoded_bytes());
                    hash.update([0]);
                }
                continue;
            }
            #[expect(clippy::disallowed_methods, reason = "this is reload")]
            match std::fs::read(file) {
                Ok(bytes) => hash.update(Sha256::digest(&bytes)),
                Err(_) => hash.update([1]),
            }
        }
        Self(hash.finalize().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test writes its own files")]
    fn a_file_that_is_replaced_by_the_same_text_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        let files = [folder.path().to_owned(), file.clone()];
        std::fs::write(&file, "one").unwrap();
        let before = Fingerprint::of(&files);
        std::fs::write(folder.path().join("b"), "one").unwrap();
        std::fs::rename(folder.path().join("b"), &file).unwrap();
        assert_eq!(Fingerprint::of(&files), before);
        std::fs::write(&file, "two").unwrap();
        assert_ne!(Fingerprint::of(&files), before);
    }
}
