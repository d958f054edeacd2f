//! Secrets, from environment variables or files. They are never printed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;

use crate::config::Environment;
use crate::load::file_set::FileSet;

/// A secret that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The variable is not set.
    #[error(
        "{what}: the environment variable `{variable}` is not set\n  help: export it, or name another one in the configuration"
    )]
    Unset {
        /// The owner of the secret.
        what: String,
        /// The variable.
        variable: String,
    },
    /// The file cannot be read.
    #[error("{what}: cannot read `{path}`: {cause}")]
    Read {
        /// The owner of the secret.
        what: String,
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: std::io::Error,
    },
    /// The secret is empty.
    #[error("{what}: the secret is empty")]
    Empty {
        /// The owner of the secret.
        what: String,
    },
    /// The secret is easy to guess.
    #[error(
        "{what}: the secret has fewer than {least} bytes\n  help: make one, for example with `openssl rand -hex 32`"
    )]
    TooShort {
        /// The owner of the secret.
        what: String,
        /// The least number of bytes.
        least: usize,
    },
    /// Two places for one secret.
    #[error("{what}: both `env` and `file` are set\n  help: keep the one that holds the secret")]
    TwoPlaces {
        /// The owner of the secret.
        what: String,
    },
    /// A token without a permission.
    #[error(
        "{what}: `scopes` is empty, so the token opens nothing\n  help: list what it may do, such as scopes = [\"score\"], or remove the token"
    )]
    NoScopes {
        /// The token.
        what: String,
    },
    /// Two tokens with one name.
    #[error(
        "{second}: the name is also that of entry {first}\n  help: give each token a name of its own; the log and the limits tell callers apart by it"
    )]
    SameName {
        /// The place of the first token, from 1.
        first: usize,
        /// The second token.
        second: String,
    },
    /// Two owners of one secret.
    #[error(
        "{second}: the secret is the same as that of {first}\n  help: give each token a secret of its own, or remove one of them"
    )]
    Repeated {
        /// The first owner.
        first: String,
        /// The second owner.
        second: String,
    },
}

/// The place of a secret: an environment variable, or a file that holds nothing else. The variable
/// has precedence.
#[derive(Debug, Clone, Copy)]
pub struct SecretPlace<'a> {
    /// The owner of the secret, for error messages: "judge `cheap`".
    pub what: &'a str,
    /// The environment variable.
    pub env: Option<&'a str>,
    /// The file, relative to the configuration's folder.
    pub file: Option<&'a Path>,
}

/// Reads the secret at `place`, without surrounding white space. `None` if the configuration names
/// no place.
///
/// # Errors
/// [`SecretError`] if the variable is not set, the file cannot be read, or the secret is empty.
pub fn resolve(
    place: SecretPlace<'_>,
    root: &Path,
    environment: &dyn Environment,
) -> Result<Option<SecretString>, SecretError> {
    resolve_in(&mut FileSet::default(), place, root, environment)
}

/// As [`resolve`], through `files`.
pub(crate) fn resolve_in(
    files: &mut FileSet,
    place: SecretPlace<'_>,
    root: &Path,
    environment: &dyn Environment,
) -> Result<Option<SecretString>, SecretError> {
    let what = || place.what.to_owned();
    let text: Arc<str> = if let Some(variable) = place.env {
        let unset = || SecretError::Unset { what: what(), variable: variable.to_owned() };
        Arc::from(environment.var(variable).ok_or_else(unset)?)
    } else if let Some(file) = place.file {
        let path = root.join(file);
        files.read(&path).map_err(|cause| SecretError::Read { what: what(), path, cause })?
    } else {
        return Ok(None);
    };
    let text = text.trim();
    if text.is_empty() { Err(SecretError::Empty { what: what() }) } else { Ok(Some(text.into())) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test writes its own files")]
    fn an_empty_key_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), " \n").unwrap();
        let place = SecretPlace { what: "judge `j`", env: None, file: Some(Path::new("key")) };
        let error = resolve(place, folder.path(), &BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "judge `j`: the secret is empty");
    }

    #[test]
    fn a_secret_comes_from_its_variable_and_does_not_print() {
        let environment = BTreeMap::from([("KEY".to_owned(), " s3cret\n".to_owned())]);
        let place = SecretPlace { what: "token `trainer`", env: Some("KEY"), file: None };
        let secret = resolve(place, Path::new("."), &environment).unwrap().unwrap();
        assert_eq!(secret.expose_secret(), "s3cret");
        assert!(!format!("{secret:?}").contains("s3cret"));
        let missing = SecretPlace { env: Some("OTHER"), ..place };
        assert!(
            resolve(missing, Path::new("."), &environment)
                .unwrap_err()
                .to_string()
                .contains("`OTHER` is not set")
        );
    }
}
