//! The progress bar of a run, and how it stops.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::commands::signals::{StopRules, StopSignal};

/// Longest time that work of a stopped run may take to end.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// Longest time that requests under way may take after a signal.
pub(super) const DRAIN: Duration = Duration::from_secs(30);

/// A second signal ends the run, also one that waits for a reader of its results.
pub(super) const STOP: StopRules = StopRules {
    notice: Some("stopping: finishing the requests under way; a second signal stops at once"),
    grace: LINGER.saturating_mul(2),
    holds_hangup: false,
    status: StopSignal::exit_code,
};

pub(super) fn progress(rollouts: usize, done: usize) -> ProgressBar {
    let progress = ProgressBar::new(rollouts as u64).with_position(done as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:32} {pos}/{len} rollouts  {per_sec}  {eta} left")
    {
        progress.set_style(style);
    }
    if io::stderr().is_terminal() {
        progress.enable_steady_tick(Duration::from_millis(200));
    }
    progress
}
