//! File system events for the folders of configuration, packs and prompts, re-armed when a folder
//! is replaced.

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
/// Files are not watched themselves: editors replace files and Kubernetes swaps a symlink next to
/// them, and a watch on a file dies with its inode. A watch on a folder dies the same way when the
/// folder is replaced (`mv`, `git checkout`, a swapped symlink). The parent's watch sees that, and
/// [`FolderWatch::arm`] watches the folder that has the name now.
#[derive(Debug)]
pub(crate) struct FolderWatch {
    /// `None` if the platform offers no events; the caller's poll still finds edits.
    watcher: Option<RecommendedWatcher>,
    /// The folders that are watched, by resolved path, each with its identity when it was armed.
    armed: BTreeMap<PathBuf, FolderId>,
    /// The folders that could not be watched, so that the log has one warning for each.
    failed: BTreeSet<PathBuf>,
    scope: Arc<Mutex<Scope>>,
}

/// Identity of a folder: device and inode.
type FolderId = (u64, u64);

/// The paths whose events matter. A folder's parent is often busy (`/tmp`, a home directory) and
/// most of its events are about other entries.
#[derive(Debug, Default)]
struct Scope {
    /// Resolved folders: everything in them matters.
    folders: BTreeSet<PathBuf>,
    /// The folders' own entries in their resolved parents.
    entries: BTreeSet<PathBuf>,
}

impl Scope {
    fn contains(&self, event: &Event) -> bool {
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
    /// Sends [`Trigger::Changed`] to `triggers` for each event. Nothing is watched until
    /// [`FolderWatch::arm`].
    pub(crate) fn new(triggers: mpsc::Sender<Trigger>) -> Self {
        let scope = Arc::<Mutex<Scope>>::default();
        let within = Arc::clone(&scope);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let relevant = match &event {
                Ok(event) => {
                    !matches!(event.kind, EventKind::Access(_)) && within.lock().contains(event)
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
        Self { watcher, armed: BTreeMap::new(), failed: BTreeSet::new(), scope }
    }

    /// A watch that reports no events, as on a file system without them.
    #[cfg(test)]
    pub(crate) fn without_events() -> Self {
        Self {
            watcher: None,
            armed: BTreeMap::new(),
            failed: BTreeSet::new(),
            scope: Arc::default(),
        }
    }

    /// Arms every watch again, for the folders that have the names of `files`' folders now. Returns
    /// whether a folder is watched that was not watched before.
    pub(crate) fn arm(&mut self, files: &[PathBuf]) -> bool {
        let (wanted, scope) = folders(files);
        *self.scope.lock() = scope;
        let Some(watcher) = &mut self.watcher else { return false };
        // Unconditionally: an event in the queue may have removed a watch from a path whose folder
        // is the same as before.
        for folder in self.armed.keys() {
            // An error means that the watch is gone already.
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

    /// Arms every watch again if a folder was replaced, created or removed since the last time.
    pub(crate) fn arm_if_replaced(&mut self, files: &[PathBuf]) -> bool {
        folders(files).0 != self.armed && self.arm(files)
    }
}

/// The folders of `files` and their parents as they resolve now, and the scope of their events.
fn folders(files: &[PathBuf]) -> (BTreeMap<PathBuf, FolderId>, Scope) {
    let named: BTreeSet<PathBuf> = files.iter().map(|file| folder_of(file)).collect();
    let (mut wanted, mut scope) = (BTreeMap::new(), Scope::default());
    for folder in named {
        if let Some((path, id)) = resolve(&folder) {
            scope.folders.insert(path.clone());
            wanted.insert(path, id);
        }
        let Some(name) = folder.file_name() else { continue };
        if let Some((parent, id)) = resolve(parent_of(&folder)) {
            scope.entries.insert(parent.join(name));
            wanted.insert(parent, id);
        }
    }
    (wanted, scope)
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
