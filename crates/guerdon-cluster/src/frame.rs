//! Stored values: one byte of version, the value compressed by zstd, and eight bytes of checksum.
//!
//! A value that was damaged, cut, or written by another version is none.

use std::io::Read as _;

use sha2::{Digest as _, Sha256};

const VERSION: u8 = 1;
const CHECKSUM: usize = 8;
const LEVEL: i32 = 3;

/// The largest value that is read, in bytes.
pub(crate) const MAX_VALUE: usize = 16 << 20;

fn checksum(content: &[u8]) -> [u8; CHECKSUM] {
    let digest = Sha256::digest(content);
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&digest[..CHECKSUM]);
    sum
}

/// The frame of `value`.
///
/// # Errors
/// The compressor failed, or the value is too large.
pub(crate) fn write(value: &[u8]) -> std::io::Result<Vec<u8>> {
    if value.len() > MAX_VALUE {
        let text = format!("the value has {} bytes, more than {MAX_VALUE}", value.len());
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, text));
    }
    let mut frame = vec![VERSION];
    frame.extend(zstd::encode_all(value, LEVEL)?);
    let sum = checksum(&frame);
    frame.extend(sum);
    Ok(frame)
}

/// The value of a frame; `None` for a frame that is damaged or of another version.
pub(crate) fn read(frame: &[u8]) -> Option<Vec<u8>> {
    let (content, sum) = frame.split_at_checked(frame.len().checked_sub(CHECKSUM)?)?;
    if checksum(content) != *sum {
        return None;
    }
    let (version, packed) = content.split_first()?;
    if *version != VERSION {
        return None;
    }
    let mut value = Vec::new();
    let bound = MAX_VALUE as u64 + 1;
    zstd::Decoder::new(packed).ok()?.take(bound).read_to_end(&mut value).ok()?;
    (value.len() <= MAX_VALUE).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_value_is_read_as_it_was_written(value: Vec<u8>) {
            prop_assert_eq!(read(&write(&value).unwrap()), Some(value));
        }

        #[test]
        fn a_frame_with_another_byte_or_length_is_none(
            value: Vec<u8>,
            place: prop::sample::Index,
            flip in 1_u8..,
        ) {
            let frame = write(&value).unwrap();
            let mut damaged = frame.clone();
            damaged[place.index(frame.len())] ^= flip;
            prop_assert_eq!(read(&damaged), None);
            prop_assert_eq!(read(&frame[..place.index(frame.len())]), None);
        }

        #[test]
        fn any_bytes_are_none(bytes: Vec<u8>) {
            prop_assert_eq!(read(&bytes), None);
        }
    }
}
