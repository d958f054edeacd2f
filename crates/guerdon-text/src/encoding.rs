//! The error of a file that is not UTF-8, with its place and the encoding that it may have.

use std::fmt;

/// The error of bytes that are not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUtf8 {
    /// The text before the first invalid byte.
    pub before: String,
    /// The first invalid byte.
    pub byte: u8,
    /// The encoding that the bytes may have, such as `UTF-16`.
    pub guess: &'static str,
}

/// Decodes the bytes of a file.
///
/// # Errors
/// [`NotUtf8`] with the place of the first invalid byte.
///
/// ```
/// let error = guerdon_text::decode(b"pack: \xb9\xa4".to_vec()).unwrap_err();
/// assert_eq!(error.to_string(), "not UTF-8: byte 0xb9 in line 1, column 7 (perhaps GBK)");
/// ```
pub fn decode(bytes: Vec<u8>) -> Result<String, NotUtf8> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let before = bytes.get(..at).map(String::from_utf8_lossy).unwrap_or_default();
        let zeros = bytes.iter().take(1_000).filter(|byte| **byte == 0).count();
        let guess = match bytes {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16",
            _ if zeros > bytes.len().min(1_000) / 4 => "UTF-16",
            _ => "GBK",
        };
        let byte = bytes.get(at).copied().unwrap_or_default();
        NotUtf8 { before: before.into_owned(), byte, guess }
    })
}

impl fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.before.matches('\n').count() + 1;
        let column = self.before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let Self { byte, guess, .. } = self;
        write!(f, "not UTF-8: byte {byte:#04x} in line {line}, column {column} (perhaps {guess})")
    }
}

impl std::error::Error for NotUtf8 {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_and_the_encoding_are_named() {
        let utf16: Vec<u8> = "pack: a\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked: Vec<u8> = [0xff, 0xfe].into_iter().chain(utf16).collect();
        let error = decode(marked).unwrap_err();
        assert_eq!((error.guess, error.before.as_str(), error.byte), ("UTF-16", "", 0xff));
        // 工单 in GBK.
        let error = decode(b"a\nb: \xb9\xa4\xb5\xa5".to_vec()).unwrap_err();
        assert_eq!(error.to_string(), "not UTF-8: byte 0xb9 in line 2, column 4 (perhaps GBK)");
        assert_eq!(decode("工单".into()).unwrap(), "工单");
    }
}
