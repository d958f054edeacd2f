//! Messages on a stream: a header with the length, then JSON.

use std::io::{self, BufRead, Read as _};

use lsp_server::Message;

/// The largest message, in bytes. A document of some megabytes fits, escaped.
const MAX_MESSAGE: usize = 64 << 20;

/// The longest line of a header, in bytes.
const MAX_HEADER_LINE: u64 = 4_096;

/// A message of the client, or a body that is none.
#[derive(Debug)]
pub(crate) enum Incoming {
    Message(Message),
    /// A body that is not a message, with the reason. The stream is still in step.
    Malformed(String),
}

/// Reads the next message; `None` at the end of the stream.
///
/// # Errors
/// An error of the stream, or a header that does not say where the message ends.
pub(crate) fn read(stream: &mut impl BufRead) -> io::Result<Option<Incoming>> {
    let mut length = None;
    loop {
        let mut line = Vec::new();
        if stream.by_ref().take(MAX_HEADER_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            return Err(invalid("a header line of the client is too long or is cut off"));
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.trim().eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let length = length.ok_or_else(|| invalid("a message of the client has no Content-Length"))?;
    if length > MAX_MESSAGE {
        let limit = u64::try_from(length).unwrap_or(u64::MAX);
        let skipped = io::copy(&mut stream.by_ref().take(limit), &mut io::sink())?;
        if skipped < limit {
            return Ok(None);
        }
        let message = format!("a message has {length} bytes; at most {MAX_MESSAGE} are read");
        return Ok(Some(Incoming::Malformed(message)));
    }
    let mut body = vec![0; length];
    match stream.read_exact(&mut body) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    Ok(Some(match serde_json::from_slice(&body) {
        Ok(message) => Incoming::Message(message),
        Err(error) => Incoming::Malformed(format!("a message is not valid JSON-RPC: {error}")),
    }))
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<String> {
        let mut stream = bytes;
        let mut seen = Vec::new();
        loop {
            match read(&mut stream) {
                Ok(None) => return seen,
                Ok(Some(Incoming::Message(Message::Notification(n)))) => seen.push(n.method),
                Ok(Some(Incoming::Message(_))) => seen.push("other".to_owned()),
                Ok(Some(Incoming::Malformed(_))) => seen.push("malformed".to_owned()),
                Err(_) => {
                    seen.push("error".to_owned());
                    return seen;
                }
            }
        }
    }

    fn framed(body: &str) -> String {
        format!("content-length:{}\r\nContent-Type: x\r\n\r\n{body}", body.len())
    }

    #[test]
    fn a_malformed_body_does_not_end_the_stream() {
        let good = framed(r#"{"jsonrpc":"2.0","method":"exit"}"#);
        for bad in ["{", "[]", "3", "\u{0}", ""] {
            let stream = format!("{}{good}", framed(bad));
            assert_eq!(all(stream.as_bytes()), ["malformed", "exit"], "{bad:?}");
        }
    }

    #[test]
    fn a_message_that_is_too_large_is_skipped() {
        let large = "x".repeat(MAX_MESSAGE + 1);
        let stream = framed(&large) + &framed(r#"{"method":"exit"}"#);
        assert_eq!(all(stream.as_bytes()), ["malformed", "exit"]);
    }

    #[test]
    fn a_stream_that_ends_early_or_has_no_length_ends_the_reading() {
        assert!(all(b"").is_empty());
        assert!(all(b"Content-Length: 20\r\n\r\n{").is_empty());
        assert!(all(b"Content-Length: 18446744073709551615\r\n\r\n{").is_empty());
        assert_eq!(all(b"Content-Type: x\r\n\r\n{}"), ["error"]);
        assert_eq!(all(b"Content-Length: -1\r\n\r\n{}"), ["error"]);
        assert_eq!(all(&[b'x'; 10_000]), ["error"]);
    }
}
