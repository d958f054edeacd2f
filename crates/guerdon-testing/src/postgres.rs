//! A `PostgreSQL` server of a test.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::wait_until_blocking;

const PATIENCE: Duration = Duration::from_secs(60);

/// Debian's folder of versions of `PostgreSQL`.
const VERSIONS: &str = "/usr/lib/postgresql";

/// A `PostgreSQL` server with an empty database, reached over a local socket. It runs as another user
/// than root. Dropping it stops it.
#[derive(Debug)]
pub struct PostgresServer {
    folder: TempDir,
    programs: PathBuf,
    user: Option<(u32, u32)>,
    server: Option<Child>,
}

/// A session that holds a lock on a table until it is dropped.
#[derive(Debug)]
pub struct TableLock(Child);

impl PostgresServer {
    /// Starts a server; `None`, with the reason on standard error, where `PostgreSQL` is not
    /// installed. With `GUERDON_REQUIRE_POSTGRES` in the environment, that is a failure.
    #[must_use]
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            #[expect(clippy::print_stderr, reason = "a skipped test says why")]
            {
                eprintln!("skipped: no PostgreSQL under {VERSIONS}");
            }
            assert!(std::env::var_os("GUERDON_REQUIRE_POSTGRES").is_none(), "it is required");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let user = other_user();
        for name in ["data", "socket"] {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
            if let Some((user, group)) = user {
                chown(&path, Some(user), Some(group)).unwrap();
            }
        }
        let mut database = Self { folder, programs, user, server: None };
        let made = database
            .command("initdb")
            .args(["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "-D"])
            .arg(database.path("data"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        database.resume();
        Some(database)
    }

    /// Starts the server again after [`stop`](Self::stop).
    pub fn resume(&mut self) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.path("data")).arg("-k").arg(self.path("socket"));
        command.args(["-c", "listen_addresses=", "-c", "fsync=off"]);
        self.server = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        wait_until_blocking("PostgreSQL answers", PATIENCE, || {
            self.psql().args(["-c", "SELECT 1"]).output().unwrap().status.success()
        });
    }

    /// Stops the server, which ends all connections.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // A fast shutdown.
            Command::new("kill").args(["-INT", &server.id().to_string()]).status().unwrap();
            server.wait().unwrap();
        }
    }

    /// The URL of the database.
    #[must_use]
    pub fn url(&self) -> String {
        let socket = self.path("socket").display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{socket}/postgres")
    }

    /// The number that a query gives.
    #[must_use]
    pub fn number(&self, sql: &str) -> f64 {
        let output = self.psql().args(["-At", "-c", sql]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.trim()
            .parse()
            .unwrap_or_else(|_| panic!("{sql}: {text} {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Locks a table against writers.
    #[must_use]
    pub fn lock(&self, table: &str) -> TableLock {
        let mut session = self.psql().stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let sql = format!("BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE;\n");
        session.stdin.as_mut().unwrap().write_all(sql.as_bytes()).unwrap();
        wait_until_blocking("the table is locked", PATIENCE, || {
            let sql = format!(
                "SELECT count(*) FROM pg_locks WHERE relation = '{table}'::regclass \
                 AND mode = 'ExclusiveLock' AND granted"
            );
            self.number(&sql) > 0.5
        });
        TableLock(session)
    }

    fn psql(&self) -> Command {
        let mut command = self.command("psql");
        command.args(["-X", "-q", "-U", "postgres", "-h"]).arg(self.path("socket"));
        command
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir("/").stdin(Stdio::null());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Drop for TableLock {
    fn drop(&mut self) {
        // The session ends with its input.
        self.0.stdin.take();
        self.0.wait().unwrap();
    }
}

/// The newest of Debian's folders with the programs of `PostgreSQL`.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir(VERSIONS).ok()?;
    let folders = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    folders.filter(|folder| folder.join("initdb").is_file()).max()
}

/// The user and group for a server that root starts, which `PostgreSQL` refuses to run as.
fn other_user() -> Option<(u32, u32)> {
    let number = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse::<u32>().ok()
    };
    if number(&["-u"])? != 0 {
        return None;
    }
    let named = |name: &str| Some((number(&["-u", name])?, number(&["-g", name])?));
    named("postgres").or_else(|| named("nobody"))
}
