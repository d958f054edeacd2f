//! Stored values, leases with takeover, and wake-ups.
//!
//! A value is written once: the first one wins, and a second payer adopts it. A message about the
//! end of a call is only a hint: waiters also look again when the lease ends.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use guerdon_queue::{Claim, CoordinatorError, Lease, LeaseEnd};
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;

use super::link::Link;
use super::scripts::{self, ClaimReply};
use crate::frame;

/// The most values that wait for a connection.
const MAX_LATER: usize = 1024;
/// The number of renewals in the length of a lease.
const RENEWALS: u32 = 3;
/// The longest additional wait of a caller whose leader may have died, in milliseconds.
const JITTER_MS: u64 = 50;

/// Stored values and leases.
pub(super) struct Answers {
    link: Arc<Link>,
    lease: Duration,
    tasks: TaskTracker,
    waiting: Mutex<HashMap<String, WaitingKey>>,
    /// Values that were made without a connection.
    later: Mutex<VecDeque<LaterValue>>,
}

struct WaitingKey {
    ended: Arc<Notify>,
    waiters: usize,
}

struct LaterValue {
    key: String,
    frame: Vec<u8>,
    ttl: Duration,
}

/// A place among the waiters for a key.
struct WaiterPlace<'a> {
    answers: &'a Answers,
    key: &'a str,
    ended: Arc<Notify>,
}

impl Drop for WaiterPlace<'_> {
    fn drop(&mut self) {
        let mut waiting = self.answers.waiting.lock();
        if let Some(entry) = waiting.get_mut(self.key) {
            entry.waiters -= 1;
            if entry.waiters == 0 {
                waiting.remove(self.key);
            }
        }
    }
}

impl Answers {
    pub(super) fn new(link: Arc<Link>, lease: Duration, tasks: TaskTracker) -> Self {
        Self { link, lease, tasks, waiting: Mutex::default(), later: Mutex::default() }
    }

    /// Wakes those who wait for `key`.
    pub(super) fn wake(&self, key: &str) {
        if let Some(entry) = self.waiting.lock().get(key) {
            entry.ended.notify_waiters();
        }
    }

    /// Wakes every waiter: without the connection, messages about the end of a call do not arrive.
    pub(super) fn wake_all(&self) {
        for entry in self.waiting.lock().values() {
            entry.ended.notify_waiters();
        }
    }

    fn place<'a>(&'a self, key: &'a str) -> WaiterPlace<'a> {
        let mut waiting = self.waiting.lock();
        let entry = waiting
            .entry(key.to_owned())
            .or_insert_with(|| WaitingKey { ended: Arc::default(), waiters: 0 });
        entry.waiters += 1;
        WaiterPlace { answers: self, key, ended: Arc::clone(&entry.ended) }
    }

    pub(super) async fn claim(&self, key: &str) -> Result<Claim, CoordinatorError> {
        let place = self.place(key);
        loop {
            let ended = place.ended.notified();
            tokio::pin!(ended);
            // Registered before the claim, so that an end in between is not missed.
            ended.as_mut().enable();
            let token = format!("{}:{:016x}", self.link.id(), rand::random::<u64>());
            let claim = scripts::claim(self.link.keys(), key, &token, self.lease);
            match self.link.send(&claim).await? {
                ClaimReply::Stored(bytes) => {
                    if let Some(value) = frame::read(&bytes) {
                        return Ok(Claim::Stored(value));
                    }
                    tracing::warn!(
                        key,
                        "a stored answer is damaged or of another version; it is removed"
                    );
                    let remove = scripts::remove(self.link.keys(), key, &bytes);
                    self.link.send::<()>(&remove).await?;
                }
                ClaimReply::Lead => return Ok(Claim::Lead(self.renewed(key, token))),
                ClaimReply::Wait(left) => {
                    let jitter = rand::rng().random_range(1..=JITTER_MS);
                    let until = left.min(self.lease) + Duration::from_millis(jitter);
                    // The end of the wait and the message lead to the same next step.
                    drop(tokio::time::timeout(until, ended).await);
                }
            }
        }
    }

    /// A lease that is renewed until it ends.
    fn renewed(&self, key: &str, token: String) -> Lease {
        let (end, mut ended) = oneshot::channel();
        let lease = Lease::new(token.clone(), move |how| {
            // The task may have ended with the runtime.
            let _ = end.send(how);
        });
        let (link, length, key) = (Arc::clone(&self.link), self.lease, key.to_owned());
        self.tasks.spawn(async move {
            loop {
                let renewal = tokio::time::timeout(length / RENEWALS, &mut ended).await;
                match renewal {
                    Err(_) => {
                        let renew = scripts::renew(link.keys(), &key, &token, length);
                        // A lease that is lost costs a second call and nothing else.
                        drop(link.send::<i64>(&renew).await);
                    }
                    Ok(Ok(LeaseEnd::Stored)) => return,
                    Ok(Ok(LeaseEnd::Abandoned) | Err(_)) => {
                        let release = scripts::release(link.keys(), &key, &token);
                        // Without a connection the lease ends by itself.
                        drop(link.send::<i64>(&release).await);
                        return;
                    }
                }
            }
        });
        lease
    }

    pub(super) async fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        ttl: Duration,
        lease: Option<Lease>,
    ) -> Result<Vec<u8>, CoordinatorError> {
        let frame = frame::write(&value).map_err(|error| CoordinatorError::Unavailable {
            detail: format!("the value cannot be stored: {error}"),
        })?;
        let token = lease.as_ref().map_or("", Lease::token);
        let put = scripts::put(self.link.keys(), key, token, &frame, ttl);
        match self.link.send::<Vec<u8>>(&put).await {
            Ok(stored) => {
                if let Some(lease) = lease {
                    lease.stored();
                }
                // A damaged value of another replica does not replace a good one.
                Ok(frame::read(&stored).unwrap_or(value))
            }
            Err(error) => {
                self.keep_for_later(LaterValue { key: key.to_owned(), frame, ttl });
                Err(error)
            }
        }
    }

    fn keep_for_later(&self, value: LaterValue) {
        let mut later = self.later.lock();
        if later.len() >= MAX_LATER {
            later.pop_front();
        }
        later.push_back(value);
    }

    /// Stores the values that were made without a connection.
    pub(super) async fn store_later(&self) -> Result<(), CoordinatorError> {
        while let Some(value) = { self.later.lock().pop_front() } {
            let put = scripts::put(self.link.keys(), &value.key, "", &value.frame, value.ttl);
            if let Err(error) = self.link.send::<Vec<u8>>(&put).await {
                self.keep_for_later(value);
                return Err(error);
            }
        }
        Ok(())
    }
}
