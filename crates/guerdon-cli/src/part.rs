//! Files that are written part by part and become valid by a rename.
//!
//! A [`PartFile`] holds the results that a long run has so far: a header with the identity of the
//! run, then one record a line, in any order. A killed run loses at most the record that was being
//! written, and a later run continues the file. [`replace`] writes the final file: readers see the
//! old content or the new one, never a beginning of it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An unfinished output.
#[derive(Debug)]
pub(crate) struct PartFile {
    path: PathBuf,
    file: File,
    /// The place and length of each record's value; of two values of one key the later one.
    records: BTreeMap<usize, (u64, usize)>,
    /// The end of the last whole record.
    end: u64,
    /// Set if there is an incomplete record after `end`.
    is_torn: bool,
}

/// The first line of a part.
#[derive(Serialize, Deserialize)]
struct Header<T> {
    /// The version of the format.
    guerdon_part: u32,
    /// The identity of the run.
    run: T,
}

const FORMAT: u32 = 1;

/// The beginning of every part.
const MAGIC: &[u8] = b"{\"guerdon_part\":";

/// A record. Its value is the last member, so that a line can be cut out without a copy.
#[derive(Deserialize)]
struct Record<'a> {
    key: usize,
    #[serde(borrow)]
    value: &'a RawValue,
}

impl PartFile {
    /// Creates a part of a run.
    ///
    /// # Errors
    /// The file exists, or cannot be written.
    pub(crate) fn create(path: &Path, run: &impl Serialize) -> anyhow::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .with_context(|| cannot_write(path))?;
        let mut part = Self::new(path, file);
        part.lock()?;
        let mut line = serde_json::to_vec(&Header { guerdon_part: FORMAT, run })?;
        line.push(b'\n');
        part.write(&line)?;
        Ok(part)
    }

    fn new(path: &Path, file: File) -> Self {
        let path = path.to_owned();
        Self { path, file, records: BTreeMap::new(), end: 0, is_torn: false }
    }

    /// Opens the part of an earlier run with the identity of that run, and changes nothing yet.
    /// Ignores a record that was not written to its end, and everything after it. `None` if there
    /// is no part.
    ///
    /// # Errors
    /// The file cannot be read, is not a part, or is written by another process.
    pub(crate) fn open<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<(Self, T)>> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.with_context(|| cannot_write(path))?,
        };
        let mut part = Self::new(path, file);
        part.lock()?;
        let header = part.recover().with_context(|| format!("cannot read {}", path.display()))?;
        if header.len() <= MAGIC.len() && MAGIC.starts_with(&header)
            || !header.ends_with(b"\n") && header.starts_with(MAGIC)
        {
            // The run ended while it wrote the header, so there are no results.
            part.remove()?;
            return Ok(None);
        }
        match serde_json::from_slice::<Header<T>>(&header) {
            Ok(Header { guerdon_part: FORMAT, run }) => Ok(Some((part, run))),
            _ => bail!(
                "{} was not written by this version of guerdon score\n  help: move it away, or \
                 choose another --out",
                path.display()
            ),
        }
    }

    fn lock(&self) -> anyhow::Result<()> {
        match self.file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                bail!("another process is writing {}", self.path.display())
            }
            // A file system without locks is used without.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
        }
    }

    /// Finds the whole records. Returns the first line, or its beginning.
    fn recover(&mut self) -> io::Result<Vec<u8>> {
        let size = self.file.metadata()?.len();
        let mut lines = BufReader::new(&self.file);
        let mut header = Vec::new();
        let mut end = lines.read_until(b'\n', &mut header)? as u64;
        let mut records = BTreeMap::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = lines.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                break;
            }
            let Ok(Record { key, value }) = serde_json::from_slice(&line) else { break };
            let from = value.get().as_ptr().addr() - line.as_ptr().addr();
            records.insert(key, (end + from as u64, value.get().len()));
            end += read as u64;
        }
        drop(lines);
        self.records = records;
        self.end = end;
        self.is_torn = size != end;
        Ok(header)
    }

    /// The number of keys that have a value.
    pub(crate) fn count(&self) -> usize {
        self.records.len()
    }

    /// Returns true if `key` has a value.
    pub(crate) fn contains(&self, key: usize) -> bool {
        self.records.contains_key(&key)
    }

    /// Adds a record. It survives the end of this process.
    ///
    /// # Errors
    /// The file cannot be written; the records before stay whole.
    pub(crate) fn append(&mut self, key: usize, value: &impl Serialize) -> anyhow::Result<()> {
        let mut line = format!("{{\"key\":{key},\"value\":").into_bytes();
        let from = line.len();
        serde_json::to_writer(&mut line, value)?;
        let length = line.len() - from;
        line.extend_from_slice(b"}\n");
        let place = self.end + from as u64;
        self.write(&line)?;
        self.records.insert(key, (place, length));
        Ok(())
    }

    fn write(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let cannot = || cannot_write(&self.path);
        if self.is_torn {
            self.file.set_len(self.end).with_context(cannot)?;
            self.is_torn = false;
        }
        if let Err(error) = self.file.write_all_at(line, self.end) {
            // An incomplete record is also recognised when the part is opened.
            self.is_torn = self.file.set_len(self.end).is_err();
            return Err(error).with_context(cannot);
        }
        self.end += line.len() as u64;
        Ok(())
    }

    /// Waits until the records are on the disk.
    ///
    /// # Errors
    /// The disk reports an error.
    pub(crate) fn sync(&self) -> anyhow::Result<()> {
        self.file.sync_data().with_context(|| cannot_write(&self.path))
    }

    /// The JSON text of a value; `None` if the key has none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn value(&self, key: usize) -> anyhow::Result<Option<Vec<u8>>> {
        let Some((from, length)) = self.records.get(&key).copied() else {
            return Ok(None);
        };
        let mut value = vec![0; length];
        self.file
            .read_exact_at(&mut value, from)
            .with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(Some(value))
    }

    /// Removes the file.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(crate) fn remove(self) -> anyhow::Result<()> {
        std::fs::remove_file(&self.path)
            .with_context(|| format!("cannot remove {}", self.path.display()))
    }
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

/// Replaces `path` by what `write` writes: a temporary file in the same folder, which is renamed
/// when it is complete and on the disk. Keeps the permissions of an existing file, and replaces the
/// file behind a symbolic link rather than the link.
///
/// # Errors
/// `write` fails, or the file cannot be written. `path` then is as it was.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut (dyn Write + Send)) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let path = &behind_links(path)?;
    let cannot = || cannot_write(path);
    let folder = folder_of(path);
    let mut new = tempfile::Builder::new();
    // As the shell creates files: the process's umask applies.
    new.permissions(std::fs::Permissions::from_mode(0o666));
    let new = new.prefix(".guerdon-").suffix(".tmp").tempfile_in(folder).with_context(cannot)?;
    let mut buffer = BufWriter::new(new.as_file());
    write(&mut buffer)?;
    buffer.flush().with_context(cannot)?;
    drop(buffer);
    if let Ok(old) = std::fs::metadata(path) {
        drop(new.as_file().set_permissions(old.permissions()));
    }
    new.as_file().sync_all().with_context(cannot)?;
    new.persist(path).map_err(|error| error.error).with_context(cannot)?;
    // Makes the rename durable. Some file systems cannot sync a folder.
    if let Ok(folder) = File::open(folder) {
        drop(folder.sync_all());
    }
    Ok(())
}

/// The path that `path` leads to over symbolic links. The file there need not exist.
///
/// # Errors
/// The links form a circle.
pub(crate) fn behind_links(path: &Path) -> anyhow::Result<PathBuf> {
    let mut path = path.to_owned();
    // As the kernel does, gives up after 40 links.
    for _ in 0..40 {
        match std::fs::read_link(&path) {
            Ok(next) => path = folder_of(&path).join(next),
            Err(_) => return Ok(path),
        }
    }
    bail!("{} is a symbolic link that leads to itself", path.display())
}

/// The folder that holds `path`.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn content(path: &Path) -> String {
        let mut text = String::new();
        File::open(path).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn opened(path: &Path) -> Option<PartFile> {
        let (part, run) = PartFile::open::<String>(path).unwrap()?;
        assert_eq!(run, "run");
        Some(part)
    }

    fn values(part: &PartFile, keys: usize) -> Vec<Option<String>> {
        let value = |key| Some(String::from_utf8(part.value(key).unwrap()?).unwrap());
        (0..keys).map(value).collect()
    }

    #[test]
    fn part_cut_at_any_byte_keeps_every_whole_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.part");
        let mut part = PartFile::create(&path, &"run").unwrap();
        let mut ends = vec![part.end];
        for (key, value) in [(2, "two"), (0, "z\u{e9}ro"), (2, "again")] {
            part.append(key, &value).unwrap();
            ends.push(part.end);
        }
        drop(part);
        let whole = content(&path).into_bytes();
        for cut in 0..=whole.len() {
            let records = ends.iter().filter(|end| **end <= cut as u64).count();
            // Zeros after the cut: blocks of a file that were not written before a power loss.
            for tail in [&b""[..], &b"\0\0\0"[..], &b"{\"key\":0,\"value\":1"[..]] {
                if records == 0 && !tail.is_empty() {
                    continue;
                }
                drop(std::fs::remove_file(&path));
                File::create(&path).unwrap().write_all(&[&whole[..cut], tail].concat()).unwrap();
                let Some(mut part) = opened(&path) else {
                    assert!(records == 0 && !path.exists());
                    continue;
                };
                let two = match records {
                    1 => None,
                    2 | 3 => Some("\"two\"".to_owned()),
                    _ => Some("\"again\"".to_owned()),
                };
                let zero = (records > 2).then(|| "\"z\u{e9}ro\"".to_owned());
                assert_eq!(values(&part, 4), [zero, None, two, None]);
                part.append(3, &7).unwrap();
                drop(part);
                let part = opened(&path).unwrap();
                assert_eq!(part.value(3).unwrap().unwrap(), b"7");
                assert_eq!(part.count(), values(&part, 4).iter().flatten().count());
            }
        }
    }

    #[test]
    fn foreign_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.part");
        for foreign in ["a download", "{}\n", "{\"guerdon_part\":2,\"run\":\"run\"}\n", "\n\n"] {
            File::create(&path).unwrap().write_all(foreign.as_bytes()).unwrap();
            let error = PartFile::open::<String>(&path).unwrap_err().to_string();
            assert!(error.contains("move it away"), "{foreign}: {error}");
            assert_eq!(content(&path), foreign);
        }
    }

    #[test]
    fn one_process_writes_a_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.part");
        let part = PartFile::create(&path, &"run").unwrap();
        let error = PartFile::open::<String>(&path).unwrap_err().to_string();
        assert!(error.contains("another process"), "{error}");
        assert!(PartFile::create(&path, &"run").is_err());
        drop(part);
        assert!(opened(&path).is_some());
    }

    #[test]
    fn file_behind_a_link_is_replaced_and_the_link_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("link", path("outer")).unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        replace(&path("outer"), |file| Ok(file.write_all(b"new")?)).unwrap();
        assert_eq!(content(&path("file")), "new");
        assert_eq!(std::fs::read_link(path("outer")).unwrap(), Path::new("link"));
        std::os::unix::fs::symlink("circle", path("circle")).unwrap();
        assert!(replace(&path("circle"), |_| Ok(())).is_err());
    }

    #[test]
    fn failed_replacement_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        replace(&path, |file| Ok(file.write_all(b"old")?)).unwrap();
        let failed = replace(&path, |file| {
            file.write_all(b"new")?;
            bail!("no more")
        });
        assert!(failed.is_err());
        assert_eq!(content(&path), "old");
        replace(&path, |file| Ok(file.write_all(b"new")?)).unwrap();
        assert_eq!(content(&path), "new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no file is left over");
    }
}
