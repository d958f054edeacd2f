//! Errors of loading a configuration. Each message names the place and the change that helps.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::config::ConfigError;
use crate::load::disk_calls::{CALL_LIMIT, DiskError};
use crate::load::secrets::SecretError;

/// A failed load. What served before keeps serving.
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
        /// The cause.
        cause: std::io::Error,
    },
    /// The file system does not answer.
    #[error(
        "reading `{path}` has not ended after {limit:?}\n  help: check the file system; the old generation keeps serving, and a later reload reads again"
    )]
    Hung {
        /// The file or folder.
        path: PathBuf,
        /// The time that was waited.
        limit: std::time::Duration,
    },
    /// The file system did not answer earlier loads either.
    #[error(
        "{count} earlier loads still wait for the file system\n  help: restore the file system, or restart the server"
    )]
    TooManyHung {
        /// The number of loads.
        count: usize,
    },
    /// The threads for rules cannot be started.
    #[error(
        "cannot start threads: {0}\n  help: raise the limit of processes and threads (ulimit -u)"
    )]
    Threads(std::io::Error),
    /// A load panicked.
    #[error("the load failed for a reason that is not its files'; see the server's log")]
    Internal,
    /// A named path that is missing or empty. A volume that is not mounted looks the same.
    #[error(
        "[profiles.{profile}] `{key}`: `{path}` {found}\n  help: restore it, or set `[profiles.{profile}] allow_empty = true` if it is meant to be empty"
    )]
    Absent {
        /// The profile.
        profile: String,
        /// `rules`, `prompts` or `model`.
        key: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The lack, as the end of a sentence.
        found: &'static str,
    },
    /// Files that are being written without a pause.
    #[error(
        "files changed each time they were read\n  help: the old generation keeps serving; reload when the files are complete"
    )]
    FilesKeepChanging,
    /// The rule packs, with a compiler's report.
    #[error("the rule packs are broken\n{0}")]
    Rules(guerdon_rules::Report),
    /// The judge prompts, with a compiler's report.
    #[error("the judge prompts are broken\n{0}")]
    Prompts(guerdon_judge::Report),
    /// The file with rubrics of rollouts, with a report.
    #[error(
        "the rubrics of `{path}` are broken\n  {report}\n  help: each line is {{\"id\": \"...\", \"rubric\": [...]}}"
    )]
    Rubrics {
        /// The file.
        path: PathBuf,
        /// The broken lines.
        report: String,
    },
    /// A reward model.
    #[error("model `{model}`: {error}")]
    Model {
        /// Its name in the configuration.
        model: String,
        /// The error.
        error: guerdon_model::Error,
    },
    /// A judge endpoint.
    #[error("judge `{judge}`: {error}")]
    Judge {
        /// Its name in the configuration.
        judge: String,
        /// The error.
        error: guerdon_judge::Error,
    },
    /// A source behind HTTP.
    #[error("source `{source_name}`: {error}")]
    Remote {
        /// Its name.
        source_name: String,
        /// The error.
        error: guerdon_remote::RemoteError,
    },
    /// A profile with settings that do not fit together.
    #[error("[profiles.{profile}] {detail}")]
    Profile {
        /// Its name.
        profile: String,
        /// The error and the change that helps.
        detail: String,
    },
    /// A name without a definition.
    #[error("`{key} = \"{name}\"` is not defined under [{section}]; defined: {known}")]
    Unknown {
        /// The key.
        key: &'static str,
        /// The name.
        name: String,
        /// The section that was searched.
        section: &'static str,
        /// The names in that section.
        known: String,
    },
    /// The place of the ledger.
    #[error(transparent)]
    Ledger(#[from] guerdon_ledger::Error),
    /// The store that replicas share.
    #[error(transparent)]
    Cluster(#[from] guerdon_cluster::ClusterError),
    /// The server would be open to every machine.
    #[error(transparent)]
    Open(#[from] crate::http::auth::OpenWithoutTokens),
    /// There is no default profile.
    #[error(
        "no default profile\n  help: add a [profiles.<name>] section, and with several of them set default_profile"
    )]
    NoDefaultProfile,
}

const fn read_help(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidData => "save it as UTF-8",
        ErrorKind::PermissionDenied => "let the user that runs guerdon read it",
        ErrorKind::FileTooLarge => "split it, or name another file",
        ErrorKind::InvalidInput => "name regular files, or a folder of them",
        _ => "paths in a configuration file are relative to its folder",
    }
}

impl From<DiskError> for LoadError {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::Hung(path) => Self::Hung { path, limit: CALL_LIMIT },
            DiskError::TooManyHung(count) => Self::TooManyHung { count },
            DiskError::Failed => Self::Internal,
        }
    }
}

impl LoadError {
    pub(crate) fn unknown<'a>(
        key: &'static str,
        name: &str,
        section: &'static str,
        known: impl Iterator<Item = &'a String>,
    ) -> Self {
        let known: Vec<&str> = known.map(String::as_str).collect();
        let hint = guerdon_text::did_you_mean(name, known.iter().copied());
        let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
        let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
        let known = known + &hint.map(|hint| format!("\n  help: {hint}")).unwrap_or_default();
        Self::Unknown { key, name: name.to_owned(), section, known }
    }
}
