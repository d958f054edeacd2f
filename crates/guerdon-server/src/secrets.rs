//! Secrets come from the environment or from a file of their own, and are never printed.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::config::Environment;

/// A secret that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The variable is not set.
    #[error(
        "{what}: the environment variable `{variable}` is not set\n  help: export it, or name another one in the configuration"
    )]
    Unset {
        /// Whose secret.
        what: String,
        /// The variable.
        variable: String,
    },
    /// The file cannot be read.
    #[error("{what}: cannot read `{path}`: {cause}")]
    Read {
        /// Whose secret.
        what: String,
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The secret is empty.
    #[error("{what}: the secret is empty")]
    Empty {
        /// Whose secret.
        what: String,
    },
}

/// Where a secret is to be found, as the configuration says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) what: &'a str,
    pub(crate) env: Option<&'a str>,
    pub(crate) file: Option<&'a Path>,
}

/// The secret at `place`; `None` if the configuration names no place.
pub(crate) fn resolve(
    place: Place<'_>,
    root: &Path,
    environment: &dyn Environment,
) -> Result<Option<SecretString>, SecretError> {
    let what = || place.what.to_owned();
    let text = if let Some(variable) = place.env {
        environment
            .var(variable)
            .ok_or_else(|| SecretError::Unset { what: what(), variable: variable.to_owned() })?
    } else if let Some(file) = place.file {
        let path = root.join(file);
        #[expect(
            clippy::disallowed_methods,
            reason = "secrets are read where configuration is loaded"
        )]
        std::fs::read_to_string(&path).map_err(|cause| SecretError::Read {
            what: what(),
            path,
            cause,
        })?
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
    fn a_secret_comes_from_its_variable_and_does_not_print() {
        let environment = BTreeMap::from([("KEY".to_owned(), " s3cret\n".to_owned())]);
        let place = Place { what: "token `trainer`", env: Some("KEY"), file: None };
        let secret = resolve(place, Path::new("."), &environment).unwrap().unwrap();
        assert_eq!(secret.expose_secret(), "s3cret");
        assert!(!format!("{secret:?}").contains("s3cret"));
        let missing = Place { env: Some("OTHER"), ..place };
        assert!(
            resolve(missing, Path::new("."), &environment)
                .unwrap_err()
                .to_string()
                .contains("`OTHER` is not set")
        );
    }
}
