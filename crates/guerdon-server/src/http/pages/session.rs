//! The session of a browser: a cookie that stands for a token, and does not contain it.
//!
//! The cookie names the token and the end of the session, with an HMAC whose key is the token's
//! digest. So every replica accepts it, nothing is stored, and a token that is removed from the
//! configuration ends its sessions.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use http::header::COOKIE;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::http::auth::{Auth, KnownToken};

/// The name of the cookie.
const COOKIE_NAME: &str = "guerdon_session";
/// The cookie of the login form, which its form repeats.
const LOGIN_COOKIE: &str = "guerdon_login";
/// The longest session.
const LASTS: Duration = Duration::from_secs(12 * 60 * 60);

/// The session of a request, in its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    csrf: String,
}

impl Session {
    /// The token that every form of the session has.
    pub(crate) fn csrf(&self) -> String {
        self.csrf.clone()
    }

    /// True if a form has the session's token.
    pub(super) fn allows(&self, csrf: &str) -> bool {
        self.csrf.as_bytes().ct_eq(csrf.as_bytes()).into()
    }
}

/// The value of a session's cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionToken(String);

impl SessionToken {
    /// A session of `token` from `now` on.
    pub(super) fn new(token: &KnownToken, now: SystemTime) -> Self {
        let end = seconds(now + LASTS);
        let name = URL_SAFE_NO_PAD.encode(token.name());
        let mac = mac(token, &format!("session.{end}.{name}"));
        Self(format!("{end}.{name}.{mac}"))
    }

    /// The cookie of a request.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        cookie(headers, COOKIE_NAME).map(Self)
    }

    /// The token that the cookie stands for, if the session has not ended.
    pub(crate) fn verify<'a>(
        &self,
        auth: &'a Auth,
        now: SystemTime,
    ) -> Option<(&'a KnownToken, Session)> {
        let mut fields = self.0.split('.');
        let (end, name, given) = (fields.next()?, fields.next()?, fields.next()?);
        if fields.next().is_some() || end.parse::<u64>().ok()? <= seconds(now) {
            return None;
        }
        let named = String::from_utf8(URL_SAFE_NO_PAD.decode(name).ok()?).ok()?;
        let token = auth.named(&named)?;
        let expected = mac(token, &format!("session.{end}.{name}"));
        if !bool::from(expected.as_bytes().ct_eq(given.as_bytes())) {
            return None;
        }
        Some((token, Session { csrf: mac(token, &format!("form.{}", self.0)) }))
    }

    /// The header that sets the cookie.
    pub(super) fn header(&self, is_https: bool) -> String {
        set_cookie(COOKIE_NAME, &self.0, LASTS, is_https)
    }
}

/// The header that ends a session.
pub(super) fn end_header(is_https: bool) -> String {
    set_cookie(COOKIE_NAME, "", Duration::ZERO, is_https)
}

/// The value that a login form must repeat.
pub(super) fn login_cookie(headers: &HeaderMap) -> Option<String> {
    cookie(headers, LOGIN_COOKIE).filter(|value| !value.is_empty())
}

/// The header that sets the cookie of a login form.
pub(super) fn login_header(value: &str, is_https: bool) -> String {
    set_cookie(LOGIN_COOKIE, value, Duration::from_secs(3_600), is_https)
}

fn set_cookie(name: &str, value: &str, age: Duration, is_https: bool) -> String {
    let secure = if is_https { "; Secure" } else { "" };
    let age = age.as_secs();
    format!("{name}={value}; Path=/ui; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|one| one.split_once('='));
    pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn mac(token: &KnownToken, text: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(token.digest()) else {
        return String::new(); // Not reached: every length is a key.
    };
    mac.update(b"guerdon inspector ");
    mac.update(text.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Scope;

    fn auth() -> Auth {
        Auth::of([
            ("reader", "the-secret-of-the-reader", &[Scope::Read][..]),
            ("trainer ü", "the-secret-of-the-trainer", &[Scope::Score]),
        ])
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_796_000_000)
    }

    fn token(name: &str) -> SessionToken {
        SessionToken::new(auth().named(name).unwrap(), now())
    }

    #[test]
    fn session_stands_for_its_token_until_it_ends() {
        for name in ["reader", "trainer ü"] {
            let session = token(name);
            let (found, _) = session
                .verify(&auth(), now())
                .map(|(token, own)| (token.name().to_owned(), own))
                .unwrap();
            assert_eq!(found, name);
            assert!(session.verify(&auth(), now() + LASTS).is_none());
            assert!(!session.0.contains("secret"));
        }
    }

    #[test]
    fn session_of_a_token_that_was_removed_or_changed_is_over() {
        let session = token("reader");
        let changed = Auth::of([("reader", "another-secret-of-it", &[Scope::Read][..])]);
        assert!(session.verify(&changed, now()).is_none());
        assert!(session.verify(&Auth::of([]), now()).is_none());
    }

    #[test]
    fn form_of_another_session_is_refused() {
        let later =
            SessionToken::new(auth().named("reader").unwrap(), now() + Duration::from_secs(1));
        let auth = auth();
        let (_, one) = token("reader").verify(&auth, now()).unwrap();
        let (_, other) = later.verify(&auth, now()).unwrap();
        assert!(one.allows(&one.csrf()) && !one.allows(&other.csrf()) && !one.allows(""));
    }

    #[test]
    fn cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=b; guerdon_session=x.y.z; c=d".parse().unwrap());
        assert_eq!(SessionToken::of(&headers), Some(SessionToken("x.y.z".to_owned())));
        let header = token("reader").header(true);
        for word in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/ui", "Max-Age=43200"] {
            assert!(header.contains(word), "{header}");
        }
    }

    proptest! {
        /// No change of a cookie is accepted.
        #[test]
        fn forged_session_is_refused(place in 0usize..200, byte in "[0-9a-zA-Z._=-]") {
            let session = token("reader");
            let mut forged = session.0.clone();
            let place = place % forged.len();
            forged.replace_range(place..=place, &byte);
            prop_assume!(forged != session.0);
            // The last character of base64 has bits that carry nothing.
            prop_assume!(place + 1 != session.0.len());
            prop_assert!(SessionToken(forged).verify(&auth(), now()).is_none());
        }
    }
}
