//! The stop signals of `guerdon serve` and `guerdon score`, on a thread of their own: they work
//! before the sources are loaded, and when every other thread is busy or hangs.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::output::errln;

/// Time beyond the drain time after which the process ends in any case.
const EXTRA: Duration = Duration::from_secs(2);

/// Time before the forced end at which an orderly stop should be over.
const MARGIN: Duration = Duration::from_millis(500);

/// A signal that asks for a stop.
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

/// The rules by which one command stops.
#[derive(Debug, Clone, Copy)]
pub(super) struct StopRules {
    /// Printed on standard error at the first signal.
    pub(super) notice: Option<&'static str>,
    /// Time after the second signal, or after the time of an orderly stop, before the process ends.
    pub(super) grace: Duration,
    /// Keeps SIGHUP from ending the process.
    pub(super) holds_hangup: bool,
    /// The exit status of a forced end that leaves work undone, by the first signal.
    pub(super) status: fn(StopSignal) -> u8,
}

/// The signals so far.
#[derive(Debug, Clone, Copy, Default)]
struct ReceivedSignals {
    first: Option<StopSignal>,
    /// Set by the second signal, and when the time of an orderly stop is over.
    is_urgent: bool,
}

/// The stop signals, and the end that they force.
#[derive(Debug)]
pub(super) struct ProcessSignals {
    received: watch::Receiver<ReceivedSignals>,
    end: Arc<Mutex<ForcedEnd>>,
}

/// The time and the exit status of a forced end.
#[derive(Debug)]
struct ForcedEnd {
    after: Duration,
    /// Set when everything that was taken was answered, or nothing was taken.
    answered: bool,
}

impl ProcessSignals {
    /// Starts to receive SIGTERM and SIGINT, and SIGHUP if it is held: `guerdon serve` receives it
    /// for itself once it is started.
    ///
    /// # Errors
    /// The signals cannot be received.
    pub(super) fn listen(rules: StopRules) -> anyhow::Result<Self> {
        let (sender, received) = watch::channel(ReceivedSignals::default());
        let end = Arc::new(Mutex::new(ForcedEnd { after: EXTRA, answered: true }));
        let (ready, started) = mpsc::channel();
        let watcher = SignalWatcher { rules, sender, end: Arc::clone(&end) };
        std::thread::Builder::new()
            .name("guerdon-signals".to_owned())
            .spawn(move || watcher.run(&ready))
            .context("cannot start the thread that receives signals")?;
        started.recv().context("the thread that receives signals has ended")??;
        Ok(Self { received, end })
    }

    /// Waits for the first SIGTERM or SIGINT.
    pub(super) async fn stopped(&self) {
        self.reached(|received| received.first.is_some()).await;
    }

    /// Waits until an orderly stop has no more time.
    pub(super) async fn urgent(&self) {
        self.reached(|received| received.is_urgent).await;
    }

    async fn reached(&self, is_reached: impl FnMut(&ReceivedSignals) -> bool) {
        // The sender lives as long as the process.
        drop(self.received.clone().wait_for(is_reached).await);
    }

    /// The first signal, if there was one.
    pub(super) fn first(&self) -> Option<StopSignal> {
        self.received.borrow().first
    }

    /// Records that a forced end would now lose work, and gives an orderly stop `drain` for this
    /// work.
    pub(super) fn working(&self, drain: Duration) {
        *self.end.lock() = ForcedEnd { after: drain.saturating_add(EXTRA), answered: false };
    }

    /// The time that is left for an orderly stop.
    pub(super) fn time_to_stop(&self) -> Duration {
        self.end.lock().after.saturating_sub(MARGIN)
    }

    /// Records that every accepted request was answered: a forced end from now on is a success.
    pub(super) fn answered(&self) {
        self.end.lock().answered = true;
    }
}

/// The thread that receives the signals.
struct SignalWatcher {
    rules: StopRules,
    sender: watch::Sender<ReceivedSignals>,
    end: Arc<Mutex<ForcedEnd>>,
}

impl SignalWatcher {
    /// Receives signals until the process ends.
    fn run(&self, ready: &mpsc::Sender<anyhow::Result<()>>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime.context("cannot start the runtime that receives signals") {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(error))),
        };
        runtime.block_on(async {
            let mut handlers = match SignalHandlers::new(self.rules.holds_hangup) {
                Ok(handlers) => handlers,
                Err(error) => return drop(ready.send(Err(error))),
            };
            drop(ready.send(Ok(())));
            let first = handlers.stop_signal().await;
            let asked = Instant::now();
            if let Some(notice) = self.rules.notice {
                // Not on this thread: standard error may be a pipe that is full.
                drop(std::thread::Builder::new().spawn(move || errln!("{notice}")));
            }
            self.sender.send_modify(|received| received.first = Some(first));
            let answered = self.forced_end(&mut handlers, asked).await;
            self.sender.send_modify(|received| received.is_urgent = true);
            tokio::time::sleep(self.rules.grace).await;
            exit(if answered { 0 } else { (self.rules.status)(first) });
        });
    }

    /// Waits for the second signal or the end of the time. Returns whether nothing is lost then.
    async fn forced_end(&self, handlers: &mut SignalHandlers, asked: Instant) -> bool {
        loop {
            // The time is known only once the configuration is loaded, so it is read again.
            let after = self.end.lock().after;
            tokio::select! {
                _ = handlers.stop_signal() => {
                    tracing::warn!("second stop signal: aborting unfinished requests");
                    return false;
                }
                () = tokio::time::sleep_until(asked + after.min(asked.elapsed() + EXTRA)) => {}
            }
            let ForcedEnd { after, answered } = *self.end.lock();
            if asked.elapsed() >= after {
                tracing::warn!(?after, answered, "the stop takes too long: the process ends now");
                return answered;
            }
        }
    }
}

/// The handlers of the signals.
struct SignalHandlers {
    terminate: Signal,
    interrupt: Signal,
    _hangup: Option<Signal>,
}

fn handler(kind: SignalKind, name: &str) -> anyhow::Result<Signal> {
    signal(kind).with_context(|| format!("cannot receive {name}"))
}

impl SignalHandlers {
    fn new(holds_hangup: bool) -> anyhow::Result<Self> {
        let hangup = holds_hangup.then(|| handler(SignalKind::hangup(), "SIGHUP"));
        Ok(Self {
            terminate: handler(SignalKind::terminate(), "SIGTERM")?,
            interrupt: handler(SignalKind::interrupt(), "SIGINT")?,
            _hangup: hangup.transpose()?,
        })
    }

    async fn stop_signal(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.terminate.recv() => StopSignal::Terminate,
            _ = self.interrupt.recv() => StopSignal::Interrupt,
        }
    }
}

/// Ends the process. Other threads may hang, so no destructor is waited for.
#[expect(clippy::disallowed_methods, reason = "`main` may be what hangs")]
fn exit(status: u8) {
    std::process::exit(i32::from(status));
}

/// The exit code of a stop.
pub(super) fn exit_code(answered: bool) -> ExitCode {
    if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
