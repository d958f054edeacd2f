//! The faults of a round, from its random numbers.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

/// The end of a round's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// SIGKILL while clients are served.
    Kill,
    /// SIGTERM or SIGINT while clients are served.
    Stop(&'static str),
    /// SIGTERM after the last client.
    QuietStop,
}

/// The faults of a round.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) end: End,
    /// Milliseconds from the first request to the end.
    pub(crate) after_ms: u64,
    /// Bytes that the process may write to a file beyond the size of the judge's log.
    pub(crate) disk: Option<u64>,
    /// File descriptors that the process may open.
    pub(crate) descriptors: Option<u32>,
    /// Connections that send half a request, or do not read their reply.
    pub(crate) slow_clients: usize,
    /// Packs are swapped, broken and reloaded.
    pub(crate) reloads: bool,
    /// Clients that leave before their reply.
    pub(crate) leaving: usize,
    pub(crate) clients: usize,
    /// The judge fails some calls.
    pub(crate) judge_fails: bool,
}

impl Plan {
    pub(crate) fn random(random: &mut StdRng) -> Self {
        let ends = [
            End::Kill,
            End::Kill,
            End::Stop("TERM"),
            End::Stop("TERM"),
            End::Stop("INT"),
            End::QuietStop,
        ];
        let some = |random: &mut StdRng, odds: f64| random.random_bool(odds);
        Self {
            end: *ends.choose(random).unwrap(),
            after_ms: random.random_range(20..500),
            disk: some(random, 0.2).then(|| random.random_range(0..8_192)),
            descriptors: some(random, 0.2).then(|| random.random_range(28..64)),
            slow_clients: if some(random, 0.4) { random.random_range(1..24) } else { 0 },
            reloads: some(random, 0.6),
            leaving: if some(random, 0.4) { random.random_range(1..6) } else { 0 },
            clients: random.random_range(2..5),
            judge_fails: some(random, 0.2),
        }
    }

    /// Commands of a shell that set the limits. `log_bytes` is the size of the judge's log.
    pub(crate) fn limits(&self, log_bytes: u64) -> String {
        let mut limits = Vec::new();
        if let Some(bytes) = self.disk {
            // The unit is 512 bytes. Without the trap, a write beyond the limit ends the process.
            limits
                .push(format!("trap '' XFSZ; ulimit -f {}", (log_bytes.max(16_384) + bytes) / 512));
        }
        if let Some(count) = self.descriptors {
            limits.push(format!("ulimit -n {count}"));
        }
        limits.join("; ")
    }

    /// The names of the faults.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let end = match self.end {
            End::Kill => "kill -9",
            End::Stop(_) => "stop under load",
            End::QuietStop => "stop at rest",
        };
        let named = [
            (self.disk.is_some(), "disk full"),
            (self.descriptors.is_some(), "few descriptors"),
            (self.slow_clients > 0, "slow clients"),
            (self.reloads, "reload storm"),
            (self.leaving > 0, "leaving clients"),
            (self.judge_fails, "failing judge"),
        ];
        let more = named.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name);
        [end].into_iter().chain(more).collect()
    }
}
