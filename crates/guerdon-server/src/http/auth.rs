//! Bearer tokens with scopes. If no token is configured, every client is served, and the server binds
//! to loopback addresses only.

use std::net::SocketAddr;
use std::path::Path;

use guerdon_types::{Problem, ProblemCode};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::{AuthConfig, Environment, Scope};
use crate::load::file_set::FileSet;
use crate::load::secrets::{SecretError, SecretPlace, resolve_in};

/// The configured tokens.
#[derive(Debug, Clone)]
pub struct Auth {
    tokens: Vec<KnownToken>,
}

/// A configured token. Only its digest is kept.
#[derive(Debug, Clone)]
pub(crate) struct KnownToken {
    name: String,
    digest: TokenDigest,
    scopes: Vec<Scope>,
}

/// The SHA-256 of a token.
pub(crate) type TokenDigest = [u8; 32];

/// Error: the server would accept clients on other machines without a token.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` can be reached from other machines, and no token is configured\n  help: add [[auth.tokens]], listen on \
     127.0.0.1, or set auth.insecure = true if a proxy in front of guerdon authenticates clients"
)]
pub struct OpenWithoutTokens(SocketAddr);

impl OpenWithoutTokens {
    pub(crate) const fn new(address: SocketAddr) -> Self {
        Self(address)
    }
}

/// The shortest token, in bytes. Shorter ones can be guessed.
const MIN_TOKEN_BYTES: usize = 16;

impl Auth {
    pub(crate) fn load(
        config: &AuthConfig,
        files: &mut FileSet,
        root: &Path,
        environment: &dyn Environment,
    ) -> Result<Self, SecretError> {
        let mut tokens: Vec<(String, KnownToken)> = Vec::new();
        for (index, token) in config.tokens.iter().enumerate() {
            let what = format!("token `{}` (entry {} in [[auth.tokens]])", token.name, index + 1);
            if token.env.is_some() && token.file.is_some() {
                return Err(SecretError::TwoPlaces { what });
            }
            if token.scopes.is_empty() {
                return Err(SecretError::NoScopes { what });
            }
            let of_name = |(_, known): &(String, KnownToken)| known.name == token.name;
            if let Some(first) = tokens.iter().position(of_name) {
                return Err(SecretError::SameName { first: first + 1, second: what });
            }
            let place =
                SecretPlace { what: &what, env: token.env.as_deref(), file: token.file.as_deref() };
            let secret = resolve_in(files, place, root, environment)?
                .ok_or_else(|| SecretError::Empty { what: what.clone() })?;
            if secret.expose_secret().len() < MIN_TOKEN_BYTES {
                return Err(SecretError::TooShort { what, least: MIN_TOKEN_BYTES });
            }
            let digest = digest_of(secret.expose_secret());
            if let Some((first, _)) = tokens.iter().find(|(_, known)| known.digest == digest) {
                return Err(SecretError::Repeated { first: first.clone(), second: what });
            }
            let scopes = token.scopes.clone();
            tokens.push((what, KnownToken { name: token.name.clone(), digest, scopes }));
        }
        Ok(Self { tokens: tokens.into_iter().map(|(_, token)| token).collect() })
    }

    /// Returns whether every client is served, because no tokens are configured.
    pub(crate) const fn is_open(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Refuses to serve without tokens on an address that other machines can reach.
    ///
    /// # Errors
    /// [`OpenWithoutTokens`] if there is no token, `listen` is not loopback, and `insecure` is not
    /// set.
    pub fn check_listen(
        &self,
        listen: SocketAddr,
        config: &AuthConfig,
    ) -> Result<(), OpenWithoutTokens> {
        if self.tokens.is_empty() && !listen.ip().is_loopback() && !config.insecure {
            Err(OpenWithoutTokens(listen))
        } else {
            Ok(())
        }
    }

    /// The token with this name.
    pub(crate) fn named(&self, name: &str) -> Option<&KnownToken> {
        self.tokens.iter().find(|token| token.name == name)
    }

    /// Tokens of a test: names, secrets and scopes.
    #[cfg(test)]
    pub(crate) fn of<'t>(
        tokens: impl IntoIterator<Item = (&'t str, &'t str, &'t [Scope])>,
    ) -> Self {
        let token = |(name, secret, scopes): (&str, &str, &[Scope])| KnownToken {
            name: name.to_owned(),
            digest: digest_of(secret),
            scopes: scopes.to_vec(),
        };
        Self { tokens: tokens.into_iter().map(token).collect() }
    }

    /// The token with this digest.
    pub(crate) fn find(&self, digest: &TokenDigest) -> Option<&KnownToken> {
        // Digests have equal lengths and all are compared, so the time does not depend on the token.
        let mut found = None;
        for token in &self.tokens {
            if bool::from(token.digest.ct_eq(digest)) {
                found = Some(token);
            }
        }
        found
    }
}

impl KnownToken {
    /// The SHA-256 of the token.
    pub(crate) const fn digest(&self) -> &TokenDigest {
        &self.digest
    }

    /// The name, for the log and as the caller's identity.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Checks that the token may be used for `required`.
    ///
    /// # Errors
    /// `forbidden`, if it lacks the scope, or if it is in the URL and may use the admin routes:
    /// URLs are logged and shown by many programs.
    pub(crate) fn check(&self, required: Scope, is_in_url: bool) -> Result<(), Box<Problem>> {
        if is_in_url && (required == Scope::Admin || self.scopes.contains(&Scope::Admin)) {
            let detail = format!("token `{}` has the scope `admin` and is in the URL", self.name);
            let detail = if self.scopes.contains(&Scope::Admin) {
                detail
            } else {
                "admin routes take no token in the URL".to_owned()
            };
            return Err(Box::new(
                Problem::new(ProblemCode::Forbidden, detail)
                    .hint("send it in the header `Authorization: Bearer <token>`"),
            ));
        }
        if self.scopes.iter().any(|scope| scope.covers(required)) {
            return Ok(());
        }
        let detail = format!("token `{}` lacks the scope `{}`", self.name, required.as_str());
        Err(Box::new(
            Problem::new(ProblemCode::Forbidden, detail)
                .hint("use another token, or add the scope in [[auth.tokens]]"),
        ))
    }
}

/// The digest of a token.
pub(crate) fn digest_of(token: &str) -> TokenDigest {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::TokenConfig;

    const SECRETS: [(&str, &str); 4] = [
        ("A", "the-first-secret-of-all"),
        ("B", "the-second-secret-of-all"),
        ("SAME", " the-first-secret-of-all\n"),
        ("SHORT", "fifteen-bytes-."),
    ];

    fn token(name: &str, env: &str, scopes: &[Scope]) -> TokenConfig {
        let (name, env) = (name.to_owned(), Some(env.to_owned()));
        TokenConfig { name, env, file: None, scopes: scopes.to_vec() }
    }

    fn load(tokens: Vec<TokenConfig>) -> Result<Auth, String> {
        let config = AuthConfig { tokens, insecure: false };
        let secrets = SECRETS.map(|(name, secret)| (name.to_owned(), secret.to_owned()));
        let environment = BTreeMap::from(secrets);
        Auth::load(&config, &mut FileSet::default(), Path::new("."), &environment)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn each_scope_opens_its_routes_and_no_others() {
        let scopes = [Scope::Score, Scope::Read, Scope::Check, Scope::Admin];
        let opened: Vec<Vec<bool>> = scopes
            .iter()
            .map(|scope| {
                let auth = load(vec![token("t", "A", &[*scope])]).unwrap();
                let token = auth.find(&digest_of("the-first-secret-of-all")).unwrap();
                scopes.iter().map(|required| token.check(*required, false).is_ok()).collect()
            })
            .collect();
        assert_eq!(
            opened,
            [
                [true, true, true, false],
                [false, true, false, false],
                [false, false, true, false],
                [false, true, false, true],
            ]
        );
    }

    #[test]
    fn token_is_found_by_its_secret_alone() {
        let auth =
            load(vec![token("a", "A", &[Scope::Score]), token("b", "B", &[Scope::Score])]).unwrap();
        let name = |secret| auth.find(&digest_of(secret)).map(KnownToken::name);
        assert_eq!(name("the-first-secret-of-all"), Some("a"));
        assert_eq!(name("the-second-secret-of-all"), Some("b"));
        assert_eq!((name("the-first-secret-of-al"), name("")), (None, None));
    }

    #[test]
    fn admin_tokens_and_admin_routes_are_refused_in_urls() {
        let auth = load(vec![
            token("both", "A", &[Scope::Score, Scope::Admin]),
            token("trainer", "B", &[Scope::Score]),
        ])
        .unwrap();
        let both = auth.find(&digest_of("the-first-secret-of-all")).unwrap();
        let trainer = auth.find(&digest_of("the-second-secret-of-all")).unwrap();
        assert!(both.check(Scope::Score, false).is_ok() && both.check(Scope::Score, true).is_err());
        assert!(
            both.check(Scope::Admin, true).is_err() && trainer.check(Scope::Admin, true).is_err()
        );
        assert!(trainer.check(Scope::Score, true).is_ok());
    }

    #[test]
    fn unsafe_tokens_are_configuration_errors_that_do_not_show_them() {
        let any = &[Scope::Score];
        let two_places = TokenConfig { file: Some("b".into()), ..token("two", "A", any) };
        for (tokens, parts) in [
            (vec![token("short", "SHORT", any)], ["`short` (entry 1", "16 bytes"]),
            (vec![two_places], ["`two` (entry 1", "`env` and `file`"]),
            (
                vec![token("a", "A", any), token("b", "B", any), token("c", "SAME", any)],
                ["`a` (entry 1", "`c` (entry 3"],
            ),
            (vec![token("a", "A", any), token("a", "B", any)], ["`a` (entry 2", "entry 1"]),
            (vec![token("a", "A", any), token("none", "B", &[])], ["`none` (entry 2", "scopes"]),
        ] {
            let error = load(tokens).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
            assert!(!error.contains("secret-of-all") && !error.contains("fifteen"), "{error}");
        }
    }

    #[test]
    fn without_tokens_only_loopback_is_served_unless_insecure_is_set() {
        let open = Auth { tokens: Vec::new() };
        let everywhere = SocketAddr::from(([0, 0, 0, 0], 80));
        assert!(
            open.check_listen(SocketAddr::from(([127, 0, 0, 1], 80)), &AuthConfig::default())
                .is_ok()
        );
        assert!(open.check_listen(everywhere, &AuthConfig::default()).is_err());
        let insecure = AuthConfig { insecure: true, ..AuthConfig::default() };
        assert!(open.check_listen(everywhere, &insecure).is_ok());
    }
}
