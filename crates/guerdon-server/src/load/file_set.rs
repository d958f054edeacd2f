//! The files that one load of the configuration reads. Each file is read once and later compared
//! with the disk.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::load::disk_calls::DiskCalls;

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The largest number of files that are taken from one folder.
const MAX_FILES_IN_FOLDER: usize = 10_000;

/// The files and folders of one load, with their contents when they were read. Profiles that name
/// the same file share its text.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileSet {
    entries: BTreeMap<PathBuf, FileEntry>,
    calls: DiskCalls,
}

#[derive(Debug, Clone)]
struct FileEntry {
    stamp: Option<Stamp>,
    content: Content,
    /// Kept until [`FileSet::drop_texts`].
    text: Option<Arc<str>>,
    /// Set for a folder.
    extensions: Option<Extensions>,
}

/// Extensions of the files that are taken from a folder, such as `yaml`.
pub(crate) type Extensions = &'static [&'static str];

/// The content of a path, for comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    /// SHA-256 of a file's bytes.
    File([u8; 32]),
    /// Names of the files that are taken from a folder, sorted.
    Folder(Vec<OsString>),
    /// The path could not be read: it is missing, of another kind, or not permitted.
    Unreadable(io::ErrorKind),
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
    /// A set whose calls of the file system are watched through `calls`.
    pub(crate) fn watched(calls: &DiskCalls) -> Self {
        Self { entries: BTreeMap::new(), calls: calls.clone() }
    }

    /// The text of a file. The file is read on the first call.
    ///
    /// # Errors
    /// [`io::Error`] if the file cannot be read, is not a regular file (reading a pipe or a device
    /// could block indefinitely), is larger than 64 MiB, or is not UTF-8.
    pub(crate) fn read(&mut self, path: &Path) -> io::Result<Arc<str>> {
        if let Some(text) = self.entries.get(path).and_then(|entry| entry.text.as_ref()) {
            return Ok(Arc::clone(text));
        }
        let mut stamp = None;
        let read = self.calls.during(path, || {
            stamp = Stamp::of(path);
            read_file(path)
        });
        let content = content_of(&read);
        let text = read.and_then(|bytes| {
            let text = guerdon_text::decode(bytes);
            text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        });
        let text = text.map(Arc::<str>::from);
        let kept = text.as_ref().ok().cloned();
        let entry = FileEntry { stamp, content, text: kept, extensions: None };
        self.entries.insert(path.to_owned(), entry);
        text
    }

    /// The files of a folder with one of `extensions`, sorted by name. Files that tools leave
    /// behind do not count: see [`is_wanted`].
    ///
    /// # Errors
    /// [`io::Error`] if the folder cannot be read, or has more than 10,000 such files.
    pub(crate) fn list(
        &mut self,
        folder: &Path,
        extensions: Extensions,
    ) -> io::Result<Vec<PathBuf>> {
        let mut stamp = None;
        let names = self.calls.during(folder, || {
            stamp = Stamp::of(folder);
            names_in(folder, extensions)
        });
        let content = match &names {
            Ok(names) => Content::Folder(names.clone()),
            Err(error) => Content::Unreadable(error.kind()),
        };
        let entry = FileEntry { stamp, content, text: None, extensions: Some(extensions) };
        self.entries.insert(folder.to_owned(), entry);
        Ok(names?.iter().map(|name| folder.join(name)).collect())
    }

    /// Checks that every entry of `folder` is a file or a folder. For programs that open the entries
    /// themselves: opening a pipe would wait for its other end.
    ///
    /// # Errors
    /// The first entry that is a pipe, a socket, a device or unreadable, with the error.
    pub(crate) fn check_entries(&self, folder: &Path) -> Result<(), (PathBuf, io::Error)> {
        let entries = self.calls.during(folder, || {
            std::fs::read_dir(folder)?
                .map(|entry| Ok(entry?.path()))
                .collect::<io::Result<Vec<_>>>()
        });
        for path in entries.map_err(|error| (folder.to_owned(), error))? {
            let checked = self.calls.during(&path, || {
                match std::fs::metadata(&path) {
                    Ok(metadata) if metadata.is_dir() => Ok(()),
                    Ok(metadata) => check_kind(&metadata),
                    // A link to a missing file does not block.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                    Err(error) => Err(error),
                }
            });
            checked.map_err(|error| (path, error))?;
        }
        Ok(())
    }

    /// True if `path` is a folder.
    pub(crate) fn is_folder(&self, path: &Path) -> bool {
        self.calls.during(path, || Ok(path.is_dir())).unwrap_or_default()
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

    /// True if `other` has the same paths with the same contents. Times and inodes may differ.
    pub(crate) fn same_content(&self, other: &Self) -> bool {
        self.contents().eq(other.contents())
    }

    fn contents(&self) -> impl Iterator<Item = (&PathBuf, &Content)> {
        self.entries.iter().map(|(path, entry)| (path, &entry.content))
    }

    /// Returns true if the content of a path changed since it was read. Files with unchanged
    /// metadata are not read again.
    pub(crate) fn has_changed(&mut self) -> bool {
        let calls = self.calls.clone();
        self.entries.iter_mut().any(|(path, entry)| {
            let compared = calls.during(path, || {
                let now = Stamp::of(path);
                if now == entry.stamp && now.is_some_and(|stamp| !stamp.recent) {
                    return Ok(false);
                }
                let changed = entry.content_now(path) != entry.content;
                if !changed {
                    entry.stamp = now;
                }
                Ok(changed)
            });
            // The check was abandoned, so its result is not used.
            compared.unwrap_or_default()
        })
    }

    /// A copy whose calls of the file system are watched through `calls`.
    pub(crate) fn watched_by(&self, calls: &DiskCalls) -> Self {
        Self { entries: self.entries.clone(), calls: calls.clone() }
    }
}

impl FileEntry {
    fn content_now(&self, path: &Path) -> Content {
        match self.extensions {
            Some(extensions) => match names_in(path, extensions) {
                Ok(names) => Content::Folder(names),
                Err(error) => Content::Unreadable(error.kind()),
            },
            None => content_of(&read_file(path)),
        }
    }
}

fn content_of(read: &io::Result<Vec<u8>>) -> Content {
    match read {
        Ok(bytes) => Content::File(Sha256::digest(bytes).into()),
        Err(error) => Content::Unreadable(error.kind()),
    }
}

/// Reads a regular file. Opening a pipe would wait for its other end, so the file is opened without
/// waiting, and its kind is checked before and after.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    check_kind(&std::fs::metadata(path)?)?;
    let without_waiting = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(without_waiting).open(path)?;
    let metadata = file.metadata()?;
    check_kind(&metadata)?;
    if metadata.len() > MAX_FILE_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES { Err(too_large()) } else { Ok(bytes) }
}

fn check_kind(metadata: &std::fs::Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        Err(io::Error::new(io::ErrorKind::IsADirectory, "a folder, not a file"))
    } else if metadata.is_file() {
        Ok(())
    } else {
        let what = "not a regular file but a pipe, a socket or a device";
        Err(io::Error::new(io::ErrorKind::InvalidInput, what))
    }
}

fn too_large() -> io::Error {
    let what = format!("larger than {} MiB", MAX_FILE_BYTES >> 20);
    io::Error::new(io::ErrorKind::FileTooLarge, what)
}

fn names_in(folder: &Path, extensions: Extensions) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        if is_wanted(&name, extensions) {
            if names.len() == MAX_FILES_IN_FOLDER {
                let what = format!("more than {MAX_FILES_IN_FOLDER} files");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// True for a name with one of `extensions` that is not a README and does not begin with a dot:
/// editors and file managers put locks, swap files and metadata next to a file under such names
/// (`.#a.yaml`, `.a.yaml.swp`, `._a.yaml`).
fn is_wanted(name: &OsStr, extensions: Extensions) -> bool {
    let file = Path::new(name);
    !name.as_encoded_bytes().starts_with(b".")
        && file.file_stem().is_none_or(|stem| stem != "README")
        && file.extension().is_some_and(|e| extensions.iter().any(|wanted| e == *wanted))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes its own files")]
mod tests {
    use super::*;

    fn set(folder: &Path, files: &[&str]) -> FileSet {
        let mut set = FileSet::default();
        set.list(folder, &["yaml"]).unwrap();
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
        assert_eq!(files.read(folder.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        let device = files.read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(device.kind(), io::ErrorKind::InvalidInput);
        assert!(!files.has_changed());
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_its_other_end() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("a.yaml");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let mut files = FileSet::default();
        assert_eq!(files.read(&pipe).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(!files.has_changed());
        let (path, error) = files.check_entries(folder.path()).unwrap_err();
        assert_eq!((path, error.kind()), (pipe.clone(), io::ErrorKind::InvalidInput));
        std::fs::remove_file(&pipe).unwrap();
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(files.check_entries(folder.path()).is_ok());
        assert!(files.has_changed(), "the pipe is gone");
    }

    #[test]
    fn a_sparse_file_of_a_terabyte_is_refused_and_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = FileSet::default().read(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn only_files_of_a_pack_count_as_changes_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), "one").unwrap();
        let mut files = set(folder.path(), &["a.yaml"]);
        let others = [
            ".a.yaml",
            ".#a.yaml",
            "._a.yaml",
            ".a.yaml.swp",
            "4913",
            "a.yaml~",
            "#a.yaml#",
            "notes.txt",
            "README.yaml",
            "README.md",
            "a.yaml.bak",
            ".git",
            "..data",
        ];
        for other in others {
            std::fs::write(folder.path().join(other), "x").unwrap();
            assert!(!files.has_changed(), "{other} appeared");
        }
        for other in others {
            std::fs::write(folder.path().join(other), "y").unwrap();
            std::fs::remove_file(folder.path().join(other)).unwrap();
            assert!(!files.has_changed(), "{other} is gone");
        }
        std::fs::write(folder.path().join("b.yaml"), "x").unwrap();
        assert!(files.has_changed());
    }

    #[test]
    fn sets_with_the_same_texts_are_the_same_whatever_their_times_and_inodes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, "one").unwrap();
        let first = set(folder.path(), &["a.yaml", "missing"]);
        std::fs::remove_file(&file).unwrap();
        let without = set(folder.path(), &["a.yaml", "missing"]);
        std::fs::write(&file, "one").unwrap();
        let again = set(folder.path(), &["a.yaml", "missing"]);
        assert!(first.same_content(&again) && !first.same_content(&without));
        std::fs::write(&file, "two").unwrap();
        assert!(!first.same_content(&set(folder.path(), &["a.yaml", "missing"])));
        assert!(!first.same_content(&set(folder.path(), &["a.yaml"])));
    }

    #[test]
    fn a_folder_in_place_of_a_missing_file_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = set(folder.path(), &["packs"]);
        std::fs::create_dir(folder.path().join("packs")).unwrap();
        assert!(files.has_changed());
    }
}
