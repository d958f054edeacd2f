//! File system events for the folders of configuration, packs and prompts. Watches are re-armed
//! when a folder is replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::watch::trigger::Trigger;

/// Watches the folders of the files that were read, and the parents of these folders.
///
/// Files are not watched directly, because a watch on a file ends with its inode: editors replace
/// files, and Kubernetes swaps a symlink in the same folder. A watch on a folder ends in the same
/// way when the folder is replaced (`mv`, `git checkout`, a swapped symlink). The parent's watch
/// reports the replacement, and [`FolderWatch::arm`] watches the new folder.
#[derive(Debug)]
pub(crate) struct FolderWatch {
    /// `None` if the platform has no file events. The reload task's poll still finds edits.
    watcher: Option<RecommendedWatcher>,
    /// The folders that are watched, by resolved path, each with its identity when it was armed.
    armed: BTreeMap<PathBuf, FolderId>,
    /// The folders that could not be watched. Each is logged once.
    failed: BTreeSet<PathBuf>,
    filter: Arc<Mutex<EventFilter>>,
}

/// Identity of a folder: device and inode.
type FolderId = (u64, u64);

/// Filter of events by path. A folder's parent is often busy (`/tmp`, a home directory), and most
/// of its events are about other entries.
#[derive(Debug, Default)]
struct EventFilter {
    /// Resolved folders. Events of all their entries are relevant.
    folders: BTreeSet<PathBuf>,
    /// The folders' own paths in their resolved parents.
    entries: BTreeSet<PathBuf>,
}

impl EventFilter {
    fn accepts(&self, event: &Event) -> bool {
        // An overflow of the event queue has no path.
        event.paths.is_empty()
            || event.paths.iter().any(|path| {
                self.folders.contains(path)
                    || self.entries.contains(path)
                    || path.parent().is_some_and(|parent| self.folders.contains(parent))
            })
    }
}

impl FolderWatch {
    /// Creates a watch that sends [`Trigger::Changed`] to `triggers` for each relevant event.
    /// Nothing is watched before the first call of [`FolderWatch::arm`].
    pub(crate) fn new(triggers: mpsc::Sender<Trigger>) -> Self {
        let filter = Arc::<Mutex<EventFilter>>::default();
        let event_filter = Arc::clone(&filter);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let relevant = match &event {
                Ok(event) => {
                    !matches!(event.kind, EventKind::Access(_))
                        && event_filter.lock().accepts(event)
                }
                Err(_) => true,
            };
            if relevant {
                // A full queue means that a reload is due anyway.
                drop(triggers.try_send(Trigger::Changed));
            }
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(%error, "file events are not available; files are polled instead");
            })
            .ok();
        Self { watcher, armed: BTreeMap::new(), failed: BTreeSet::new(), filter }
    }

    /// A watch that reports no events, as on a file system without them.
    #[cfg(test)]
    pub(crate) fn without_events() -> Self {
        Self {
            watcher: None,
            armed: BTreeMap::new(),
            failed: BTreeSet::new(),
            filter: Arc::default(),
        }
    }

    /// Re-arms every watch: resolves the folders of `files` again and watches them. Returns true if
    /// a folder is watched that was not watched before.
    pub(crate) fn arm(&mut self, files: &[PathBuf]) -> bool {
        let (wanted, filter) = folders(files);
        *self.filter.lock() = filter;
        let Some(watcher) = &mut self.watcher else { return false };
        // Also for unchanged folders, because an event that is still queued may have removed their
        // watch.
        for folder in self.armed.keys() {
            // An error means that the watch no longer exists.
            drop(watcher.unwatch(folder));
        }
        let mut failed = BTreeSet::new();
        for folder in wanted.keys() {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                if !self.failed.contains(folder) {
                    tracing::warn!(
                        folder = %folder.display(), %error,
                        "folder events are not available; its files are polled instead"
                    );
                }
                failed.insert(folder.clone());
            }
        }
        let new_folders = wanted.iter().any(|(path, id)| self.armed.get(path) != Some(id));
        (self.armed, self.failed) = (wanted, failed);
        new_folders
    }

    /// Re-arms every watch if a folder was replaced, created or removed since the last call.
    pub(crate) fn arm_if_replaced(&mut self, files: &[PathBuf]) -> bool {
        folders(files).0 != self.armed && self.arm(files)
    }
}

/// The resolved folders of `files` and their parents, and the filter for their events.
fn folders(files: &[PathBuf]) -> (BTreeMap<PathBuf, FolderId>, EventFilter) {
    let named: BTreeSet<PathBuf> = files.iter().map(|file| folder_of(file)).collect();
    let (mut wanted, mut filter) = (BTreeMap::new(), EventFilter::default());
    for folder in named {
        if let Some((path, id)) = resolve(&folder) {
            filter.folders.insert(path.clone());
            wanted.insert(path, id);
        }
        let Some(name) = folder.file_name() else { continue };
        if let Some((parent, id)) = resolve(parent_of(&folder)) {
            filter.entries.insert(parent.join(name));
            wanted.insert(parent, id);
        }
    }
    (wanted, filter)
}

fn resolve(folder: &Path) -> Option<(PathBuf, FolderId)> {
    let path = std::fs::canonicalize(folder).ok()?;
    let id = identity(&path)?;
    Some((path, id))
}

fn identity(path: &Path) -> Option<FolderId> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn folder_of(file: &Path) -> PathBuf {
    if file.is_dir() { file.to_owned() } else { parent_of(file).to_owned() }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
