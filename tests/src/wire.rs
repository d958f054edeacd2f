//! HTTP/1.1 over a raw socket, for requests that no client library would send. `httparse` reads the
//! replies.

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::WAIT_LIMIT;

/// Most headers of a reply that is read.
const MAX_HEADERS: usize = 64;

/// A request head with `Host` and, for a non-empty body, its length.
#[must_use]
pub fn wire_request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    let given = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    if !given("host") {
        head += "host: 127.0.0.1\r\n";
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !given("content-length") && !given("transfer-encoding") && method != "GET" {
        head += &format!("content-length: {}\r\n", body.len());
    }
    head += "\r\n";
    [head.as_bytes(), body].concat()
}

/// A reply, read whole.
#[derive(Clone, PartialEq, Eq)]
pub struct WireReply {
    /// The status.
    pub status: u16,
    /// The headers, with lower-case names.
    pub headers: Vec<(String, String)>,
    /// The body, without the coding of its transfer.
    pub body: Vec<u8>,
    /// Set if the server sent `100 Continue` first.
    pub continued: bool,
}

impl WireReply {
    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` if it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The code of a problem body; empty for another body.
    #[must_use]
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Prints at most the first kilobytes of a body.
impl fmt::Debug for WireReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.text().chars().take(2_000).collect();
        write!(f, "{} {:?} {text}", self.status, self.headers)
    }
}

/// A connection to a server. Every wait has a limit.
#[derive(Debug)]
pub struct WireConnection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl WireConnection {
    /// Connects.
    ///
    /// # Errors
    /// The connection is refused, or is not made in time.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, WAIT_LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(WAIT_LIMIT))?;
        stream.set_write_timeout(Some(WAIT_LIMIT))?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Sets the limit of each read and write.
    ///
    /// # Errors
    /// The socket is closed.
    pub fn limit(&self, limit: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(limit))?;
        self.stream.set_write_timeout(Some(limit))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The server has closed the connection, or does not read.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Ends the sending side.
    ///
    /// # Errors
    /// The socket is closed.
    pub fn finish_sending(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Reads the next reply.
    ///
    /// # Errors
    /// `UnexpectedEof` if the server closes the connection before the reply is whole;
    /// `InvalidData` if the bytes are not a reply; a time-out.
    pub fn reply(&mut self) -> io::Result<WireReply> {
        let mut continued = false;
        loop {
            let (mut reply, length) = self.head()?;
            if (100..200).contains(&reply.status) {
                continued = true;
                continue;
            }
            reply.continued = continued;
            reply.body = match length {
                BodyLength::Known(length) => self.take(length)?,
                BodyLength::Chunked => self.chunks()?,
                BodyLength::UntilClose => self.rest()?,
            };
            return Ok(reply);
        }
    }

    /// Reads a head, without the body.
    fn head(&mut self) -> io::Result<(WireReply, BodyLength)> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut parsed = httparse::Response::new(&mut headers);
            let status = parsed.parse(&self.unread).map_err(invalid)?;
            if let httparse::Status::Complete(end) = status {
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                let reply = WireReply {
                    status: parsed.code.unwrap_or_default(),
                    headers: parsed
                        .headers
                        .iter()
                        .map(|header| (header.name.to_ascii_lowercase(), text(header.value)))
                        .collect(),
                    body: Vec::new(),
                    continued: false,
                };
                self.unread.drain(..end);
                let length = body_length(&reply)?;
                return Ok((reply, length));
            }
            self.more()?;
        }
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let parsed = httparse::parse_chunk_size(&self.unread)
                .map_err(|_| invalid("a chunk without a size"))?;
            let httparse::Status::Complete((start, size)) = parsed else {
                self.more()?;
                continue;
            };
            self.unread.drain(..start);
            let size = usize::try_from(size).map_err(invalid)?;
            body.extend(self.take(size)?);
            // The line end after a chunk, or after the last one (this server sends no trailers).
            self.take(2)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            self.more()?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    fn rest(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.more() {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.unread));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads until `bytes` bytes have arrived, and leaves them to be read again.
    ///
    /// # Errors
    /// The server closes the connection before, or a time-out.
    pub fn some_bytes(&mut self, bytes: usize) -> io::Result<()> {
        while self.unread.len() < bytes {
            self.more()?;
        }
        Ok(())
    }

    fn more(&mut self) -> io::Result<()> {
        let mut bytes = [0; 64 << 10];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    self.unread.extend_from_slice(&bytes[..read]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until the server closes the connection. Returns whether it did so within `limit`; data
    /// that arrives before is dropped.
    #[must_use]
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut bytes = [0; 64 << 10];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
                return false;
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }
}

enum BodyLength {
    Known(usize),
    Chunked,
    UntilClose,
}

fn body_length(reply: &WireReply) -> io::Result<BodyLength> {
    if (100..200).contains(&reply.status) || matches!(reply.status, 204 | 304) {
        return Ok(BodyLength::Known(0));
    }
    if reply.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        return Ok(BodyLength::Chunked);
    }
    match reply.header("content-length") {
        Some(length) => Ok(BodyLength::Known(length.parse().map_err(invalid)?)),
        None => Ok(BodyLength::UntilClose),
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}
