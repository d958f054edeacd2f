//! Requests on disk, for a server that is down. A request is on disk before [`RequestQueue::put`]
//! returns and stays there until the caller confirms that its rewards are stored, so a crash on
//! either side loses nothing. A request that is scored twice gets the same rewards, and the judge's
//! answers come from the cache.
//!
//! ```no_run
//! # async fn score_waiting_requests() -> Result<(), Box<dyn std::error::Error>> {
//! # let client = guerdon_client::Client::new("http://127.0.0.1:8787")?;
//! # let request = guerdon_client::ScoreRequest::default();
//! # fn store(_: &guerdon_client::ScoredBatch) -> std::io::Result<()> { Ok(()) }
//! let queue = guerdon_client::RequestQueue::open("runs/waiting")?;
//! queue.put(&request)?;
//! for claim in queue.claims()? {
//!     let claim = claim?; // no other scorer has this request
//!     match claim.score(&client).await {
//!         Ok((_request, scored)) => {
//!             store(&scored)?;
//!             claim.done()?;
//!         }
//!         Err(error) if error.is_transient() => break, // the server is still down: try later
//!         Err(error) => {
//!             let file = claim.set_aside()?;
//!             eprintln!("{} cannot be scored: {error}", file.display());
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
use std::str::FromStr;
use std::time::Duration;

use guerdon_types::ScoreRequest;
use uuid::Uuid;

use crate::{Client, Error, ScoredBatch};

/// The age of a draft that no process is still writing. Writing takes seconds.
const ABANDONED: Duration = Duration::from_secs(3_600);

/// A folder of requests. Several processes may add requests, and share the scoring by
/// [`RequestQueue::claims`].
#[derive(Debug, Clone)]
pub struct RequestQueue {
    folder: PathBuf,
}

/// The name of a request in a queue. Tickets sort by the time of [`RequestQueue::put`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(Uuid);

impl FromStr for Ticket {
    type Err = Error;

    /// Reads a ticket from its text.
    fn from_str(text: &str) -> Result<Self, Error> {
        Uuid::parse_str(text).map(Self).map_err(|error| Error::Queue {
            path: text.into(),
            detail: format!("not a ticket: {error}"),
        })
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl RequestQueue {
    /// Opens the queue in `folder`, which is created if it is missing. Removes incomplete drafts of
    /// crashed processes that are older than an hour.
    ///
    /// # Errors
    /// [`Error::Queue`] if the folder cannot be created or read.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        fs::create_dir_all(&folder)
            .and_then(|()| remove_abandoned(&folder))
            .map_err(|error| failed(&folder, &error))?;
        Ok(Self { folder })
    }

    /// Adds `request` at the end. It is on disk when this function returns.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid request; [`Error::Queue`] if it cannot be written.
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
        // Frees the space of a full disk. If that fails too, the first error is returned.
        let written = written.inspect_err(|_| drop(remove(&draft)));
        written.map(|()| ticket).map_err(|error| failed(&path, &error))
    }

    /// The waiting requests, oldest first.
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

    /// The request of `ticket`, for callers that score it themselves, for example with
    /// [`blocking::Client`](crate::blocking::Client).
    ///
    /// # Errors
    /// [`Error::Queue`] if it cannot be read.
    pub fn request(&self, ticket: &Ticket) -> Result<ScoreRequest, Error> {
        let path = self.path(ticket);
        #[expect(clippy::disallowed_methods, reason = "the queue is files")]
        let bytes = fs::read(&path).map_err(|error| failed(&path, &error))?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Queue {
            path,
            detail: format!("the file is not a request: {error}"),
        })
    }

    /// Scores the request of `ticket`. The request stays in the queue; call [`RequestQueue::done`]
    /// once the rewards are stored.
    ///
    /// # Errors
    /// [`Error::Queue`] if the request cannot be read; otherwise as [`Client::score`]. After a
    /// transient error ([`Error::is_transient`]) try again later; after any other, call
    /// [`RequestQueue::set_aside`].
    pub async fn score(
        &self,
        ticket: &Ticket,
        client: &Client,
    ) -> Result<(ScoreRequest, ScoredBatch), Error> {
        let request = self.request(ticket)?;
        let scored = client.score(&request).await?;
        Ok((request, scored))
    }

    /// Removes a request whose rewards are stored. Does nothing if it is already gone.
    ///
    /// # Errors
    /// [`Error::Queue`] if it cannot be removed.
    pub fn done(&self, ticket: &Ticket) -> Result<(), Error> {
        let path = self.path(ticket);
        remove(&path).map_err(|error| failed(&path, &error))
    }

    /// Takes a request that cannot be scored out of the queue. It stays in the folder as
    /// `TICKET.refused`, for inspection.
    ///
    /// # Errors
    /// [`Error::Queue`] if it cannot be moved.
    pub fn set_aside(&self, ticket: &Ticket) -> Result<PathBuf, Error> {
        let (from, to) = (self.path(ticket), self.folder.join(format!("{ticket}.refused")));
        fs::rename(&from, &to).map_err(|error| failed(&from, &error))?;
        Ok(to)
    }

    pub(crate) fn path(&self, ticket: &Ticket) -> PathBuf {
        self.folder.join(format!("{ticket}.json"))
    }
}

/// Removes drafts that no process is still writing.
fn remove_abandoned(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let draft = path.extension().is_some_and(|extension| extension == "draft");
        // A draft that is gone by now was renamed to a request.
        let age = || fs::metadata(&path).ok()?.modified().ok()?.elapsed().ok();
        if draft && age().is_some_and(|age| age > ABANDONED) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a file. Succeeds if it is already gone.
fn remove(path: &Path) -> std::io::Result<()> {
    fs::remove_file(path).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

pub(crate) fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::Queue { path: path.to_owned(), detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use guerdon_testing::{ServerReply, StandInServer, numbered_batch};

    #[tokio::test]
    async fn requests_survive_a_restart_and_are_scored_oldest_first() {
        let folder = tempfile::tempdir().unwrap();
        let queue = RequestQueue::open(folder.path().join("queue")).unwrap();
        let first = queue.put(&numbered_batch(&["a"])).unwrap();
        let second = queue.put(&numbered_batch(&["a", "b"])).unwrap();
        let again = RequestQueue::open(folder.path().join("queue")).unwrap();
        assert_eq!(again.waiting().unwrap(), [first.clone(), second.clone()]);

        let server = StandInServer::start([]).await;
        let client = Client::new(server.url()).unwrap();
        let (request, scored) = again.score(&first, &client).await.unwrap();
        assert_eq!((request, scored.rewards()), (numbered_batch(&["a"]), vec![Some(0.0)]));
        assert_eq!(again.waiting().unwrap().len(), 2, "requests stay until `done`");
        assert_eq!(again.request(&second).unwrap(), numbered_batch(&["a", "b"]));
        again.done(&first).unwrap();
        again.done(&first).unwrap();
        let error = again.request(&first).unwrap_err().to_string();
        assert!(error.contains(&first.to_string()), "{error}");
        assert_eq!(again.waiting().unwrap(), [second]);
    }

    #[tokio::test]
    async fn unreachable_server_keeps_requests_and_refused_request_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let queue = RequestQueue::open(folder.path()).unwrap();
        let ticket = queue.put(&numbered_batch(&["a"])).unwrap();
        let away = Client::builder("http://127.0.0.1:9").retries(0).build().unwrap();
        let error = queue.score(&ticket, &away).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert_eq!(queue.waiting().unwrap(), std::slice::from_ref(&ticket));

        let problem = guerdon_types::Problem::new(
            guerdon_types::ProblemCode::UnknownProfile,
            "no such profile",
        );
        let server = StandInServer::start([ServerReply::problem(&problem)]).await;
        let there =
            Client::builder(server.url()).backoff(Duration::ZERO, Duration::ZERO).build().unwrap();
        let error = queue.score(&ticket, &there).await.unwrap_err();
        assert!(!error.is_transient(), "{error}");
        assert!(queue.set_aside(&ticket).unwrap().exists());
        assert_eq!(queue.waiting().unwrap(), []);
    }

    #[test]
    fn old_drafts_are_removed_and_new_drafts_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let draft = |name: &str, age: Duration| {
            let path = folder.path().join(name);
            fs::File::create(&path).unwrap().set_modified(SystemTime::now() - age).unwrap();
            path
        };
        let (old, new) = (draft("a.draft", ABANDONED * 2), draft("b.draft", Duration::ZERO));
        let other = draft("c.refused", ABANDONED * 2);
        RequestQueue::open(folder.path()).unwrap();
        assert_eq!([old.exists(), new.exists(), other.exists()], [false, true, true]);
    }

    #[test]
    fn invalid_request_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let queue = RequestQueue::open(folder.path()).unwrap();
        let mut request = numbered_batch(&["a"]);
        request.deadline_ms = Some(0);
        assert!(matches!(queue.put(&request), Err(Error::Invalid(_))));
        assert_eq!(queue.waiting().unwrap(), []);
    }
}
