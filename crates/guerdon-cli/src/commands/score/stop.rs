//! SIGINT and SIGTERM: the first finishes the requests under way, the second stops at once.

use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::output::errln;

/// Longest time that requests under way may take after a signal.
const DRAIN: Duration = Duration::from_secs(30);

/// A signal that asked for the stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopSignal {
    Interrupt,
    Terminate,
}

impl StopSignal {
    /// The exit status: 128 and the number of the signal, as shells report it.
    pub(super) const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// The handlers of both signals.
pub(super) struct CommandSignals {
    interrupt: Signal,
    terminate: Signal,
    /// The first signal.
    pub(super) received: Option<StopSignal>,
}

impl CommandSignals {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot receive SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot receive SIGTERM")?,
            received: None,
        })
    }

    /// Cancels `stop` at the first signal. Returns at the second one, or when [`DRAIN`] has passed.
    pub(super) async fn watch(&mut self, stop: &CancellationToken) {
        self.received = Some(self.next().await);
        stop.cancel();
        errln!("stopping: finishing the requests under way; a second signal stops at once");
        // Both end the wait, and so does the time.
        drop(tokio::time::timeout(DRAIN, self.next()).await);
    }

    async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.interrupt.recv() => StopSignal::Interrupt,
            _ = self.terminate.recv() => StopSignal::Terminate,
        }
    }
}
