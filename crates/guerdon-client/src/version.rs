//! Whether server and client speak the same wire. Every reply of a server tells its version; versions speak the same wire
//! if they agree in all that semantic versioning lets break: the major number, and before 1.0 the minor one.

use reqwest::header::HeaderMap;

use crate::Error;

/// The header of every reply.
const HEADER: &str = "guerdon-version";
const CLIENT: &str = env!("CARGO_PKG_VERSION");

/// Refuses a reply of a server that speaks another wire. A reply without the header, as of a proxy, is judged by its body.
pub(crate) fn check(headers: &HeaderMap, url: &str) -> Result<(), Error> {
    let Some(server) = headers.get(HEADER).and_then(|value| value.to_str().ok()) else {
        return Ok(());
    };
    match disagreement(server, CLIENT) {
        None => Ok(()),
        Some(agree) => Err(Error::Version {
            url: url.to_owned(),
            server: server.to_owned(),
            client: CLIENT,
            agree,
        }),
    }
}

/// What two versions would have to agree in and do not.
fn disagreement(server: &str, client: &str) -> Option<&'static str> {
    let mut server = server.split('.');
    let mut client = client.split('.');
    let (ours, theirs) = (client.next(), server.next());
    if ours != theirs {
        Some("MAJOR")
    } else if ours == Some("0") && client.next() != server.next() {
        Some("0.MINOR")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_semantic_versioning_lets_break_must_agree() {
        assert_eq!(disagreement("0.1.7", "0.1.0"), None);
        assert_eq!(disagreement("0.2.0", "0.1.0"), Some("0.MINOR"));
        assert_eq!(disagreement("1.4.0", "1.2.9"), None);
        assert_eq!(disagreement("2.0.0", "1.2.9"), Some("MAJOR"));
    }
}
