//! Servers that share a store, and clients that ask them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use guerdon_tests::{
    GuerdonProcess, JudgeThread, ProcessSetup, Server, WAIT_LIMIT, WireConnection,
    wait_until_blocking, wire_request,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The number of servers.
pub(crate) const SERVERS: usize = 4;

/// The setup of a server with `judge` and these further keys of the judge. A store that takes longer
/// than `timeout` counts as away, also on a busy machine.
pub(crate) fn setup(
    judge: &JudgeThread,
    redis: SocketAddr,
    judge_keys: &str,
    timeout: &str,
) -> ProcessSetup {
    let cluster = format!(
        "[cluster]\nurl = \"redis://{redis}\"\nnamespace = \"test\"\nlease = \"2s\"\ntimeout = \"{timeout}\"\nreplicas_max = {SERVERS}\n"
    );
    let light = ProcessSetup::light(env!("CARGO_BIN_EXE_guerdon"));
    judge.added_to(light, judge_keys).tables(&cluster)
}

/// Waits until the server is connected.
pub(crate) fn wait_until_up(server: &GuerdonProcess) {
    wait_until_blocking("coordination is up", WAIT_LIMIT, || {
        server.get("/readyz").text().contains("coordination: up")
    });
}

/// The rollout of question `number`, whose judge points depend on the number.
pub(crate) fn question(number: usize) -> Value {
    Server::rollout(&words(number))
}

fn words(number: usize) -> String {
    let manner = ["frosty", "brisk", "friendly"][number % 3];
    format!("{number} is {manner} .")
}

/// The judge's points for question `number`.
pub(crate) fn points(number: usize) -> f64 {
    JudgeThread::points(&words(number))
}

/// Asks about `rollouts`; `None` if the server went away.
pub(crate) fn ask(address: SocketAddr, rollouts: &[Value], deadline: Duration) -> Option<Value> {
    let body = json!({ "rollouts": rollouts, "deadline_ms": deadline.as_millis() as u64 });
    let headers = [("content-type", "application/json")];
    let bytes = wire_request("POST", "/v1/score", &headers, body.to_string().as_bytes());
    let mut connection = WireConnection::open(address).ok()?;
    connection.limit(deadline + WAIT_LIMIT).ok()?;
    connection.send(&bytes).ok()?;
    let reply = connection.reply().ok()?;
    (reply.status == 200).then(|| reply.json())
}

/// haproxy before several servers; `None` where it is not installed.
pub(crate) struct Balancer {
    process: Child,
    pub(crate) address: SocketAddr,
    _folder: TempDir,
}

impl Balancer {
    #[expect(clippy::disallowed_methods, reason = "a test writes its own files")]
    pub(crate) fn start(servers: &[GuerdonProcess]) -> Option<Self> {
        let program = ["haproxy", "/usr/sbin/haproxy"].into_iter().find(|program| {
            Command::new(program).arg("-v").stdout(Stdio::null()).status().is_ok()
        })?;
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listed = servers
            .iter()
            .enumerate()
            .map(|(number, server)| format!("  server s{number} {}\n", server.address));
        let config = format!(
            "defaults\n  mode http\n  timeout connect 2s\n  timeout client 120s\n  timeout server 120s\n\
             frontend f\n  bind {address}\n  default_backend b\n\
             backend b\n  balance leastconn\n{}",
            listed.collect::<String>()
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let process = Command::new(program)
            .arg("-db")
            .arg("-f")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until_blocking("haproxy listens", WAIT_LIMIT, || TcpStream::connect(address).is_ok());
        Some(Self { process, address, _folder: folder })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The most events in any `span`.
pub(crate) fn most_within(mut times: Vec<Instant>, span: Duration) -> (usize, Option<Instant>) {
    times.sort();
    let mut oldest = 0;
    let mut most = (0, None);
    for (index, time) in times.iter().enumerate() {
        while time.duration_since(times[oldest]) >= span {
            oldest += 1;
        }
        if index + 1 - oldest > most.0 {
            most = (index + 1 - oldest, Some(*time));
        }
    }
    most
}
