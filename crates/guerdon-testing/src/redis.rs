//! A Redis server of a test, and a network in front of it that can be cut.

use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::wait_until_blocking;

const PATIENCE: Duration = Duration::from_secs(30);

/// The bytes that a [`CuttableNetwork`] forwards at once.
const CHUNK: usize = 16 << 10;

/// A Redis server without persistence on a port of the loopback interface. Dropping it stops it.
#[derive(Debug)]
pub struct RedisServer {
    folder: TempDir,
    address: SocketAddr,
    arguments: Vec<String>,
    server: Option<Child>,
}

impl RedisServer {
    /// Starts a server; `None`, with the reason on standard error, where `redis-server` is not on
    /// the path. With `GUERDON_REQUIRE_REDIS` in the environment, that is a failure.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// As [`RedisServer::start`], with further arguments, such as `--requirepass`.
    #[must_use]
    pub fn start_with(arguments: &[&str]) -> Option<Self> {
        let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
        if found.is_err() {
            #[expect(clippy::print_stderr, reason = "a skipped test says why")]
            {
                eprintln!("skipped: no redis-server on the path");
            }
            assert!(std::env::var_os("GUERDON_REQUIRE_REDIS").is_none(), "it is required");
            return None;
        }
        // Free until the server takes it.
        let address = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let folder = tempfile::tempdir().unwrap();
        let mut redis = Self { folder, address, arguments, server: None };
        redis.resume();
        Some(redis)
    }

    /// Starts the server again after [`RedisServer::kill`], without its data.
    pub fn resume(&mut self) {
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
            .arg(self.address.port().to_string())
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.arguments);
        self.server = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let address = self.address;
        wait_until_blocking("Redis listens", PATIENCE, || StdStream::connect(address).is_ok());
    }

    /// Ends the server with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// The URL of the server.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The address of the server.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The output of `redis-cli` with these arguments.
    #[must_use]
    pub fn cli(&self, arguments: &[&str]) -> String {
        let port = self.address.port().to_string();
        let output =
            Command::new("redis-cli").args(["-p", &port]).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A network in front of a server that can be cut: connections then stay open and carry nothing.
#[derive(Debug)]
pub struct CuttableNetwork {
    address: SocketAddr,
    is_cut: watch::Sender<bool>,
    _serving: JoinSet<()>,
}

impl CuttableNetwork {
    /// A network in front of `server`.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_cut = watch::Sender::new(false);
        let cut = is_cut.subscribe();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let cut = cut.clone();
                connections.spawn(async move {
                    uncut(&mut cut.clone()).await;
                    if let Ok(server) = TcpStream::connect(server).await {
                        let (from_client, to_client) = client.into_split();
                        let (from_server, to_server) = server.into_split();
                        tokio::select! {
                            () = forward(from_client, to_server, cut.clone()) => {}
                            () = forward(from_server, to_client, cut) => {}
                        }
                    }
                });
            }
        });
        Self { address, is_cut, _serving: serving }
    }

    /// The address that clients connect to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts the network, or mends it.
    pub fn cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
    }
}

async fn uncut(cut: &mut watch::Receiver<bool>) {
    if cut.wait_for(|is_cut| !is_cut).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn forward(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut cut: watch::Receiver<bool>,
) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        uncut(&mut cut).await;
        if to.write_all(&chunk[..read]).await.is_err() {
            return;
        }
    }
}
