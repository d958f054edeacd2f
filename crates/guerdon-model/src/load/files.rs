//! The files of a model: reading, hashing, and comparison with the manifest's hashes.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The first line of a pointer of Git LFS, up to its version.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// A SHA-256 in lower-case hexadecimal. A leading `sha256:` is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Sha256Hex(String);

impl Sha256Hex {
    /// The 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(guerdon_text::sha256_hex(bytes))
    }
}

impl TryFrom<String> for Sha256Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix("sha256:").unwrap_or(&text).to_ascii_lowercase();
        if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(digits))
        } else {
            Err(format!("`{text}` is not a SHA-256 in hexadecimal, as `sha256sum` prints it"))
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a model's files are configuration: they are read when it is loaded"
)]
pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| Error::File { path: path.to_owned(), source })?;
    refuse_pointer(path, text.as_bytes())?;
    Ok(text)
}

/// Refuses the content of a pointer of Git LFS. A clone without Git LFS has pointers in place of
/// large files. `content` is the file or its beginning.
pub(crate) fn refuse_pointer(path: &Path, content: &[u8]) -> Result<(), Error> {
    if content.starts_with(LFS_POINTER) {
        return Err(Error::LfsPointer { path: path.to_owned() });
    }
    Ok(())
}

pub(crate) fn size(path: &Path) -> Result<u64, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    path.metadata().map(|metadata| metadata.len()).map_err(failed)
}

pub(crate) fn verify(path: &Path, expected: &Sha256Hex) -> Result<(), Error> {
    let found = sha256(path)?;
    if found == *expected {
        return Ok(());
    }
    Err(Error::Hash { path: path.to_owned(), expected: expected.0.clone(), found: found.0 })
}

/// Hashes a file in blocks, so that a large model is never in memory twice.
pub(crate) fn sha256(path: &Path) -> Result<Sha256Hex, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut start = Vec::with_capacity(LFS_POINTER.len());
    file.by_ref().take(LFS_POINTER.len() as u64).read_to_end(&mut start).map_err(failed)?;
    refuse_pointer(path, &start)?;
    let whole = start.as_slice().chain(file);
    guerdon_text::sha256_hex_of_reader(whole).map(Sha256Hex).map_err(failed)
}
