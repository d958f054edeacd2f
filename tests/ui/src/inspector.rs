//! The process `guerdon view`.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A running `guerdon view`, killed when it is dropped.
#[derive(Debug)]
pub struct Inspector {
    /// The address, such as `http://127.0.0.1:41237`.
    pub url: String,
    /// The folder with the file.
    pub folder: TempDir,
    _process: Child,
}

/// The repository's root.
#[must_use]
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The program: that of the variable `GUERDON`, or the debug build.
#[must_use]
pub fn guerdon() -> PathBuf {
    std::env::var_os("GUERDON")
        .map_or_else(|| repository().join("target/debug/guerdon"), PathBuf::from)
}

impl Inspector {
    /// Serves these scored rollouts on a free port.
    pub async fn start(rollouts: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("rewards.jsonl");
        std::fs::write(&file, rollouts)?;
        let mut command = Command::new(guerdon());
        command.arg("view").arg(&file).args(["--listen", "127.0.0.1:0"]);
        let mut process = command
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}; build it first", guerdon().display()))?;
        let output = process.stdout.take().context("no standard output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        let Some(url) = line.split("/ui ").next().filter(|url| url.starts_with("http://")) else {
            bail!("guerdon view printed no address: {line:?}");
        };
        Ok(Self { url: url.to_owned(), folder, _process: process })
    }
}
