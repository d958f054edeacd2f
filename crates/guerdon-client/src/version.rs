//! Compares the versions of client and server. Every reply has the server's version. By semantic
//! versioning two versions are compatible if the major number is equal, and before 1.0 the minor
//! number, too.

use reqwest::header::HeaderMap;

use crate::Error;

/// The header of every reply.
const HEADER: &str = "guerdon-version";
const CLIENT: &str = env!("CARGO_PKG_VERSION");

/// Refuses the reply of an incompatible server. A reply without the header, as a proxy sends, is
/// accepted here.
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

/// The part in which two versions differ but must not.
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
    fn major_and_before_one_minor_must_be_equal() {
        assert_eq!(disagreement("0.1.7", "0.1.0"), None);
        assert_eq!(disagreement("0.2.0", "0.1.0"), Some("0.MINOR"));
        assert_eq!(disagreement("1.4.0", "1.2.9"), None);
        assert_eq!(disagreement("2.0.0", "1.2.9"), Some("MAJOR"));
    }
}
