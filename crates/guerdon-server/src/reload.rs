//! The second, shorter walk: the watcher, SIGHUP and `POST /v1/reload` feed one channel; one task lets files settle, then
//! loads all of them at once. What is broken changes nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

/// A reason to reload.
#[derive(Debug)]
pub(crate) enum Trigger {
    /// Something changed in a watched folder. Loaded only if a file that was read really differs.
    Changed,
    /// SIGHUP.
    Hangup,
    /// `POST /v1/reload`; answered with the new generation or the report.
    Asked(oneshot::Sender<Result<u64, String>>),
}

/// How many triggers may wait: a full queue means that a reload is coming anyway.
const QUEUE: usize = 64;

/// What watches, from the moment it is made: before the server says that it is ready, so that no edit is missed.
#[derive(Debug)]
pub(crate) struct Reloader {
    engine: Arc<Engine>,
    watch: Watch,
    triggers: mpsc::Receiver<Trigger>,
    quiet: Duration,
}

impl Reloader {
    pub(crate) fn new(engine: Arc<Engine>) -> (Self, mpsc::Sender<Trigger>) {
        let (sender, triggers) = mpsc::channel(QUEUE);
        let config = engine.live().config.reload.clone();
        let mut watch = Watch::new(config.watch, sender.clone());
        watch.follow(&engine);
        (Self { engine, watch, triggers, quiet: config.debounce }, sender)
    }
}

/// Reloads until `stop`.
pub(crate) async fn run(reloader: Reloader, stop: CancellationToken) {
    let Reloader { engine, mut watch, mut triggers, quiet } = reloader;
    loop {
        let trigger = tokio::select! {
            () = stop.cancelled() => return,
            trigger = triggers.recv() => trigger,
        };
        let Some(first) = trigger else { return };
        let gathered = gather(first, &mut triggers, quiet).await;
        let asked = gathered.iter().any(|trigger| !matches!(trigger, Trigger::Changed));
        // A broken file is not tried again until it changes.
        if !asked && !engine.has_news() {
            continue;
        }
        let reloading = Arc::clone(&engine);
        let outcome = tokio::task::spawn_blocking(move || {
            reloading.reload().map_err(|error| error.to_string())
        })
        .await;
        let outcome = outcome
            .unwrap_or_else(|_| Err("the reload itself failed; the server's log has more".into()));
        watch.follow(&engine);
        for trigger in gathered {
            if let Trigger::Asked(answer) = trigger {
                // Whoever asked may have hung up; the reload stands.
                drop(answer.send(outcome.clone()));
            }
        }
    }
}

/// Waits until no change has come for `quiet`, so that an editor's several steps and a commit's several files are one
/// load. A request to reload ends the wait: somebody is waiting for the answer.
async fn gather(
    first: Trigger,
    triggers: &mut mpsc::Receiver<Trigger>,
    quiet: Duration,
) -> Vec<Trigger> {
    let mut gathered = vec![first];
    // Something that writes on and on beside the configuration must not put a reload off for ever.
    let patience = tokio::time::Instant::now() + quiet * 10;
    while tokio::time::Instant::now() < patience
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

/// Watches the folders of the files that were read, never the files: editors replace files, and Kubernetes swaps a
/// symlink beside them, and a watch on a file dies with its inode.
#[derive(Debug)]
struct Watch {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    sender: mpsc::Sender<Trigger>,
}

impl Watch {
    fn new(wanted: bool, sender: mpsc::Sender<Trigger>) -> Self {
        let changed = sender.clone();
        let watcher = wanted.then(|| {
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
                    // Full means that a reload is coming anyway.
                    drop(changed.try_send(Trigger::Changed));
                }
            })
        });
        let watcher = watcher.and_then(|made| {
            made.inspect_err(
                |error| tracing::warn!(%error, "Files cannot be watched; SIGHUP and POST /v1/reload work."),
            )
            .ok()
        });
        Self { watcher, folders: BTreeSet::new(), sender }
    }

    /// Watches the folders of what serves and of what was tried last. A folder that is watched only now may have changed since
    /// it was read, so that counts as a change.
    fn follow(&mut self, engine: &Engine) {
        if let Some(watcher) = &mut self.watcher {
            let folders: BTreeSet<PathBuf> =
                engine.files().iter().map(|file| folder_of(file)).collect();
            for gone in self.folders.difference(&folders) {
                drop(watcher.unwatch(gone));
            }
            for new in folders.difference(&self.folders) {
                if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                    tracing::warn!(folder = %new.display(), %error, "A folder cannot be watched.");
                }
                drop(self.sender.try_send(Trigger::Changed));
            }
            self.folders = folders;
        }
    }
}

fn folder_of(file: &Path) -> PathBuf {
    if file.is_dir() {
        return file.to_owned();
    }
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_changes_is_one_reload() {
        let (send, mut receive) = mpsc::channel(QUEUE);
        for _ in 0..5 {
            send.send(Trigger::Changed).await.unwrap();
        }
        let first = receive.recv().await.unwrap();
        assert_eq!(gather(first, &mut receive, Duration::from_millis(200)).await.len(), 1);
        assert!(receive.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_who_asks_does_not_wait_for_quiet() {
        let (_send, mut receive) = mpsc::channel(QUEUE);
        let started = tokio::time::Instant::now();
        gather(Trigger::Hangup, &mut receive, Duration::from_secs(60)).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
