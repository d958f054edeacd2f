//! The address to listen on: `127.0.0.1:8787`, `[::1]:8787`, or a name such as `localhost:8787`.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Deserializes an address. A name is resolved; see [`resolve`].
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SocketAddr, D::Error> {
    deserializer.deserialize_str(ListenVisitor)
}

struct ListenVisitor;

impl Visitor<'_> for ListenVisitor {
    type Value = SocketAddr;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address and a port, such as \"127.0.0.1:8787\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SocketAddr, E> {
        resolve(text).map_err(E::custom)
    }
}

/// Resolves an address. Of the addresses of a name, prefers loopback, then IPv4.
fn resolve(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let shown = guerdon_text::quote(text);
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!("{shown} has no port; write host and port, such as 127.0.0.1:8787"));
    };
    let Ok(port) = port.parse::<u16>() else {
        return Err(format!("the port of {shown} is not a number from 0 to 65535"));
    };
    if host.is_empty() {
        return Err(format!(
            "{shown} has no host; write 127.0.0.1:{port} for this machine, or 0.0.0.0:{port} for \
             every network that it is on"
        ));
    }
    if host.contains(':') {
        return Err(format!("write the IPv6 address of {shown} in brackets, such as [::1]:{port}"));
    }
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("the name in {shown} cannot be resolved: {error}"))?;
    found
        .min_by_key(|address| (!address.ip().is_loopback(), address.is_ipv6()))
        .ok_or_else(|| format!("the name in {shown} has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_resolved() {
        assert_eq!(resolve("127.0.0.1:1").unwrap(), SocketAddr::from(([127, 0, 0, 1], 1)));
        assert!(resolve("[::1]:1").unwrap().is_ipv6());
        let local = resolve("localhost:8787").unwrap();
        assert!(local.ip().is_loopback() && local.port() == 8787, "{local}");
    }

    #[test]
    fn invalid_address_is_reported_with_the_change_that_helps() {
        for (text, words) in [
            ("8787", "has no port"),
            ("localhost", "has no port"),
            (":8787", "0.0.0.0:8787"),
            ("localhost:http", "not a number"),
            ("localhost:65536", "not a number"),
            ("localhost:", "not a number"),
            ("::1:8787", "brackets"),
            ("no such name:1", "cannot be resolved"),
            ("", "has no port"),
        ] {
            let error = resolve(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
