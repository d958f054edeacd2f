//! Reload task: collects triggers (file events, a slow poll, SIGHUP, `POST /v1/reload`), waits
//! until the files are quiet, then reloads all of them at once. A failed reload changes nothing.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::watch::folder_watch::FolderWatch;
use crate::watch::trigger::Trigger;

/// Capacity of the trigger queue. A full queue means that a reload is due anyway, so further
/// triggers are dropped.
const QUEUE: usize = 64;

/// Interval at which the files are compared with the last load. Finds edits that cause no event, as
/// on network file systems, on bind mounts, or if a folder is replaced between two events.
const POLL: Duration = Duration::from_secs(1);

/// The reload task before it runs. Folders are watched from its construction, before the server
/// reports ready, so that no edit is missed.
#[derive(Debug)]
pub(crate) struct Reloader {
    engine: Arc<Engine>,
    /// `None` if `reload.watch` is off.
    watch: Option<Arc<Mutex<FolderWatch>>>,
    triggers: mpsc::Receiver<Trigger>,
    quiet: Duration,
}

impl Reloader {
    pub(crate) fn new(engine: Arc<Engine>) -> (Self, mpsc::Sender<Trigger>) {
        let (sender, triggers) = mpsc::channel(QUEUE);
        let config = engine.snapshot().config.reload.clone();
        let watch = config.watch.then(|| {
            let mut watch = FolderWatch::new(sender.clone());
            watch.arm(&engine.files());
            Arc::new(Mutex::new(watch))
        });
        (Self { engine, watch, triggers, quiet: config.debounce }, sender)
    }

    /// Re-arms the folder watches and compares the files with the last load. `always` re-arms every
    /// watch; otherwise only if a folder was replaced.
    async fn check_files(&self, always: bool) -> Changes {
        let Some(watch) = &self.watch else { return Changes::default() };
        let (watch, engine) = (Arc::clone(watch), Arc::clone(&self.engine));
        let check = tokio::task::spawn_blocking(move || {
            let files = engine.files();
            // Watches are armed before the files are compared, so that no edit in between is
            // missed.
            let new_folders = {
                let mut watch = watch.lock();
                if always { watch.arm(&files) } else { watch.arm_if_replaced(&files) }
            };
            Changes { new_folders, files_changed: engine.files_changed() }
        });
        check.await.unwrap_or_else(|error| {
            tracing::error!(%error, "checking the watched files panicked");
            Changes::default()
        })
    }
}

/// Result of one check of the watched files.
#[derive(Debug, Default)]
struct Changes {
    /// Set when a folder is watched that was not watched before.
    new_folders: bool,
    /// Set when the files differ from the last load.
    files_changed: bool,
}

/// Reloads until `stop`.
pub(crate) async fn run(mut reloader: Reloader, stop: CancellationToken) {
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pending = None;
    loop {
        let first = match pending.take() {
            Some(trigger) => trigger,
            None => tokio::select! {
                () = stop.cancelled() => return,
                trigger = reloader.triggers.recv() => match trigger {
                    Some(trigger) => trigger,
                    None => return,
                },
                _ = poll.tick(), if reloader.watch.is_some() => {
                    if !reloader.check_files(false).await.files_changed {
                        continue;
                    }
                    Trigger::Changed
                }
            },
        };
        let gathered = gather(first, &mut reloader.triggers, reloader.quiet).await;
        let requested = gathered.iter().any(|trigger| !matches!(trigger, Trigger::Changed));
        // The event may be the replacement of a folder, which removes its watch, so every watch is
        // armed again. A broken file is not loaded again until it changes.
        let changes = reloader.check_files(true).await;
        if !requested && !changes.files_changed {
            continue;
        }
        let engine = Arc::clone(&reloader.engine);
        let outcome =
            tokio::task::spawn_blocking(move || engine.reload().map_err(|error| error.to_string()))
                .await;
        let outcome =
            outcome.unwrap_or_else(|_| Err("the reload panicked; see the server's log".into()));
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
        reloader.watch = Some(Arc::new(Mutex::new(FolderWatch::without_events())));
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
