//! The signature of a request: HMAC-SHA256 of the body (RFC 2104), in hexadecimal.

use guerdon_text::hex;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// The signature of `body`, as in the header `x-guerdon-signature`: `sha256=` and 64 digits.
pub(super) fn signature(secret: &SecretString, body: &[u8]) -> Option<String> {
    // HMAC takes keys of every length.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
    mac.update(body);
    Some(format!("sha256={}", hex(&mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_that_of_the_test_vector() {
        // RFC 4231, test case 2.
        let signed =
            signature(&SecretString::from("Jefe"), b"what do ya want for nothing?").unwrap();
        assert_eq!(
            signed,
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
