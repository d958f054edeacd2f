//! JSON as some servers write it: with a byte order mark, or with numbers that JSON does not have.
//! Python's `json` writes `NaN` and `Infinity`; log-probabilities of impossible tokens are
//! `-Infinity`. Such a number becomes null.

use std::borrow::Cow;

use serde_json::Value;

/// Reads `body` as JSON.
pub(super) fn from_slice(body: &[u8]) -> serde_json::Result<Value> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    serde_json::from_slice(body).or_else(|error| match without_odd_numbers(body) {
        Cow::Owned(body) => serde_json::from_slice(&body),
        Cow::Borrowed(_) => Err(error),
    })
}

/// Numbers that JSON does not have; longer ones first.
const ODD: [&[u8]; 4] = [b"-Infinity", b"Infinity", b"-NaN", b"NaN"];

/// `body` with null for each odd number outside of strings.
fn without_odd_numbers(body: &[u8]) -> Cow<'_, [u8]> {
    let mut clean: Option<Vec<u8>> = None;
    let (mut at, mut in_string) = (0, false);
    while let Some(byte) = body.get(at) {
        let rest = body.get(at..).unwrap_or_default();
        let odd = ODD.iter().find(|odd| !in_string && rest.starts_with(odd));
        let (skipped, written): (usize, &[u8]) = match odd {
            Some(odd) => (odd.len(), b"null"),
            None if in_string && *byte == b'\\' => (2, rest.get(..2).unwrap_or(rest)),
            None => (1, rest.get(..1).unwrap_or_default()),
        };
        in_string ^= *byte == b'"';
        if odd.is_some() && clean.is_none() {
            clean = Some(body.get(..at).unwrap_or_default().to_vec());
        }
        if let Some(clean) = &mut clean {
            clean.extend_from_slice(written);
        }
        at += skipped;
    }
    clean.map_or(Cow::Borrowed(body), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn odd_numbers_become_null_and_texts_stay() {
        let body = br#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" -Infinity \\", "d": 1}"#;
        let expected = json!({"a": null, "b": [null, null], "c": "NaN \" -Infinity \\", "d": 1});
        assert_eq!(from_slice(body).unwrap(), expected);
        assert_eq!(from_slice(b"\xef\xbb\xbf{}").unwrap(), json!({}));
        assert!(from_slice(b"{\"a\": Nan}").is_err() && from_slice(b"{\"a\": NaN").is_err());
    }

    proptest! {
        #[test]
        fn no_body_panics_and_json_is_read_as_it_is(text in ".{0,100}", wild in "[NaInfity\"\\\\,:{}\\[\\]-]{0,60}") {
            let body = json!({"text": text});
            prop_assert_eq!(from_slice(body.to_string().as_bytes()).unwrap(), body);
            let _ = from_slice(wild.as_bytes());
        }
    }
}
