//! Authorization by bearer tokens with scopes. If no token is configured, every client is served,
//! and the server binds to loopback addresses only.

use std::net::SocketAddr;
use std::path::Path;

use guerdon_types::{Problem, ProblemCode};
use secrecy::{ExposeSecret as _, SecretString};
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

#[derive(Debug, Clone)]
struct KnownToken {
    name: String,
    secret: SecretString,
    scopes: Vec<Scope>,
}

/// Error: the server would accept clients on other machines without a token.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` can be reached from other machines, and no token is configured\n  help: add [[auth.tokens]], listen on \
     127.0.0.1, or set auth.insecure = true if a proxy in front of guerdon authenticates clients"
)]
pub struct OpenWithoutTokens(SocketAddr);

impl Auth {
    pub(crate) fn load(
        config: &AuthConfig,
        files: &mut FileSet,
        root: &Path,
        environment: &dyn Environment,
    ) -> Result<Self, SecretError> {
        let mut tokens = Vec::new();
        for token in &config.tokens {
            let what = format!("token `{}` in [[auth.tokens]]", token.name);
            let place =
                SecretPlace { what: &what, env: token.env.as_deref(), file: token.file.as_deref() };
            let secret = resolve_in(files, place, root, environment)?
                .ok_or(SecretError::Empty { what: what.clone() })?;
            tokens.push(KnownToken {
                name: token.name.clone(),
                secret,
                scopes: token.scopes.clone(),
            });
        }
        Ok(Self { tokens })
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

    /// Checks that the request's token has `scope`. Returns the token's name; `None` if no tokens
    /// are configured.
    ///
    /// # Errors
    /// `unauthorized` or `forbidden`, as a problem.
    pub fn allow(&self, given: Option<&str>, scope: Scope) -> Result<Option<&str>, Box<Problem>> {
        if self.tokens.is_empty() {
            return Ok(None);
        }
        let Some(given) = given else {
            return Err(Box::new(
                Problem::new(ProblemCode::Unauthorized, "this server requires a token").hint(
                    "send the header `Authorization: Bearer <token>`; a client that cannot set headers \
                     can send it in the URL, as `http://name:<token>@host/…` or `?key=<token>`",
                ),
            ));
        };
        // Digests have equal lengths, so the time of the comparison does not depend on the given
        // token.
        let digest = Sha256::digest(given.as_bytes());
        let known = self.tokens.iter().find(|token| {
            bool::from(Sha256::digest(token.secret.expose_secret().as_bytes()).ct_eq(&digest))
        });
        match known {
            None => Err(Box::new(Problem::new(ProblemCode::Unauthorized, "unknown token"))),
            Some(token) if token.scopes.contains(&scope) => Ok(Some(&token.name)),
            Some(token) => {
                let detail = format!("token `{}` lacks the scope `{}`", token.name, scope.as_str());
                Err(Box::new(
                    Problem::new(ProblemCode::Forbidden, detail)
                        .hint("use another token, or add the scope in [[auth.tokens]]"),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::TokenConfig;

    fn auth() -> Auth {
        let token = TokenConfig {
            name: "trainer".into(),
            env: Some("T".into()),
            file: None,
            scopes: vec![Scope::Score],
        };
        let config = AuthConfig { tokens: vec![token], insecure: false };
        let environment = BTreeMap::from([("T".to_owned(), "abc".to_owned())]);
        Auth::load(&config, &mut FileSet::default(), Path::new("."), &environment).unwrap()
    }

    #[test]
    fn known_token_with_the_scope_is_accepted() {
        assert!(auth().allow(Some("abc"), Scope::Score).is_ok());
    }

    #[test]
    fn unknown_token_is_unauthorized_and_missing_scope_is_forbidden() {
        assert_eq!(auth().allow(Some("abcd"), Scope::Score).unwrap_err().status, 401);
        assert_eq!(auth().allow(None, Scope::Score).unwrap_err().status, 401);
        assert_eq!(auth().allow(Some("abc"), Scope::Admin).unwrap_err().status, 403);
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
