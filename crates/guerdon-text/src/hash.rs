//! SHA-256 hashes in lower-case hexadecimal.

use std::fmt::Write as _;
use std::io;

use sha2::{Digest as _, Sha256};

/// `sha256:` followed by the SHA-256 of `bytes`: the form in which versions of rule packs, rubrics
/// and models are reported.
#[must_use]
pub fn content_hash(bytes: impl AsRef<[u8]>) -> String {
    format!("sha256:{}", sha256_hex(bytes))
}

/// The SHA-256 of `bytes`, 64 hexadecimal digits.
#[must_use]
pub fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes.as_ref()))
}

/// The SHA-256 of all that `reader` yields, 64 hexadecimal digits. Reads in blocks of 1 MiB, so a
/// large file is never held in memory whole.
///
/// # Errors
///
/// Returns the first error of `reader` other than an interruption, which is retried.
pub fn sha256_hex_of_reader(mut reader: impl io::Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match reader.read(&mut block) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(read) => hash.update(block.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// `bytes` as lower-case hexadecimal digits, two per byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut digits, byte| {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_hash_of_nothing_is_the_published_one() {
        assert_eq!(sha256_hex(""), EMPTY);
        assert_eq!(content_hash(b""), format!("sha256:{EMPTY}"));
        assert_eq!(sha256_hex_of_reader(io::empty()).unwrap(), EMPTY);
    }

    #[test]
    fn a_reader_and_its_bytes_have_the_same_hash() {
        let bytes = vec![7; (1 << 20) + 3];
        assert_eq!(sha256_hex_of_reader(bytes.as_slice()).unwrap(), sha256_hex(&bytes));
    }
}
