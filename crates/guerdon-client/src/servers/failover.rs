//! The attempts of one request over several servers.
//!
//! All attempts have the same body and the same idempotency key. After a failure, the next attempt
//! goes
//!
//! - to the next healthy server, if the work cannot have begun: the connection was refused, or the
//!   server answered that it is busy, not ready or over a limit;
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
        let mut place = self.next(order, None);
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
                self.move_wait(order, place, left)
            };
            let error = failure.error.with_tries(failures.tries());
            let Some(wait) = wait else { return Err(error) };
            self.policy.observe(&error, failures, wait);
            last = Some(error);
            sleep(wait).await;
            if !stays {
                place = self.next(order, Some(place));
            }
        }
    }

    /// The wait before an attempt on another server than `failed`: the shortest one if a server is
    /// free, otherwise until the first pause ends. `None` if that is after the deadline.
    fn move_wait(&self, order: &[usize], failed: usize, left: Duration) -> Option<Duration> {
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

    /// The next server to ask: a healthy one other than `failed`, or the one whose pause ends first.
    fn next(&self, order: &[usize], failed: Option<usize>) -> usize {
        let others = failed.map_or_else(|| order.to_vec(), |failed| without(order, failed));
        let free = self.servers.choose(&others, &self.policy.backoff);
        free.or_else(|| self.servers.soonest(order).map(|(place, _)| place)).unwrap_or(0)
    }
}

fn without(order: &[usize], failed: usize) -> Vec<usize> {
    order.iter().copied().filter(|place| *place != failed).collect()
}
