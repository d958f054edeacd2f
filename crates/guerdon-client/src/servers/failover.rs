//! The attempts of one request over several servers.
//!
//! All attempts have the same body and the same idempotency key. After a failure, the next attempt
//! goes
//!
//! - to the next healthy server that this request has not left yet, if the work cannot have begun: the
//!   connection was refused, or the server answered that it is busy, not ready or over a limit. Once
//!   all healthy ones were left, it goes round again;
//! - to the same server once more, if the work may have begun there, as after a broken connection
//!   or the timeout of a proxy: its answers are in its cache, and elsewhere they would be paid for
//!   again. If it fails again, the next attempt goes to another server;
//! - to the same server, after a fault that the request may cause itself (500, `unscored`).

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{Probe, Servers};
use crate::Error;
use crate::call::Call;
use crate::retry::{AttemptError, Deadline, Failures, RetryAdvice, RetryPolicy};

/// The parts of a client that attempts need.
#[derive(Debug)]
pub(crate) struct Failover<'a> {
    pub(crate) servers: &'a Servers,
    pub(crate) http: &'a reqwest::Client,
    pub(crate) policy: &'a RetryPolicy,
    pub(crate) probe: Probe,
}

impl Failover<'_> {
    /// Runs `attempt` on the servers of `order` until it succeeds, fails finally, has used all
    /// retries, or the deadline passes.
    pub(crate) async fn run<T, F, Fut>(
        &self,
        order: &[usize],
        call: &Call,
        deadline: &Deadline,
        mut attempt: F,
    ) -> Result<T, Error>
    where
        F: FnMut(Call) -> Fut,
        Fut: Future<Output = Result<T, AttemptError>>,
    {
        let (mut last, mut failures) = (None, Failures::default());
        // The servers that the request has left in this round.
        let mut left_servers = Vec::new();
        let mut place = self.next(order, &mut left_servers);
        // The server that was asked again because the work may have begun there.
        let mut repeated = None;
        loop {
            let base = self.servers.base(place).unwrap_or(self.servers.first());
            let here = call.at(place, base);
            let answer = async {
                tokio::select! {
                    biased;
                    answer = attempt(here.clone()) => answer,
                    error = self.probe.silence(self.http, base) => Err(AttemptError {
                        error,
                        again: RetryAdvice::Away(None),
                        has_begun: false,
                    }),
                }
            };
            let failure = match timeout_at(deadline.at, answer).await {
                Ok(Ok(reply)) => {
                    self.servers.note_reply(place);
                    return Ok(reply);
                }
                Ok(Err(failure)) => failure,
                Err(_) => return Err(deadline.passed(&here.shown, last)),
            };
            let named = match failure.again {
                RetryAdvice::Away(named) => {
                    self.servers.note_failure(place, named, &self.policy.backoff);
                    named
                }
                RetryAdvice::Fault(named) => named,
                RetryAdvice::Never => None,
            };
            if !self.policy.count(&mut failures, failure.again) {
                return Err(failure.error.with_tries(failures.tries()));
            }
            let stays = match failure.again {
                RetryAdvice::Fault(_) => true,
                _ if failure.has_begun && repeated != Some(place) => {
                    repeated = Some(place);
                    true
                }
                _ => false,
            };
            let left = deadline.at.saturating_duration_since(Instant::now());
            let wait = if stays {
                self.policy.wait(named, failures.tries() - 1, left)
            } else {
                left_servers.push(place);
                self.move_wait(order, &left_servers, left)
            };
            let error = failure.error.with_tries(failures.tries());
            let Some(wait) = wait else { return Err(error) };
            self.policy.observe(&error, failures, wait);
            last = Some(error);
            sleep(wait).await;
            if !stays {
                place = self.next(order, &mut left_servers);
            }
        }
    }

    /// The wait before an attempt on a server that is not among the `failed` ones: the shortest one if
    /// such a server is free, otherwise until the first pause ends. `None` if that is after the
    /// deadline.
    fn move_wait(&self, order: &[usize], failed: &[usize], left: Duration) -> Option<Duration> {
        let floor = self.policy.floor();
        if self.servers.has_free(&without(order, failed)) {
            return (floor < left).then_some(floor);
        }
        let pause = self.servers.soonest(order).map(|(_, pause)| pause).unwrap_or_default();
        let wait = match pause.is_named {
            true => pause.time,
            // At most half of the time left, so that attempts go on until shortly before the
            // deadline.
            false => pause.time.min(left / 2),
        };
        let wait = wait.max(floor);
        (wait < left).then_some(wait)
    }

    /// The next server to ask: a healthy one that is not among the `failed` ones. If there is none, a
    /// new round begins, at the server whose pause ends first.
    fn next(&self, order: &[usize], failed: &mut Vec<usize>) -> usize {
        let others = without(order, failed);
        if let Some(free) = self.servers.choose(&others, &self.policy.backoff) {
            return free;
        }
        failed.clear();
        self.servers.soonest(order).map_or(0, |(place, _)| place)
    }
}

fn without(order: &[usize], failed: &[usize]) -> Vec<usize> {
    order.iter().copied().filter(|place| !failed.contains(place)).collect()
}
