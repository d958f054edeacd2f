//! Host names and origins, as the `Host` and `Origin` headers and the configuration name them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A host and, optionally, a port. Names are in lower case and without the final dot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName {
    name: Name,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Domain(String),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

/// A text that is not a host name or not an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHost {
    /// Not a host name.
    #[error("{0} is not a host name; write it as in `guerdon.example`, `10.0.0.7:8787` or `[::1]`")]
    Host(String),
    /// Not an origin.
    #[error("{0} is not an origin; write it as in `https://dashboard.example`, without a path")]
    Origin(String),
}

impl FromStr for HostName {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        Self::parse(text).ok_or_else(|| InvalidHost::Host(guerdon_text::quote(text)))
    }
}

impl HostName {
    fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                let port = if port.is_empty() { "" } else { port.strip_prefix(':')? };
                (Name::V6(address.parse().ok()?), port)
            }
            None => {
                let (name, port) = text.split_once(':').unwrap_or((text, ""));
                let name = name.strip_suffix('.').unwrap_or(name);
                (domain_or_address(name)?, port)
            }
        };
        let port = match port {
            "" => None,
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            _ => return None,
        };
        Some(Self { name, port })
    }

    /// Returns whether the name means this machine for every resolver: `localhost`, a name below
    /// it, or a loopback address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match &self.name {
            Name::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
            Name::V4(address) => address.is_loopback(),
            Name::V6(address) => address.to_canonical().is_loopback(),
        }
    }

    /// Returns whether `other` is this host, at this port if there is one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.name == other.name && (self.port.is_none() || self.port == other.port)
    }

    fn without_port(self, port: Option<u16>) -> Self {
        Self { port: self.port.filter(|own| Some(*own) != port), ..self }
    }
}

fn domain_or_address(name: &str) -> Option<Name> {
    if let Ok(address) = name.parse() {
        return Some(Name::V4(address));
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let valid = !name.is_empty() && name.len() <= 253 && name.bytes().all(is_name);
    (valid && !name.starts_with('.') && !name.contains(".."))
        .then(|| Name::Domain(name.to_ascii_lowercase()))
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Name::Domain(name) => f.write_str(name)?,
            Name::V4(address) => address.fmt(f)?,
            Name::V6(address) => write!(f, "[{address}]")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl TryFrom<String> for HostName {
    type Error = InvalidHost;

    fn try_from(text: String) -> Result<Self, InvalidHost> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(host: HostName) -> Self {
        host.to_string()
    }
}

/// The origin of a web page: scheme, host and port. The scheme's default port is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebOrigin {
    scheme: String,
    host: HostName,
}

impl FromStr for WebOrigin {
    type Err = InvalidHost;

    /// Fails on `null` and on origins without a host, such as those of files: any page can have
    /// them.
    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let invalid = || InvalidHost::Origin(guerdon_text::quote(text));
        let (scheme, host) = text.split_once("://").ok_or_else(invalid)?;
        let scheme = scheme.to_ascii_lowercase();
        let is_scheme =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
            return Err(invalid());
        }
        let host = host.parse::<HostName>().map_err(|_| invalid())?;
        Ok(Self { host: host.without_port(default_port(&scheme)), scheme })
    }
}

impl WebOrigin {
    /// Returns whether a page of this origin and the server at `host` have the same authority.
    #[must_use]
    pub fn is_at(&self, host: &HostName) -> bool {
        self.host == host.clone().without_port(default_port(&self.scheme))
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)
    }
}

impl TryFrom<String> for WebOrigin {
    type Error = InvalidHost;

    fn try_from(text: String) -> Result<Self, InvalidHost> {
        text.parse()
    }
}

impl From<WebOrigin> for String {
    fn from(origin: WebOrigin) -> Self {
        origin.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> HostName {
        text.parse().unwrap()
    }

    #[test]
    fn hosts_are_read_in_canonical_form() {
        for (text, canonical) in [
            ("localhost", "localhost"),
            ("LocalHost.:8787", "localhost:8787"),
            ("localhost:", "localhost"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]", "[::1]"),
            ("[0:0:0:0:0:0:0:1]:8787", "[::1]:8787"),
            ("a_b-c.example", "a_b-c.example"),
        ] {
            assert_eq!(host(text).to_string(), canonical);
        }
    }

    #[test]
    fn texts_that_are_not_hosts_are_refused() {
        for text in [
            "",
            ".",
            "..",
            ":80",
            "a:b",
            "a:65536",
            "a:+1",
            "a:1:2",
            "::1",
            "[::1",
            "[::1]x",
            "[]",
            "[::1%lo]",
            "[127.0.0.1]",
            "user@localhost",
            "localhost/",
            "local host",
            "löcal",
            "a..b",
            "localhost,evil.example",
            "http://localhost",
            "*",
            "localhost#",
            "[::1]:",
            "[::1]:x",
        ] {
            // An empty port is valid after either form.
            assert_eq!(text.parse::<HostName>().is_ok(), text == "[::1]:", "{text}");
        }
        assert!("a".repeat(254).parse::<HostName>().is_err());
    }

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for text in
            ["localhost", "app.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"]
        {
            assert!(host(text).is_loopback(), "{text}");
        }
        for text in [
            "localhost.example",
            "evillocalhost",
            "0.0.0.0",
            "128.0.0.1",
            "[::]",
            "[::2]",
            "127.1",
            "2130706433",
            "0x7f000001",
            "127.0.0.1.example",
            "[::ffff:10.0.0.1]",
        ] {
            assert!(!host(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn origins_compare_with_hosts_by_authority() {
        let at = |origin: &str, name: &str| origin.parse::<WebOrigin>().unwrap().is_at(&host(name));
        assert!(at("http://localhost:8787", "LOCALHOST:8787"));
        assert!(at("http://localhost:80", "localhost") && at("http://localhost", "localhost:80"));
        assert!(
            at("https://a.example", "a.example:443") && at("https://a.example:443", "a.example")
        );
        assert!(at("http://[::1]:1", "[0::1]:1"));
        assert!(!at("http://localhost:3000", "localhost:8787"));
        assert!(!at("http://localhost", "127.0.0.1"));
        assert!(!at("https://localhost:80", "localhost"));
        assert!(!at("http://localhost:8787", "localhost"));
    }

    #[test]
    fn origins_that_any_page_can_have_are_refused() {
        for text in ["null", "file://", "", "https://", "a.example", "https://a.example/", "://a"] {
            assert!(text.parse::<WebOrigin>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_without_a_port_covers_every_port() {
        assert!(host("a").covers(&host("A:9")) && host("a:9").covers(&host("a:9")));
        assert!(!host("a:9").covers(&host("a")) && !host("a").covers(&host("b")));
    }
}
