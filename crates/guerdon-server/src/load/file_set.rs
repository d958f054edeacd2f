//! The files that one load of the configuration reads. Each file is read once and later compared
//! with the disk.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

/// The files and folders of one load, with their contents when they were read. Profiles that name
/// the same file share its text.
#[derive(Debug, Default)]
pub(crate) struct FileSet {
    entries: BTreeMap<PathBuf, FileEntry>,
}

#[derive(Debug)]
struct FileEntry {
    stamp: Option<Stamp>,
    content: Content,
    /// Kept until [`FileSet::drop_texts`].
    text: Option<Arc<str>>,
}

/// The content of a path, for comparison.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    /// SHA-256 of a file's bytes.
    File([u8; 32]),
    /// Names in a folder, sorted.
    Folder(Vec<std::ffi::OsString>),
    /// The path could not be read.
    Unreadable,
}

/// Metadata that changes whenever the content of the path changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Set when the file was changed so recently that a second change could leave the same
    /// metadata.
    recent: bool,
}

/// Granularity of timestamps on the coarsest file system in use (FAT: 2 s).
const GRANULARITY: Duration = Duration::from_secs(2);

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let recent = metadata.modified().ok().is_none_or(|modified| {
            SystemTime::now().duration_since(modified).is_ok_and(|age| age < GRANULARITY)
        });
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            recent,
        })
    }
}

impl FileSet {
    /// The text of a file. The file is read on the first call.
    ///
    /// # Errors
    /// [`io::Error`] if the file cannot be read, is not a regular file (reading a pipe or a device
    /// could block indefinitely), or is not UTF-8.
    pub(crate) fn read(&mut self, path: &Path) -> io::Result<Arc<str>> {
        if let Some(text) = self.entries.get(path).and_then(|entry| entry.text.as_ref()) {
            return Ok(Arc::clone(text));
        }
        let stamp = Stamp::of(path);
        let read = read_file(path);
        let content = content_of(&read);
        let text = read.and_then(|bytes| {
            let text = String::from_utf8(bytes);
            text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
        });
        let text = text.map(Arc::<str>::from);
        let kept = text.as_ref().ok().cloned();
        self.entries.insert(path.to_owned(), FileEntry { stamp, content, text: kept });
        text
    }

    /// The entries of a folder, sorted by name.
    ///
    /// # Errors
    /// [`io::Error`] if the folder cannot be read.
    pub(crate) fn list(&mut self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let stamp = Stamp::of(folder);
        let names = names_in(folder);
        let content = names.as_ref().map_or(Content::Unreadable, |n| Content::Folder(n.clone()));
        self.entries.insert(folder.to_owned(), FileEntry { stamp, content, text: None });
        Ok(names?.iter().map(|name| folder.join(name)).collect())
    }

    /// Every path that was read, including those that could not be read.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.entries.keys()
    }

    /// Frees the texts. Hashes and metadata are kept.
    pub(crate) fn drop_texts(&mut self) {
        for entry in self.entries.values_mut() {
            entry.text = None;
        }
    }

    /// Returns true if the content of a path changed since it was read. Files with unchanged
    /// metadata are not read again.
    pub(crate) fn has_changed(&mut self) -> bool {
        self.entries.iter_mut().any(|(path, entry)| {
            let now = Stamp::of(path);
            if now == entry.stamp && now.is_some_and(|stamp| !stamp.recent) {
                return false;
            }
            let changed = content_now(path, &entry.content) != entry.content;
            if !changed {
                entry.stamp = now;
            }
            changed
        })
    }
}

fn content_now(path: &Path, before: &Content) -> Content {
    if path.is_dir() || matches!(before, Content::Folder(_)) {
        return names_in(path).map_or(Content::Unreadable, Content::Folder);
    }
    content_of(&read_file(path))
}

fn content_of(read: &io::Result<Vec<u8>>) -> Content {
    match read {
        Ok(bytes) => Content::File(Sha256::digest(bytes).into()),
        Err(_) => Content::Unreadable,
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    #[expect(clippy::disallowed_methods, reason = "the files of a load are read here")]
    std::fs::read(path)
}

fn names_in(folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let entries = std::fs::read_dir(folder)?;
    let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes its own files")]
mod tests {
    use super::*;

    fn set(folder: &Path, files: &[&str]) -> FileSet {
        let mut set = FileSet::default();
        set.list(folder).unwrap();
        for file in files {
            drop(set.read(&folder.join(file)));
        }
        set
    }

    #[test]
    fn file_replaced_by_the_same_text_is_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, "one").unwrap();
        let mut files = set(folder.path(), &["a.yaml"]);
        assert!(!files.has_changed());
        std::fs::write(folder.path().join("b"), "one").unwrap();
        std::fs::rename(folder.path().join("b"), &file).unwrap();
        assert!(!files.has_changed());
        std::fs::write(&file, "two").unwrap();
        assert!(files.has_changed());
    }

    #[test]
    fn edit_right_after_the_read_is_detected_even_with_the_same_size() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..50 {
            std::fs::write(folder.path().join("a"), format!("{round:03}")).unwrap();
            let mut files = set(folder.path(), &["a"]);
            std::fs::write(folder.path().join("a"), format!("{:03}", round + 100)).unwrap();
            assert!(files.has_changed());
        }
    }

    #[test]
    fn new_missing_and_unreadable_files_are_changes() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = set(folder.path(), &["missing"]);
        assert!(!files.has_changed());
        std::fs::write(folder.path().join("missing"), "x").unwrap();
        assert!(files.has_changed());
        let mut files = set(folder.path(), &["missing"]);
        std::fs::remove_file(folder.path().join("missing")).unwrap();
        assert!(files.has_changed());
    }

    #[test]
    fn a_file_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "one").unwrap();
        let mut files = FileSet::default();
        let first = files.read(&file).unwrap();
        std::fs::write(&file, "two").unwrap();
        assert!(Arc::ptr_eq(&first, &files.read(&file).unwrap()));
    }

    #[test]
    fn a_folder_or_a_device_is_not_read_as_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = FileSet::default();
        assert_eq!(files.read(folder.path()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(files.read(Path::new("/dev/zero")).is_err());
    }
}
