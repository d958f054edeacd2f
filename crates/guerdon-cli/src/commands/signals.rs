//! The signals of `guerdon serve`, on a thread of their own: they work before the sources are
//! loaded, and when every other thread is busy or hangs.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

/// Time beyond the drain time after which the process ends in any case.
const EXTRA: Duration = Duration::from_secs(2);

/// Time before the forced end at which an orderly stop should be over.
const MARGIN: Duration = Duration::from_millis(500);

/// The stop signals, and the end that they force.
#[derive(Debug)]
pub(super) struct ProcessSignals {
    stopping: watch::Receiver<bool>,
    end: Arc<Mutex<ForcedEnd>>,
}

/// The time and the exit code of a forced end.
#[derive(Debug)]
struct ForcedEnd {
    after: Duration,
    /// Set when everything that was taken was answered, or nothing was taken.
    answered: bool,
}

impl ProcessSignals {
    /// Starts to receive SIGTERM, SIGINT and SIGHUP. SIGHUP no longer ends the process; the server
    /// receives it for itself once it is started.
    ///
    /// # Errors
    /// The signals cannot be received.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let (stop, stopping) = watch::channel(false);
        let end = Arc::new(Mutex::new(ForcedEnd { after: EXTRA, answered: true }));
        let (ready, started) = mpsc::channel();
        let own_end = Arc::clone(&end);
        std::thread::Builder::new()
            .name("guerdon-signals".to_owned())
            .spawn(move || receive(&stop, &own_end, &ready))
            .context("cannot start the thread that receives signals")?;
        started.recv().context("the thread that receives signals has ended")??;
        Ok(Self { stopping, end })
    }

    /// Waits for the first SIGTERM or SIGINT.
    pub(super) async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // The sender lives as long as the process.
        drop(stopping.wait_for(|stopping| *stopping).await);
    }

    /// From now on requests are taken, and a stop has `drain` for them.
    pub(super) fn serving(&self, drain: Duration) {
        *self.end.lock() = ForcedEnd { after: drain.saturating_add(EXTRA), answered: false };
    }

    /// The time that is left for an orderly stop.
    pub(super) fn time_to_stop(&self) -> Duration {
        self.end.lock().after.saturating_sub(MARGIN)
    }

    /// Everything that was taken was answered: a forced end from now on is a success.
    pub(super) fn answered(&self) {
        self.end.lock().answered = true;
    }
}

/// Receives signals until the process ends.
fn receive(
    stop: &watch::Sender<bool>,
    end: &Mutex<ForcedEnd>,
    ready: &mpsc::Sender<anyhow::Result<()>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime.context("cannot start the runtime that receives signals") {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    runtime.block_on(async {
        let handlers = async {
            Ok(SignalHandlers {
                terminate: handler(SignalKind::terminate(), "SIGTERM")?,
                interrupt: handler(SignalKind::interrupt(), "SIGINT")?,
                _hangup: handler(SignalKind::hangup(), "SIGHUP")?,
            })
        };
        let mut handlers = match handlers.await {
            Ok(handlers) => handlers,
            Err(error) => return drop(ready.send(Err(error))),
        };
        drop(ready.send(Ok(())));
        handlers.stop_signal().await;
        let asked = Instant::now();
        stop.send_replace(true);
        loop {
            // The time is known only once the configuration is loaded, so it is read again.
            let after = end.lock().after;
            tokio::select! {
                () = handlers.stop_signal() => {
                    tracing::warn!("second stop signal: aborting unfinished requests");
                    exit(false);
                }
                () = tokio::time::sleep_until(asked + after.min(asked.elapsed() + EXTRA)) => {}
            }
            let ForcedEnd { after, answered } = *end.lock();
            if asked.elapsed() >= after {
                tracing::warn!(?after, answered, "the stop takes too long: the process ends now");
                exit(answered);
            }
        }
    });
}

/// The handlers of the signals.
struct SignalHandlers {
    terminate: Signal,
    interrupt: Signal,
    /// Keeps SIGHUP from ending the process.
    _hangup: Signal,
}

fn handler(kind: SignalKind, name: &str) -> anyhow::Result<Signal> {
    signal(kind).with_context(|| format!("cannot receive {name}"))
}

impl SignalHandlers {
    async fn stop_signal(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ends the process. Other threads may hang, so no destructor is waited for.
#[expect(clippy::disallowed_methods, reason = "`main` may be what hangs")]
fn exit(answered: bool) {
    std::process::exit(i32::from(!answered));
}

/// The exit code of a stop.
pub(super) fn exit_code(answered: bool) -> ExitCode {
    if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
