//! Who may ask: bearer tokens with scopes. Without tokens everyone may, and then the server binds loopback only.

use std::net::SocketAddr;
use std::path::Path;

use guerdon_types::{Problem, ProblemCode};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::{AuthConfig, Environment, Scope};
use crate::file_set::FileSet;
use crate::secrets::{SecretError, SecretPlace, resolve_in};

/// The tokens that are known.
#[derive(Debug, Clone)]
pub struct Auth {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone)]
struct Token {
    name: String,
    secret: SecretString,
    scopes: Vec<Scope>,
}

/// The server would be open to everyone.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` can be reached from other machines, and no token is configured\n  help: add [[auth.tokens]], listen on \
     127.0.0.1, or set auth.insecure = true if something in front of guerdon checks who asks"
)]
pub struct Open(SocketAddr);

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
            tokens.push(Token { name: token.name.clone(), secret, scopes: token.scopes.clone() });
        }
        Ok(Self { tokens })
    }

    /// Refuses to be open to everyone on an address that others can reach.
    ///
    /// # Errors
    /// [`Open`] if there is no token, `listen` is not loopback, and the configuration does not say `insecure`.
    pub fn check_listen(&self, listen: SocketAddr, config: &AuthConfig) -> Result<(), Open> {
        if self.tokens.is_empty() && !listen.ip().is_loopback() && !config.insecure {
            Err(Open(listen))
        } else {
            Ok(())
        }
    }

    /// Whether the token that a request carries, if it carries one, has `scope`; its name, if tokens are asked for at all.
    ///
    /// # Errors
    /// `unauthorized` or `forbidden`, as a problem.
    pub fn allow(&self, given: Option<&str>, scope: Scope) -> Result<Option<&str>, Box<Problem>> {
        if self.tokens.is_empty() {
            return Ok(None);
        }
        let Some(given) = given else {
            return Err(Box::new(
                Problem::new(ProblemCode::Unauthorized, "this server asks for a token").hint(
                    "send the header `Authorization: Bearer <token>`; a client that can send no header \
                     carries it in the URL, as `http://name:<token>@host/…` or `?key=<token>`",
                ),
            ));
        };
        // Digests are of equal length, so the comparison takes the same time whatever was sent.
        let digest = Sha256::digest(given.as_bytes());
        let known = self.tokens.iter().find(|token| {
            bool::from(Sha256::digest(token.secret.expose_secret().as_bytes()).ct_eq(&digest))
        });
        match known {
            None => {
                Err(Box::new(Problem::new(ProblemCode::Unauthorized, "this token is not known")))
            }
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
    fn the_right_token_with_the_right_scope_is_let_in() {
        assert!(auth().allow(Some("abc"), Scope::Score).is_ok());
    }

    #[test]
    fn a_wrong_token_is_unknown_and_a_narrow_one_forbidden() {
        assert_eq!(auth().allow(Some("abcd"), Scope::Score).unwrap_err().status, 401);
        assert_eq!(auth().allow(None, Scope::Score).unwrap_err().status, 401);
        assert_eq!(auth().allow(Some("abc"), Scope::Admin).unwrap_err().status, 403);
    }

    #[test]
    fn without_tokens_only_loopback_is_served_unless_said_so() {
        let open = Auth { tokens: Vec::new() };
        let everywhere = SocketAddr::from(([0, 0, 0, 0], 80));
        assert!(
            open.check_listen(SocketAddr::from(([127, 0, 0, 1], 80)), &AuthConfig::default())
                .is_ok()
        );
        assert!(open.check_listen(everywhere, &AuthConfig::default()).is_err());
        let said_so = AuthConfig { insecure: true, ..AuthConfig::default() };
        assert!(open.check_listen(everywhere, &said_so).is_ok());
    }
}
