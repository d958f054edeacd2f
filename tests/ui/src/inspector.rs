//! The processes `guerdon view` and `guerdon serve`.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A running process, killed when it is dropped.
#[derive(Debug)]
pub struct Inspector {
    /// The address, such as `http://127.0.0.1:41237`.
    pub url: String,
    /// The folder with its files.
    pub folder: TempDir,
    /// The lines of the log so far.
    log: Arc<Mutex<Vec<String>>>,
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
        Self::spawn(command, folder).await
    }

    /// A server with the rules of a template, `toml` after its configuration, and a token with these
    /// scopes in the file `token`.
    pub async fn serve(token: &str, scopes: &[&str], toml: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut init = Command::new(guerdon());
        init.args(["init", "--template", "blank", "--no-model"]).arg(folder.path());
        let made =
            init.output().await.with_context(|| format!("cannot run {}", guerdon().display()))?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let file = folder.path().join("guerdon.toml");
        let config = std::fs::read_to_string(&file)?;
        let auth = format!("[auth]\ntokens = [{{ name = \"ui\", file = \"token\", scopes = {scopes:?} }}]");
        std::fs::write(&file, format!("{config}\n{auth}\n{toml}\n"))?;
        std::fs::write(folder.path().join("token"), token)?;
        let mut command = Command::new(guerdon());
        command.args(["serve", "--listen", "127.0.0.1:0"]).current_dir(folder.path());
        Self::spawn(command, folder).await
    }

    /// Starts a program that prints its address in the first line.
    async fn spawn(mut command: Command, folder: TempDir) -> anyhow::Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut process = command
            .spawn()
            .with_context(|| format!("cannot run {}; build it first", guerdon().display()))?;
        let output = process.stdout.take().context("no standard output")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line).await?;
        let word = line.split_whitespace().find(|word| word.starts_with("http://"));
        let Some(url) = word.map(|word| word.trim_end_matches("/ui")) else {
            bail!("no address in the first line: {line:?}");
        };
        let url = url.to_owned();
        // Read to its end, so that the program can go on writing.
        tokio::spawn(async move {
            while output.read_line(&mut String::new()).await.is_ok_and(|read| read > 0) {}
        });
        let log = Arc::<Mutex<Vec<String>>>::default();
        let own = Arc::clone(&log);
        let mut errors = BufReader::new(process.stderr.take().context("no standard error")?).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = errors.next_line().await {
                eprintln!("{line}");
                if let Ok(mut lines) = own.lock() {
                    lines.push(line);
                }
            }
        });
        Ok(Self { url, folder, log, _process: process })
    }

    /// The lines of the log so far that contain `text`.
    #[must_use]
    pub fn logged(&self, text: &str) -> Vec<String> {
        let lines = self.log.lock().map(|lines| lines.clone()).unwrap_or_default();
        lines.into_iter().filter(|line| line.contains(text)).collect()
    }

    /// Sends a request with a JSON body, and returns the whole reply with its head.
    pub async fn post(&self, path: &str, token: &str, json: &str) -> anyhow::Result<String> {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            json.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(json.as_bytes()).await?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await?;
        ensure!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
        Ok(reply)
    }
}
