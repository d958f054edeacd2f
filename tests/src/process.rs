//! `guerdon serve` as a process of its own, with a configuration and files in a temporary folder.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use guerdon_testing::wait_until_blocking;
use serde_json::Value;
use tempfile::TempDir;

use crate::server::put;
use crate::wire::{WireConnection, WireReply, wire_request};
use crate::{Server, WAIT_LIMIT};

/// The configuration of a server with rules alone. It loads in milliseconds.
const LIGHT: &str = r#"
default_profile = "light"
[server]
listen = "127.0.0.1:0"
drain = "3s"
@SERVER@
[reload]
debounce = "20ms"
[profiles.light]
rules = ["packs"]
@PROFILE@
[profiles.light.fusion]
method = "weighted_sum"
@FUSION@
"#;

/// The files and settings of a server that is about to start.
#[derive(Debug, Clone)]
pub struct ProcessSetup {
    binary: PathBuf,
    config: String,
    files: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    limits: String,
}

impl ProcessSetup {
    /// A server of `binary` with the rule pack [`Server::pack`] in the folder `packs` and no other
    /// source: profile `light`.
    #[must_use]
    pub fn light(binary: impl Into<PathBuf>) -> Self {
        Self::new(binary, LIGHT).file("packs/words.yaml", Server::pack())
    }

    /// A server of `binary` with this configuration.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, config: &str) -> Self {
        Self {
            binary: binary.into(),
            config: config.to_owned(),
            files: Vec::new(),
            environment: Vec::new(),
            limits: String::new(),
        }
    }

    /// Adds keys to `[server]`.
    #[must_use]
    pub fn server(self, keys: &str) -> Self {
        self.insert("@SERVER@", keys)
    }

    /// Adds keys to the profile.
    #[must_use]
    pub fn profile(self, keys: &str) -> Self {
        self.insert("@PROFILE@", keys)
    }

    /// Adds keys to the profile's fusion.
    #[must_use]
    pub fn fusion(self, keys: &str) -> Self {
        self.insert("@FUSION@", keys)
    }

    fn insert(mut self, place: &str, keys: &str) -> Self {
        assert!(self.config.contains(place), "the configuration has no {place}");
        self.config = self.config.replace(place, &format!("{keys}\n{place}"));
        self
    }

    /// Adds tables after the configuration.
    #[must_use]
    pub fn tables(mut self, toml: &str) -> Self {
        self.config = format!("{}\n{toml}", self.config);
        self
    }

    /// Replaces a part of the configuration.
    #[must_use]
    pub fn replaced(mut self, from: &str, to: &str) -> Self {
        assert!(self.config.contains(from), "the configuration has no {from}");
        self.config = self.config.replace(from, to);
        self
    }

    /// Adds a file, or replaces it.
    #[must_use]
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.retain(|(other, _)| other != name);
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Leaves a file out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.files.retain(|(other, _)| other != name);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs `shell` before the server in the same process, as in `ulimit -n 64`.
    #[must_use]
    pub fn limits(mut self, shell: &str) -> Self {
        self.limits = format!("{}{shell}; ", self.limits);
        self
    }

    /// The configuration as it is written to the file.
    #[must_use]
    pub fn text(&self) -> String {
        let text = ["@SERVER@", "@PROFILE@", "@FUSION@"]
            .iter()
            .fold(self.config.clone(), |text, place| text.replace(place, ""));
        Server::resolved(&text)
    }

    /// Writes configuration and files into `folder`.
    pub fn write(&self, folder: &Path) {
        put(&folder.join("guerdon.toml"), &self.text());
        for (name, text) in &self.files {
            put(&folder.join(name), &Server::resolved(text));
        }
    }

    /// A command of the binary in `folder`, without variables of this process that guerdon reads.
    #[must_use]
    pub fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = if self.limits.is_empty() {
            Command::new(&self.binary)
        } else {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("{}exec \"$0\" \"$@\"", self.limits)]).arg(&self.binary);
            shell
        };
        command.args(arguments).current_dir(folder).env("COLUMNS", "100").stdin(Stdio::null());
        for variable in ["GUERDON_CONFIG", "GUERDON_URL", "GUERDON_TOKEN", "ORT_DYLIB_PATH"] {
            command.env_remove(variable);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a server that must refuse to start. Returns its exit code and its error output; panics
    /// if it listens.
    #[must_use]
    pub fn refusal(&self) -> (Option<i32>, String) {
        let folder = tempfile::tempdir().expect("a folder");
        self.write(folder.path());
        let mut process = self.spawn_in(folder);
        wait_until_blocking("the server refuses to start", WAIT_LIMIT, || {
            let listens = process.printed_address();
            assert!(listens.is_none(), "the server listens at {listens:?}");
            process.exit = process.child.try_wait().expect("a status");
            process.exit.is_some()
        });
        (process.exit.and_then(|status| status.code()), process.log())
    }

    /// Starts the server in a new folder and waits until it listens.
    #[must_use]
    pub fn start(&self) -> GuerdonProcess {
        let folder = tempfile::tempdir().expect("a folder");
        self.write(folder.path());
        self.start_in(folder)
    }

    /// Starts the server in a folder that has its files, and waits until it listens.
    #[must_use]
    pub fn start_in(&self, folder: TempDir) -> GuerdonProcess {
        let mut process = self.spawn_in(folder);
        process.wait_until_listening();
        process
    }

    /// Starts the server in a folder that has its files, without waiting.
    #[must_use]
    pub fn spawn_in(&self, folder: TempDir) -> GuerdonProcess {
        let log = |name: &str| File::create(folder.path().join(name)).expect("a log");
        let child = self
            .command(folder.path(), &["serve"])
            .stdout(log("stdout.log"))
            .stderr(log("stderr.log"))
            .spawn()
            .expect("the server's process starts");
        GuerdonProcess {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            folder: Some(folder),
            exit: None,
        }
    }
}

/// A running `guerdon serve`. It is killed when it is dropped.
#[derive(Debug)]
pub struct GuerdonProcess {
    child: Child,
    /// The address that it listens on, once it does.
    pub address: SocketAddr,
    folder: Option<TempDir>,
    exit: Option<ExitStatus>,
}

impl GuerdonProcess {
    /// Waits until the server has printed its address.
    pub fn wait_until_listening(&mut self) {
        wait_until_blocking("the server listens", WAIT_LIMIT, || {
            if let Some(address) = self.printed_address() {
                self.address = address;
                return true;
            }
            let status = self.child.try_wait().expect("a status");
            assert!(status.is_none(), "the server ended with {status:?}:\n{}", self.log());
            false
        });
    }

    fn printed_address(&self) -> Option<SocketAddr> {
        let text = self.read("stdout.log");
        let url = text.split_whitespace().find_map(|word| word.strip_prefix("http://"))?;
        text.contains("docs:").then(|| url.parse().ok()).flatten()
    }

    /// The folder of the configuration.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.as_ref().expect("a folder").path().join(name)
    }

    /// The text of a file in the folder; empty if there is none.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a test reads its own files")]
    pub fn read(&self, name: &str) -> String {
        std::fs::read(self.path(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.read("stderr.log")
    }

    /// Writes a file of the folder in place.
    pub fn write(&self, name: &str, text: &str) {
        put(&self.path(name), text);
    }

    /// Replaces a file as editors do: a new file is renamed over the old one.
    pub fn replace(&self, name: &str, text: &str) {
        let file = self.path(name);
        let draft = file.with_file_name(format!(
            ".{}.swp",
            file.file_name().unwrap_or_default().to_string_lossy()
        ));
        put(&draft, text);
        std::fs::rename(draft, file).expect("a rename");
    }

    /// A new connection.
    #[must_use]
    pub fn connect(&self) -> WireConnection {
        WireConnection::open(self.address).expect("a connection")
    }

    /// Sends bytes on a connection of their own and reads the reply.
    ///
    /// # Errors
    /// The connection or the reply fails.
    pub fn exchange(&self, bytes: &[u8]) -> io::Result<WireReply> {
        exchange(self.address, bytes)
    }

    /// `GET target`.
    #[must_use]
    pub fn get(&self, target: &str) -> WireReply {
        self.exchange(&wire_request("GET", target, &[], b"")).expect("a reply")
    }

    /// `POST target` with a JSON body.
    #[must_use]
    pub fn post(&self, target: &str, body: &Value) -> WireReply {
        self.post_bytes(target, body.to_string().as_bytes())
    }

    /// `POST target` with a body of the type `application/json`.
    #[must_use]
    pub fn post_bytes(&self, target: &str, body: &[u8]) -> WireReply {
        let headers = [("content-type", "application/json")];
        self.exchange(&wire_request("POST", target, &headers, body)).expect("a reply")
    }

    /// `POST /v1/score`, expecting 200.
    #[must_use]
    pub fn score(&self, body: &Value) -> Value {
        let reply = self.post("/v1/score", body);
        assert_eq!(reply.status, 200, "{reply:?}\n{}", self.log());
        reply.json()
    }

    /// The sum of all samples of `metric` whose line contains `label`.
    #[must_use]
    pub fn metric(&self, metric: &str, label: &str) -> f64 {
        let text = self.get("/metrics").text();
        let lines = text.lines().filter(|line| line.starts_with(metric) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.expect("kill runs").success(), "{name} could not be sent");
    }

    /// The process's number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the process ends. Returns its status and the time that passed; panics with the
    /// log after `limit`.
    pub fn wait_for_exit(&mut self, limit: Duration) -> (ExitStatus, Duration) {
        let started = Instant::now();
        while self.exit.is_none() {
            self.exit = self.child.try_wait().expect("a status");
            assert!(
                self.exit.is_some() || started.elapsed() < limit,
                "the process runs on after {limit:?}:\n{}",
                self.log()
            );
            if self.exit.is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        (self.exit.expect("a status"), started.elapsed())
    }

    /// Sends SIGTERM and waits for the exit.
    pub fn terminate(&mut self, limit: Duration) -> (ExitStatus, Duration) {
        self.signal("TERM");
        self.wait_for_exit(limit)
    }

    /// Kills the process (SIGKILL) and returns its folder, for a server that starts again in it.
    #[must_use]
    pub fn kill(mut self) -> TempDir {
        self.end();
        self.folder.take().expect("a folder")
    }

    /// The folder of a process that has ended.
    #[must_use]
    pub fn into_folder(mut self) -> TempDir {
        self.end();
        self.folder.take().expect("a folder")
    }

    fn end(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Resident memory in MiB.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "/proc is no file on a disk")]
    pub fn resident_mib(&self) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or_default() / 1024.0
    }

    /// CPU time that the process has used, in seconds.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "/proc is no file on a disk")]
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.unwrap_or_default();
        // The name of the command stands in parentheses and may hold spaces.
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok());
        (ticks(11).unwrap_or_default() + ticks(12).unwrap_or_default()) / 100.0
    }

    /// True if the process catches or ignores the signal of that number.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "/proc is no file on a disk")]
    pub fn handles_signal(&self, number: u32) -> bool {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let mask = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
        };
        (mask("SigCgt:") | mask("SigIgn:")) >> (number - 1) & 1 == 1
    }

    /// Open file descriptors.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }
}

impl Drop for GuerdonProcess {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends bytes on a connection of their own and reads the reply. A server may answer and close
/// before it has read everything, so an error of the sending side alone is none.
///
/// # Errors
/// The connection or the reply fails.
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> io::Result<WireReply> {
    let mut connection = WireConnection::open(address)?;
    let sent = connection.send(bytes);
    connection.reply().map_err(|error| sent.err().unwrap_or(error))
}
