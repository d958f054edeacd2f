//! Reload task: collects triggers (file events, a slow poll, SIGHUP, `POST /v1/reload`), waits
//! until the files are quiet, then reloads all of them at once. A failed reload changes nothing.
//! Rollbacks and promotions are carried out here too, one at a time. Everything that reads files
//! runs on threads of its own, so that neither a busy nor a hung file system holds up scoring.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Interval;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::error::LoadError;
use crate::load::disk_calls::{DiskCalls, DiskError, DiskThreads};
use crate::load::own_thread::on_own_thread;
use crate::watch::folder_watch::FolderWatch;
use crate::watch::service_manager;
use crate::watch::trigger::Trigger;

/// Capacity of the trigger queue. A full queue means that a reload is due anyway, so further
/// triggers are dropped.
const QUEUE: usize = 64;

/// Interval at which the files are compared with the last load. Finds edits that cause no event, as
/// on network file systems, on bind mounts, or if a folder is replaced between two events.
const POLL: Duration = Duration::from_secs(1);

/// Time without polls and without reloads on changes after a file system did not answer.
const PAUSE: Duration = Duration::from_secs(30);

/// Number of hung checks or loads at which files are no longer checked, so that requested reloads
/// keep threads of their own.
const MAX_HUNG_CHECKS: usize = 3;

/// The reload task before it runs. Folders are watched from its construction, before the server
/// reports ready, so that no edit is missed.
#[derive(Debug)]
pub(crate) struct Reloader {
    engine: Arc<Engine>,
    /// `None` if `reload.watch` is off.
    check: Option<FileCheck>,
    triggers: mpsc::Receiver<Trigger>,
    quiet: Duration,
}

/// Checks of the watched files.
#[derive(Debug)]
struct FileCheck {
    watch: Arc<Mutex<FolderWatch>>,
    threads: Arc<DiskThreads>,
    sender: mpsc::Sender<Trigger>,
    /// The end of a pause after a hung call.
    paused_until: Option<Instant>,
}

/// Result of one check of the watched files.
#[derive(Debug, Default)]
struct Changes {
    /// Set when a folder is watched that was not watched before.
    new_folders: bool,
    /// Set when the files differ from the last load.
    files_changed: bool,
}

impl FileCheck {
    fn new(watch: FolderWatch, sender: mpsc::Sender<Trigger>) -> Self {
        let threads = Arc::new(DiskThreads::new(MAX_HUNG_CHECKS));
        Self { watch: Arc::new(Mutex::new(watch)), threads, sender, paused_until: None }
    }

    /// Re-arms the folder watches and compares the files with the last load. `always` re-arms every
    /// watch; otherwise only if a folder was replaced.
    async fn run(&mut self, engine: &Arc<Engine>, always: bool) -> Changes {
        if self.paused_until.is_some_and(|end| Instant::now() < end) {
            return Changes::default();
        }
        let (watch, engine) = (Arc::clone(&self.watch), Arc::clone(engine));
        let check = move |calls: &DiskCalls| {
            let files = engine.files();
            // Watches are armed before the files are compared, so that no edit in between is
            // missed.
            let armed = calls.during(Path::new("the watched folders"), || {
                let mut watch = watch.lock();
                Ok(if always { watch.arm(&files) } else { watch.arm_if_replaced(&files) })
            });
            let new_folders = armed.unwrap_or_default();
            Changes { new_folders, files_changed: engine.files_changed(calls) }
        };
        let threads = Arc::clone(&self.threads);
        let checked = on_own_thread("guerdon-watch", move || threads.run("guerdon-files", check));
        match checked.await {
            Some(Ok(changes)) => changes,
            Some(Err(DiskError::Failed)) | None => {
                tracing::error!("checking the watched files failed");
                Changes::default()
            }
            Some(Err(DiskError::Hung(_) | DiskError::TooManyHung(_))) => {
                self.pause();
                // The old watch belongs to the thread that hangs.
                let sender = self.sender.clone();
                self.watch = Arc::new(Mutex::new(FolderWatch::new(sender)));
                Changes::default()
            }
        }
    }

    fn pause(&mut self) {
        tracing::warn!(pause = ?PAUSE, "files are not checked for a while; reload by request still works");
        self.paused_until = Instant::now().checked_add(PAUSE);
    }
}

impl Reloader {
    pub(crate) fn new(engine: Arc<Engine>) -> (Self, mpsc::Sender<Trigger>) {
        let (sender, triggers) = mpsc::channel(QUEUE);
        let config = engine.snapshot().config.reload.clone();
        let check = config.watch.then(|| {
            let mut watch = FolderWatch::new(sender.clone());
            watch.arm(&engine.files());
            FileCheck::new(watch, sender.clone())
        });
        (Self { engine, check, triggers, quiet: config.debounce }, sender)
    }

    async fn check_files(&mut self, always: bool) -> Changes {
        match &mut self.check {
            Some(check) => check.run(&self.engine, always).await,
            None => Changes::default(),
        }
    }

    /// Waits for a trigger, or for an edit that the poll finds. `None` if the server stops.
    async fn next_trigger(&mut self, poll: &mut Interval) -> Option<Trigger> {
        loop {
            tokio::select! {
                trigger = self.triggers.recv() => return trigger,
                _ = poll.tick(), if self.check.is_some() => {}
            }
            if self.check_files(false).await.files_changed {
                return Some(Trigger::Changed);
            }
        }
    }

    /// Reloads. `always`: also if no text changed.
    async fn reload(&mut self, always: bool) -> Result<u64, String> {
        let engine = Arc::clone(&self.engine);
        let load = move || match always {
            true => engine.reload(),
            false => engine
                .reload_changed()
                .map(|new| new.unwrap_or_else(|| engine.snapshot().generation)),
        };
        match on_own_thread("guerdon-reload", load).await {
            Some(Ok(generation)) => Ok(generation),
            Some(Err(error)) => {
                let hung = matches!(error, LoadError::Hung { .. } | LoadError::TooManyHung { .. });
                if let Some(check) = self.check.as_mut().filter(|_| hung) {
                    check.pause();
                }
                Err(error.to_string())
            }
            None => Err("the reload panicked; see the server's log".into()),
        }
    }

    /// Carries out the rollbacks and promotions among `triggers`. Returns the other triggers.
    async fn change_generation(&self, triggers: Vec<Trigger>) -> Vec<Trigger> {
        let mut others = Vec::new();
        for trigger in triggers {
            let engine = Arc::clone(&self.engine);
            // The caller may have disconnected; the change remains in effect.
            let work = move || match trigger {
                Trigger::RollBack(answer) => {
                    let _ = answer.send(engine.roll_back());
                    None
                }
                Trigger::Promote(answer) => {
                    let _ = answer.send(engine.promote());
                    None
                }
                other => Some(other),
            };
            others.extend(on_own_thread("guerdon-reload", work).await.flatten());
        }
        others
    }
}

/// Reloads until `stop`. A reload in progress is not waited for.
pub(crate) async fn run(reloader: Reloader, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = reload_on_triggers(reloader) => {}
    }
}

async fn reload_on_triggers(mut reloader: Reloader) {
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pending = None;
    loop {
        let first = match pending.take() {
            Some(trigger) => trigger,
            None => match reloader.next_trigger(&mut poll).await {
                Some(trigger) => trigger,
                None => return,
            },
        };
        let gathered = gather(first, &mut reloader.triggers, reloader.quiet).await;
        let gathered = reloader.change_generation(gathered).await;
        if gathered.is_empty() {
            continue;
        }
        let requested = gathered.iter().any(|trigger| !matches!(trigger, Trigger::Changed));
        // The event may be the replacement of a folder, which removes its watch, so every watch is
        // armed again. A broken file is not loaded again until it changes.
        let changes = reloader.check_files(true).await;
        if !requested && !changes.files_changed {
            continue;
        }
        service_manager::reloading();
        let outcome = reloader.reload(requested).await;
        service_manager::reloaded(&outcome);
        // A folder whose watch is new may have changed since it was read.
        let after = reloader.check_files(true).await;
        if after.new_folders && after.files_changed {
            pending = Some(Trigger::Changed);
        }
        for trigger in gathered {
            if let Trigger::Request(answer) = trigger {
                // The caller may have disconnected; the reload remains in effect.
                drop(answer.send(outcome.clone()));
            }
        }
    }
}

/// Collects triggers until no change has arrived for `quiet`, so that the steps of an editor or the
/// files of a commit cause one load. A request or SIGHUP ends the wait.
async fn gather(
    first: Trigger,
    triggers: &mut mpsc::Receiver<Trigger>,
    quiet: Duration,
) -> Vec<Trigger> {
    let mut gathered = vec![first];
    // A process that keeps writing to the folder must not postpone the reload indefinitely.
    let latest = tokio::time::Instant::now() + quiet * 10;
    while tokio::time::Instant::now() < latest
        && gathered.iter().all(|trigger| matches!(trigger, Trigger::Changed))
    {
        match tokio::time::timeout(quiet, triggers.recv()).await {
            Ok(Some(Trigger::Changed)) => {}
            Ok(Some(trigger)) => gathered.push(trigger),
            Ok(None) | Err(_) => break,
        }
    }
    while let Ok(trigger) = triggers.try_recv() {
        gathered.push(trigger);
    }
    gathered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigSource;

    #[tokio::test(start_paused = true)]
    async fn burst_of_changes_is_one_reload() {
        let (send, mut receive) = mpsc::channel(QUEUE);
        for _ in 0..5 {
            send.send(Trigger::Changed).await.unwrap();
        }
        let first = receive.recv().await.unwrap();
        assert_eq!(gather(first, &mut receive, Duration::from_millis(200)).await.len(), 1);
        assert!(receive.is_empty());
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a test writes its own files")]
    async fn poll_finds_an_edit_without_file_events() {
        let folder = tempfile::tempdir().unwrap();
        let (config, pack) = (folder.path().join("guerdon.toml"), folder.path().join("a.yaml"));
        let rules =
            "[profiles.p]\nrules = [\"a.yaml\"]\n[profiles.p.fusion]\nmethod = \"weighted_sum\"\n";
        let text = "pack: a\nabout: One.\nrules:\n  - { id: one, about: One., points: -1, match: { any_of: [x] } }\n";
        std::fs::write(&config, rules).unwrap();
        std::fs::write(&pack, text).unwrap();
        let environment = Arc::new(std::collections::BTreeMap::new());
        let source = ConfigSource { file: Some(config), environment, overrides: Vec::new() };
        let engine = Engine::load(source).unwrap();
        let (mut reloader, _triggers) = Reloader::new(Arc::clone(&engine));
        let (sender, _) = mpsc::channel(QUEUE);
        reloader.check = Some(FileCheck::new(FolderWatch::without_events(), sender));
        let stop = CancellationToken::new();
        let reloads = run(reloader, stop.clone());
        let edit = async {
            std::fs::write(&pack, text.replace("-1", "-2")).unwrap();
            while engine.snapshot().generation < 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            stop.cancel();
        };
        let both = async { tokio::join!(reloads, edit) };
        tokio::time::timeout(Duration::from_secs(20), both).await.expect("the edit is loaded");
    }

    #[tokio::test(start_paused = true)]
    async fn reload_by_request_does_not_wait_for_quiet() {
        let (_send, mut receive) = mpsc::channel(QUEUE);
        let started = tokio::time::Instant::now();
        gather(Trigger::Hangup, &mut receive, Duration::from_secs(60)).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
