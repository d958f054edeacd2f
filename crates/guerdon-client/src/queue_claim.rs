//! Claims on the requests of a queue, so that several scorers share the work.
//!
//! A claim is a lock of the operating system on the request's file. It ends with the process that
//! has it, also if that is killed, so no claim is left behind and no clock decides.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::PathBuf;

use crate::request_queue::{RequestQueue, Ticket, failed};
use crate::{Client, Error, ScoredBatch};
use guerdon_types::ScoreRequest;

/// A request that only this scorer scores, until the claim is dropped. Returned by
/// [`RequestQueue::claim`] and [`RequestQueue::claims`].
#[derive(Debug)]
pub struct TicketClaim {
    queue: RequestQueue,
    ticket: Ticket,
    /// The lock, which ends when the file is closed.
    _file: File,
}

impl TicketClaim {
    /// The ticket of the request.
    #[must_use]
    pub const fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Scores the request; see [`RequestQueue::score`].
    ///
    /// # Errors
    /// As there.
    pub async fn score(&self, client: &Client) -> Result<(ScoreRequest, ScoredBatch), Error> {
        self.queue.score(&self.ticket, client).await
    }

    /// Removes the request, whose rewards are stored, and ends the claim.
    ///
    /// # Errors
    /// As [`RequestQueue::done`].
    pub fn done(self) -> Result<(), Error> {
        self.queue.done(&self.ticket)
    }

    /// Takes a request that cannot be scored out of the queue, and ends the claim.
    ///
    /// # Errors
    /// As [`RequestQueue::set_aside`].
    pub fn set_aside(self) -> Result<PathBuf, Error> {
        self.queue.set_aside(&self.ticket)
    }
}

impl RequestQueue {
    /// Claims a request; `None` if another scorer has claimed it, or it is no longer waiting.
    ///
    /// # Errors
    /// [`Error::Queue`] if its file cannot be opened, or its file system has no locks.
    pub fn claim(&self, ticket: &Ticket) -> Result<Option<TicketClaim>, Error> {
        let path = self.path(ticket);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path, &error)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed(&path, &error)),
        }
        // Between the open and the lock, another scorer may have finished the request.
        // A ticket is used once, so a file of this name is the one that was locked.
        Ok(path.exists().then(|| TicketClaim {
            queue: self.clone(),
            ticket: ticket.clone(),
            _file: file,
        }))
    }

    /// Claims the requests that wait now, oldest first, one with each step; skips those that other
    /// scorers have claimed. Several processes may do so at the same time.
    ///
    /// # Errors
    /// [`Error::Queue`] if the folder cannot be read.
    pub fn claims(&self) -> Result<impl Iterator<Item = Result<TicketClaim, Error>>, Error> {
        let queue = self.clone();
        let tickets = self.waiting()?.into_iter();
        Ok(tickets.filter_map(move |ticket| queue.claim(&ticket).transpose()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;

    use guerdon_testing::{StandInServer, numbered_batch};

    use super::*;

    fn queue_of(requests: usize) -> (tempfile::TempDir, RequestQueue) {
        let folder = tempfile::tempdir().unwrap();
        let queue = RequestQueue::open(folder.path()).unwrap();
        for _ in 0..requests {
            queue.put(&numbered_batch(&["a"])).unwrap();
        }
        (folder, queue)
    }

    #[test]
    fn several_scorers_share_the_requests_and_none_is_claimed_twice() {
        for scorers in [1, 2, 7] {
            let (folder, queue) = queue_of(40);
            let tickets: HashSet<Ticket> = queue.waiting().unwrap().into_iter().collect();
            let claimed = Mutex::new(Vec::new());
            std::thread::scope(|scope| {
                for _ in 0..scorers {
                    scope.spawn(|| {
                        let queue = RequestQueue::open(folder.path()).unwrap();
                        while !queue.waiting().unwrap().is_empty() {
                            for claim in queue.claims().unwrap() {
                                let claim = claim.unwrap();
                                claimed.lock().unwrap().push(claim.ticket().clone());
                                claim.done().unwrap();
                            }
                        }
                    });
                }
            });
            let claimed = claimed.into_inner().unwrap();
            assert_eq!(claimed.len(), 40);
            assert_eq!(claimed.into_iter().collect::<HashSet<_>>(), tickets);
        }
    }

    #[test]
    fn dropped_claim_gives_the_request_back() {
        let (_folder, queue) = queue_of(2);
        let [first, second] = queue.waiting().unwrap().try_into().unwrap();
        let claim = queue.claim(&first).unwrap().unwrap();
        assert!(queue.claim(&first).unwrap().is_none());
        let others: Vec<Ticket> =
            queue.claims().unwrap().map(|claim| claim.unwrap().ticket().clone()).collect();
        assert_eq!(others, [second]);
        drop(claim);
        let claim = queue.claim(&first).unwrap().unwrap();
        assert!(claim.set_aside().unwrap().exists());
        assert!(queue.claim(&first).unwrap().is_none());
    }

    #[tokio::test]
    async fn claimed_request_is_scored_and_stays_until_it_is_done() {
        let (_folder, queue) = queue_of(1);
        let server = StandInServer::start([]).await;
        let client = Client::new(server.url()).unwrap();
        let claim = queue.claims().unwrap().next().unwrap().unwrap();
        let (request, scored) = claim.score(&client).await.unwrap();
        assert_eq!((request, scored.rewards()), (numbered_batch(&["a"]), vec![Some(0.0)]));
        assert_eq!(queue.waiting().unwrap().len(), 1);
        claim.done().unwrap();
        assert_eq!(queue.waiting().unwrap(), []);
    }
}
