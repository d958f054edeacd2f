//! The lines of an input, each of bounded length.

use std::io::{self, BufRead};

use sha2::{Digest as _, Sha256};

/// Longest line, in bytes. A server refuses larger bodies by default.
pub(crate) const LINE_BYTES: usize = 64 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One line without its end and without a byte order mark.
#[derive(Debug)]
pub(super) struct RawLine {
    /// The number, from 1.
    pub(super) number: usize,
    /// The content, cut if it is too long.
    pub(super) bytes: Vec<u8>,
    /// Set if the line is longer than allowed.
    pub(super) is_cut: bool,
}

impl RawLine {
    pub(super) fn is_blank(&self) -> bool {
        !self.is_cut && self.bytes.trim_ascii().is_empty()
    }
}

/// Reads lines and hashes everything that it reads.
pub(super) struct BoundedLines<R> {
    input: R,
    number: usize,
    hash: Sha256,
}

impl<R: BufRead> BoundedLines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, number: 0, hash: Sha256::new() }
    }

    /// The next line, of which at most `most` bytes are kept. `None` at the end.
    pub(super) fn next_line(&mut self, most: usize) -> io::Result<Option<RawLine>> {
        let mut line = RawLine { number: self.number + 1, bytes: Vec::new(), is_cut: false };
        let mut has_content = false;
        loop {
            let buffer = match self.input.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                break;
            }
            has_content = true;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let content = &buffer[..end.unwrap_or(buffer.len())];
            let room = most.saturating_sub(line.bytes.len());
            line.is_cut |= content.len() > room;
            line.bytes.extend_from_slice(&content[..content.len().min(room)]);
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.hash.update(&buffer[..used]);
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        if !has_content {
            return Ok(None);
        }
        self.number += 1;
        // A file that was joined from several may have a mark in the middle, too.
        if line.bytes.starts_with(BYTE_ORDER_MARK) {
            line.bytes.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(Some(line))
    }

    /// The hash of everything read so far.
    pub(super) fn sha256(self) -> String {
        guerdon_text::hex(&self.hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn long_lines_are_cut_and_every_byte_is_hashed() {
        let text = "\u{feff}ab\r\n\n\u{feff}cdefghijk\nlm";
        for capacity in [1, 2, 3, 64] {
            let input = BufReader::with_capacity(capacity, text.as_bytes());
            let mut lines = BoundedLines::new(input);
            let mut found = Vec::new();
            while let Some(line) = lines.next_line(8).unwrap() {
                let blank = line.is_blank();
                found.push((
                    line.number,
                    String::from_utf8(line.bytes).unwrap(),
                    line.is_cut,
                    blank,
                ));
            }
            let line = |number, text: &str, cut, blank| (number, text.to_owned(), cut, blank);
            let expected = [
                line(1, "ab\r", false, false),
                line(2, "", false, true),
                line(3, "cdefg", true, false),
                line(4, "lm", false, false),
            ];
            assert_eq!(found, expected);
            assert_eq!(lines.sha256(), guerdon_text::sha256_hex(text));
        }
    }
}
