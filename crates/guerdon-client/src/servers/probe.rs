//! Detection of a server that no longer answers while a request waits for it, as after a network
//! cut. A slow server answers its readiness probe and is waited for: the request is not sent
//! elsewhere, because the work would be paid for twice.

use std::time::Duration;

use reqwest::Url;
use tokio::time::sleep;

use crate::Error;
use crate::call::Call;

/// The times of the probes. With one server there are none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    /// The wait before each probe.
    pub(crate) every: Duration,
    /// The longest wait for an answer.
    pub(crate) patience: Duration,
    /// The probes in a row without an answer after which the server counts as gone.
    pub(crate) misses: u32,
}

impl Default for Probe {
    fn default() -> Self {
        Self { every: Duration::from_secs(5), patience: Duration::from_secs(5), misses: 3 }
    }
}

impl Probe {
    /// Returns when the server at `base` no longer answers. Any HTTP reply is an answer: a server
    /// that drains is not ready, and finishes what it has begun.
    pub(crate) async fn silence(&self, http: &reqwest::Client, base: &Url) -> Error {
        let call = Call::get(base, &["readyz"]);
        let mut misses = 0;
        loop {
            sleep(self.every).await;
            match call.probe(http, self.patience).await {
                Ok(()) => misses = 0,
                Err(error) => {
                    misses += 1;
                    if misses >= self.misses {
                        return error;
                    }
                }
            }
        }
    }
}
