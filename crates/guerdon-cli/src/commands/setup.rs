//! Shared setup of the commands: the configuration, the async runtime, and the text of input files.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use guerdon_server::config::{ConfigSource, Override, ProcessEnvironment};

use super::installed;
use crate::cli::ConfigurationArgs;
use crate::output::errln;

/// The configuration's file in the current folder.
const FILE: &str = "guerdon.toml";

impl ConfigurationArgs {
    /// The TOML file: the named one, that of the current folder, or the installed example.
    pub(super) fn file(&self) -> PathBuf {
        let local = || Path::new(FILE).exists().then(|| FILE.into());
        self.config
            .clone()
            .or_else(local)
            .or_else(installed::configuration)
            .unwrap_or_else(|| FILE.into())
    }

    /// The file, the environment and these flags, as a source that can be loaded.
    pub(super) fn source(&self) -> anyhow::Result<ConfigSource> {
        let environment = Arc::new(ProcessEnvironment);
        let file = self.file();
        if self.config.is_none() && file != Path::new(FILE) {
            errln!(
                "note: this folder has no {FILE}, so {} is used; `guerdon init` writes one",
                file.display()
            );
        }
        let mut source = ConfigSource { file: Some(file), environment, overrides: Vec::new() };
        if let Some(judge) = &self.judge {
            let config = source.load()?;
            let profile = config
                .default_profile()
                .context("--judge needs a default profile; set default_profile")?;
            source.overrides.push(Override::new(
                "--judge",
                &["profiles", profile, "judge"],
                judge.clone(),
            ));
        }
        Ok(source)
    }
}

/// An async runtime. Its blocking threads tokenize, so their number is a few more than the cores,
/// not tokio's default of 512.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(cores + 6)
        .build()
        .context("cannot start the async runtime")
}

/// The text of a file; an error names the file.
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    #[expect(clippy::disallowed_methods, reason = "a command reads the files it is given")]
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The text of a file, or of standard input if it is `-`.
pub(super) fn input_text(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        Ok(text)
    } else {
        read(file)
    }
}

/// The text without a byte order mark, as some editors and spreadsheets write it.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}
