//! Why a configuration could not be brought to life. Each says what, where, and what to change.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::config::ConfigError;
use crate::secrets::SecretError;

/// A load failed; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The configuration itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A file that the configuration names.
    #[error(
        "cannot read `{path}`: {cause}\n  help: {}", read_help(cause.kind())
    )]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Files that somebody goes on writing.
    #[error(
        "files changed each time they were read\n  help: what served before serves on; reload once nobody writes them any more"
    )]
    Restless,
    /// The rule packs, with a compiler's report.
    #[error("the rule packs are broken\n{0}")]
    Rules(guerdon_rules::Report),
    /// The judge prompts, with a compiler's report.
    #[error("the judge prompts are broken\n{0}")]
    Prompts(guerdon_judge::Report),
    /// A reward model.
    #[error("model `{model}`: {error}")]
    Model {
        /// Its name in the configuration.
        model: String,
        /// What is wrong.
        error: guerdon_model::Error,
    },
    /// A judge endpoint.
    #[error("judge `{judge}`: {error}")]
    Judge {
        /// Its name in the configuration.
        judge: String,
        /// What is wrong.
        error: guerdon_judge::Error,
    },
    /// A profile that cannot work.
    #[error("[profiles.{profile}] {detail}")]
    Profile {
        /// Its name.
        profile: String,
        /// What is wrong, and what to change.
        detail: String,
    },
    /// A name that leads nowhere.
    #[error("`{key} = \"{name}\"` names nothing under [{section}]; there is {known}")]
    Unknown {
        /// The key.
        key: &'static str,
        /// The name.
        name: String,
        /// Where it was looked for.
        section: &'static str,
        /// What is there.
        known: String,
    },
    /// It would open a server to everyone.
    #[error(transparent)]
    Open(#[from] crate::auth::Open),
    /// There is no profile to fall back on.
    #[error(
        "no default profile\n  help: add a [profiles.<name>] section, and with several of them set default_profile"
    )]
    NoDefaultProfile,
}

const fn read_help(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidData => "save it as UTF-8",
        ErrorKind::PermissionDenied => "let the user that runs guerdon read it",
        _ => "paths in a configuration file are relative to its folder",
    }
}

impl LoadError {
    pub(crate) fn unknown<'a>(
        key: &'static str,
        name: &str,
        section: &'static str,
        known: impl Iterator<Item = &'a String>,
    ) -> Self {
        let known: Vec<_> = known.map(|name| format!("`{name}`")).collect();
        let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
        Self::Unknown { key, name: name.to_owned(), section, known }
    }
}
