//! Requests that wait on disk while the server is away. A request is on disk before [`Queue::put`] returns and stays there
//! until its caller says that its rewards are in safe hands, so that neither side may lose it; scored twice, it gets the
//! same rewards, and what was asked of a judge is not paid for again.
//!
//! ```no_run
//! # async fn rollouts_are_scored_when_the_server_is_back() -> Result<(), Box<dyn std::error::Error>> {
//! # let (client, request) = (guerdon_client::Client::new("http://127.0.0.1:8787")?, guerdon_client::ScoreRequest::default());
//! # fn keep(_: &guerdon_client::Scored) -> std::io::Result<()> { Ok(()) }
//! let queue = guerdon_client::Queue::open("runs/waiting")?;
//! queue.put(&request)?;
//! for ticket in queue.waiting()? {
//!     match queue.score(&ticket, &client).await {
//!         Ok((_request, scored)) => {
//!             keep(&scored)?;
//!             queue.done(&ticket)?;
//!         }
//!         Err(error) if error.may_pass() => break, // the server is away still: it all waits on
//!         Err(error) => {
//!             let file = queue.set_aside(&ticket)?;
//!             eprintln!("{} will never be scored: {error}", file.display());
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use guerdon_types::ScoreRequest;
use uuid::Uuid;

use crate::{Client, Error, Scored};

/// A draft is written in seconds; another process may be at it.
const ABANDONED: Duration = Duration::from_secs(3_600);

/// A folder of requests. Several processes may put; one should score.
#[derive(Debug, Clone)]
pub struct Queue {
    folder: PathBuf,
}

/// A request in a queue. Tickets sort by the time at which they were put.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(Uuid);

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Queue {
    /// The queue in `folder`, which is made if it is missing. What a process that died was writing an hour ago or earlier, and
    /// nobody was promised, is removed.
    ///
    /// # Errors
    /// [`Error::Queue`] if it cannot be made or read.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        fs::create_dir_all(&folder)
            .and_then(|()| remove_abandoned(&folder))
            .map_err(|error| failed(&folder, &error))?;
        Ok(Self { folder })
    }

    /// Puts `request` at the end. It is on disk when this returns.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a request that no server would take, [`Error::Queue`] if it cannot be written.
    pub fn put(&self, request: &ScoreRequest) -> Result<Ticket, Error> {
        request.check()?;
        let ticket = Ticket(Uuid::now_v7());
        let (draft, path) = (self.folder.join(format!("{ticket}.draft")), self.path(&ticket));
        let written =
            serde_json::to_vec(request).map_err(std::io::Error::other).and_then(|bytes| {
                let mut file = fs::File::create(&draft)?;
                file.write_all(&bytes)?;
                file.sync_all()?;
                fs::rename(&draft, &path)?;
                fs::File::open(&self.folder)?.sync_all()
            });
        // A full disk gets its room back. If that fails too, the first error is the one to tell.
        let written = written.inspect_err(|_| drop(remove(&draft)));
        written.map(|()| ticket).map_err(|error| failed(&path, &error))
    }

    /// What waits, oldest first.
    ///
    /// # Errors
    /// [`Error::Queue`] if the folder cannot be read.
    pub fn waiting(&self) -> Result<Vec<Ticket>, Error> {
        let fails = |error| failed(&self.folder, &error);
        let mut tickets = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(fails)? {
            let name = entry.map_err(fails)?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
            tickets.extend(id.and_then(|id| Uuid::parse_str(id).ok()).map(Ticket));
        }
        tickets.sort();
        Ok(tickets)
    }

    /// The request of `ticket`, for a caller who scores it by other means, such as [`blocking::Client`](crate::blocking::Client).
    ///
    /// # Errors
    /// [`Error::Queue`] if it cannot be read.
    pub fn request(&self, ticket: &Ticket) -> Result<ScoreRequest, Error> {
        let path = self.path(ticket);
        #[expect(clippy::disallowed_methods, reason = "the queue is files")]
        let bytes = fs::read(&path).map_err(|error| failed(&path, &error))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::Queue { path, detail: format!("it is no request: {error}") })
    }

    /// The request of `ticket`, and its rewards. It waits on: say [`Queue::done`] once the rewards are kept.
    ///
    /// # Errors
    /// [`Error::Queue`] if it cannot be read; else as [`Client::score`]: where [`Error::may_pass`], try again later, else
    /// [`Queue::set_aside`].
    pub async fn score(
        &self,
        ticket: &Ticket,
        client: &Client,
    ) -> Result<(ScoreRequest, Scored), Error> {
        let request = self.request(ticket)?;
        let scored = client.score(&request).await?;
        Ok((request, scored))
    }

    /// Forgets a request whose rewards are in safe hands. One that is gone already is no error.
    ///
    /// # Errors
    /// [`Error::Queue`] if it cannot be removed.
    pub fn done(&self, ticket: &Ticket) -> Result<(), Error> {
        let path = self.path(ticket);
        remove(&path).map_err(|error| failed(&path, &error))
    }

    /// Takes a request that will never be scored out of the way of the others. It stays beside them as
    /// `TICKET.refused`, for people.
    ///
    /// # Errors
    /// [`Error::Queue`] if it cannot be moved.
    pub fn set_aside(&self, ticket: &Ticket) -> Result<PathBuf, Error> {
        let (from, to) = (self.path(ticket), self.folder.join(format!("{ticket}.refused")));
        fs::rename(&from, &to).map_err(|error| failed(&from, &error))?;
        Ok(to)
    }

    fn path(&self, ticket: &Ticket) -> PathBuf {
        self.folder.join(format!("{ticket}.json"))
    }
}

/// Removes drafts that nobody can be writing any more.
fn remove_abandoned(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let draft = path.extension().is_some_and(|extension| extension == "draft");
        // One that is gone by now has become a request.
        let age = || fs::metadata(&path).ok()?.modified().ok()?.elapsed().ok();
        if draft && age().is_some_and(|age| age > ABANDONED) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// One that is gone already is no error.
fn remove(path: &Path) -> std::io::Result<()> {
    fs::remove_file(path).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::Queue { path: path.to_owned(), detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::testing::{Reply, StandIn, batch};

    #[tokio::test]
    async fn what_waits_outlives_the_process_and_goes_oldest_first() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::open(folder.path().join("queue")).unwrap();
        let first = queue.put(&batch(&["a"])).unwrap();
        let second = queue.put(&batch(&["a", "b"])).unwrap();
        let again = Queue::open(folder.path().join("queue")).unwrap();
        assert_eq!(again.waiting().unwrap(), [first.clone(), second.clone()]);

        let server = StandIn::start(vec![]).await;
        let client = Client::new(&server.url).unwrap();
        let (request, scored) = again.score(&first, &client).await.unwrap();
        assert_eq!((request, scored.rewards()), (batch(&["a"]), vec![Some(0.0)]));
        assert_eq!(again.waiting().unwrap().len(), 2, "until its rewards are in safe hands");
        assert_eq!(again.request(&second).unwrap(), batch(&["a", "b"]));
        again.done(&first).unwrap();
        again.done(&first).unwrap();
        let error = again.request(&first).unwrap_err().to_string();
        assert!(error.contains(&first.to_string()), "{error}");
        assert_eq!(again.waiting().unwrap(), [second]);
    }

    #[tokio::test]
    async fn a_server_that_is_away_loses_nothing_and_a_refusal_holds_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::open(folder.path()).unwrap();
        let ticket = queue.put(&batch(&["a"])).unwrap();
        let away = Client::builder("http://127.0.0.1:9").retries(0).build().unwrap();
        let error = queue.score(&ticket, &away).await.unwrap_err();
        assert!(error.may_pass(), "{error}");
        assert_eq!(queue.waiting().unwrap(), std::slice::from_ref(&ticket));

        let problem = guerdon_types::Problem::new(
            guerdon_types::ProblemCode::UnknownProfile,
            "no such profile",
        );
        let server = StandIn::start(vec![Reply::problem(&problem, vec![])]).await;
        let there =
            Client::builder(&server.url).backoff(Duration::ZERO, Duration::ZERO).build().unwrap();
        let error = queue.score(&ticket, &there).await.unwrap_err();
        assert!(!error.may_pass(), "{error}");
        assert!(queue.set_aside(&ticket).unwrap().exists());
        assert_eq!(queue.waiting().unwrap(), []);
    }

    #[test]
    fn what_a_dead_process_left_half_written_is_removed_and_what_is_being_written_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let draft = |name: &str, age: Duration| {
            let path = folder.path().join(name);
            fs::File::create(&path).unwrap().set_modified(SystemTime::now() - age).unwrap();
            path
        };
        let (old, new) = (draft("a.draft", ABANDONED * 2), draft("b.draft", Duration::ZERO));
        let other = draft("c.refused", ABANDONED * 2);
        Queue::open(folder.path()).unwrap();
        assert_eq!([old.exists(), new.exists(), other.exists()], [false, true, true]);
    }

    #[test]
    fn a_request_that_no_server_would_take_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::open(folder.path()).unwrap();
        let mut request = batch(&["a"]);
        request.deadline_ms = Some(0);
        assert!(matches!(queue.put(&request), Err(Error::Invalid(_))));
        assert_eq!(queue.waiting().unwrap(), []);
    }
}
