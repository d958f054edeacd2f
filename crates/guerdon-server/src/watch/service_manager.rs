//! Reports to the service manager, as `Type=notify` of a systemd unit expects them: ready, reloading
//! and stopping. Without `NOTIFY_SOCKET` in the environment nothing is sent.

use sd_notify::NotifyState;

/// The longest text about a reload, in characters.
const MAX_STATUS_CHARS: usize = 200;

/// Reports that the server scores requests, by the configuration of `generation`.
pub(crate) fn ready(generation: u64) {
    let status = format!("serving generation {generation}");
    send(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Reports the beginning of a reload. The server still serves.
pub(crate) fn reloading() {
    // The time is that of `Type=notify-reload`.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// Reports the end of a reload: the generation that serves now, or the reason why the earlier one
/// does.
pub(crate) fn reloaded(outcome: &Result<u64, String>) {
    match outcome {
        Ok(generation) => ready(*generation),
        Err(reason) => {
            // A status is one line.
            let reason = reason.lines().next().unwrap_or_default();
            let reason = guerdon_text::cut(reason, MAX_STATUS_CHARS);
            let status = format!("the reload failed, the earlier generation serves: {reason}");
            send(&[NotifyState::Ready, NotifyState::Status(&status)]);
        }
    }
}

/// Reports that the server finishes its requests and ends.
pub(crate) fn stopping() {
    send(&[NotifyState::Stopping]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager (NOTIFY_SOCKET) cannot be reached");
    }
}
