//! The files of a loaded model, as they were at its load. A later change of a file is noticed by
//! its metadata, and its content is hashed again.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::Error;
use crate::load::files::{Sha256Hex, sha256};
use crate::load::manifest::Manifest;
use crate::load::stated_reference::REFERENCE;

/// Granularity of timestamps on the coarsest file system in use (FAT: 2 s). A file that changed less
/// than this before it was read may change again without another timestamp.
const GRANULARITY: Duration = Duration::from_secs(2);

/// The files that a model was loaded from.
#[derive(Debug)]
pub(crate) struct LoadedFiles(Vec<LoadedFile>);

#[derive(Debug)]
struct LoadedFile {
    path: PathBuf,
    /// `None` if the file was missing.
    found: Option<FoundFile>,
    /// The hash that the manifest states.
    stated: Option<Sha256Hex>,
}

#[derive(Debug, Clone, PartialEq)]
struct FoundFile {
    stamp: FileStamp,
    content: Sha256Hex,
}

/// Metadata that changes whenever the content of a file changes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileStamp {
    size: u64,
    modified: Option<SystemTime>,
    /// Device, inode, and the time of the last change of content or metadata, which programs cannot
    /// set.
    identity: [i64; 4],
    /// Set if a later change could leave the same metadata.
    recent: bool,
}

impl FileStamp {
    /// The stamp of a regular file; `None` if there is no file. Opening a pipe would wait for its
    /// other end.
    fn of(path: &Path) -> Result<Option<Self>, Error> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let metadata = match path.metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(failed)?,
        };
        if !metadata.is_file() {
            return Err(failed(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "not a regular file",
            )));
        }
        let modified = metadata.modified().ok();
        let age = |changed: SystemTime| SystemTime::now().duration_since(changed).ok();
        let recent = modified.and_then(age).is_none_or(|age| age < GRANULARITY);
        let (identity, changed) = identity(&metadata);
        let recent = recent || changed.and_then(age).is_some_and(|age| age < GRANULARITY);
        Ok(Some(Self { size: metadata.len(), modified, identity, recent }))
    }
}

#[cfg(unix)]
fn identity(metadata: &std::fs::Metadata) -> ([i64; 4], Option<SystemTime>) {
    use std::os::unix::fs::MetadataExt as _;

    let (seconds, nanoseconds) = (metadata.ctime(), metadata.ctime_nsec());
    let changed = u64::try_from(seconds)
        .ok()
        .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    let numbers = [metadata.dev(), metadata.ino()].map(u64::cast_signed);
    ([numbers[0], numbers[1], seconds, nanoseconds], changed)
}

#[cfg(not(unix))]
fn identity(_: &std::fs::Metadata) -> ([i64; 4], Option<SystemTime>) {
    ([0; 4], None)
}

impl LoadedFiles {
    /// Reads every file of the model, and verifies the hashes that the manifest states.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Hash`] for a file with another content than the manifest states, and
    /// [`Error::File`] for a missing one.
    pub(crate) fn verified(folder: &Path, manifest: &Manifest) -> Result<Self, Error> {
        let named = manifest.files.named().map(|file| LoadedFile {
            path: folder.join(file.path),
            found: None,
            stated: file.hash.cloned(),
        });
        let stated = manifest.reference.as_ref();
        let reference = LoadedFile {
            path: folder.join(stated.map_or(Path::new(REFERENCE), |stated| &stated.file)),
            found: None,
            stated: stated.and_then(|stated| stated.sha256.clone()),
        };
        let mut files: Vec<LoadedFile> = named.chain([reference]).collect();
        let last = files.len() - 1;
        for (number, file) in files.iter_mut().enumerate() {
            file.found = file.now()?;
            // Only the reference scores may be missing.
            if file.found.is_none() && (number < last || stated.is_some()) {
                let source = std::io::Error::from(std::io::ErrorKind::NotFound);
                return Err(Error::File { path: file.path.clone(), source });
            }
        }
        Ok(Self(files))
    }

    /// Compares the files with those of the load. Files with unchanged metadata are not read.
    /// Returns false if a file whose hash the manifest does not state has another content.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Hash`] for a file with another content than the manifest states, and
    /// [`Error::File`] for a file that is missing or unreadable.
    pub(crate) fn are_unchanged(&mut self) -> Result<bool, Error> {
        let mut unchanged = true;
        for file in &mut self.0 {
            let now = FileStamp::of(&file.path)?;
            let known = file.found.as_ref().map(|found| &found.stamp);
            if now.as_ref() == known && now.as_ref().is_none_or(|stamp| !stamp.recent) {
                continue;
            }
            let found = file.now()?;
            let [before, after] =
                [&file.found, &found].map(|found| found.as_ref().map(|found| &found.content));
            let same = before == after;
            unchanged &= same;
            if found.is_none() && file.stated.is_some() {
                let source = std::io::Error::from(std::io::ErrorKind::NotFound);
                return Err(Error::File { path: file.path.clone(), source });
            }
            if same {
                file.found = found;
            }
        }
        Ok(unchanged)
    }
}

impl LoadedFile {
    /// The file as it is now; `None` if it is missing.
    fn now(&self) -> Result<Option<FoundFile>, Error> {
        // Before the content is read: a change in between leaves another stamp.
        let Some(stamp) = FileStamp::of(&self.path)? else { return Ok(None) };
        let content = sha256(&self.path)?;
        match &self.stated {
            Some(stated) if *stated != content => Err(Error::Hash {
                path: self.path.clone(),
                expected: stated.as_str().to_owned(),
                found: content.as_str().to_owned(),
            }),
            _ => Ok(Some(FoundFile { stamp, content })),
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes its own files")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILES: [&str; 6] =
        ["model.onnx", "a.data", "b.data", "tokenizer.json", "chat.jinja", "reference.jsonl"];

    /// A folder with [`FILES`], whose manifest states every hash but those of the last two.
    fn folder() -> (tempfile::TempDir, Manifest) {
        let folder = tempfile::tempdir().unwrap();
        for file in FILES {
            std::fs::write(folder.path().join(file), format!("content of {file}")).unwrap();
        }
        let hash = |file: &str| Sha256Hex::of(format!("content of {file}")).as_str().to_owned();
        let manifest = format!(
            "name = \"m\"\n[files]\nmodel = \"model.onnx\"\nmodel_sha256 = \"{}\"\n\
             model_data = [\"a.data\", \"b.data\"]\nmodel_data_sha256 = [\"{}\", \"{}\"]\n\
             tokenizer = \"tokenizer.json\"\ntokenizer_sha256 = \"{}\"\n\
             chat_template = \"chat.jinja\"\n[input]\nformat = \"chat_template\"\nmax_tokens = 9\n",
            hash(FILES[0]),
            hash(FILES[1]),
            hash(FILES[2]),
            hash(FILES[3]),
        );
        (folder, Manifest::parse(&manifest).unwrap())
    }

    #[derive(Debug, Clone, Copy)]
    enum Change {
        Touch,
        Replace,
        FlipInPlace,
        Truncate,
        Append,
        Remove,
    }

    impl Change {
        fn apply(self, path: &Path) {
            let (content, metadata) =
                (std::fs::read(path).unwrap(), std::fs::metadata(path).unwrap());
            let other: Vec<u8> = content.iter().map(|byte| byte ^ 1).collect();
            match self {
                Self::Touch => std::fs::write(path, &content).unwrap(),
                Self::Replace => {
                    let draft = path.with_extension("draft");
                    std::fs::write(&draft, &other).unwrap();
                    std::fs::rename(draft, path).unwrap();
                }
                // The size and the time of modification stay as they are.
                Self::FlipInPlace => {
                    std::fs::write(path, &other).unwrap();
                    let file = std::fs::File::options().write(true).open(path).unwrap();
                    file.set_modified(metadata.modified().unwrap()).unwrap();
                }
                Self::Truncate => std::fs::write(path, &content[..content.len() / 2]).unwrap(),
                Self::Append => std::fs::write(path, [content, vec![0]].concat()).unwrap(),
                Self::Remove => std::fs::remove_file(path).unwrap(),
            }
        }
    }

    proptest! {
        #[test]
        fn every_change_of_content_is_noticed_and_no_other(
            file in 0..FILES.len(),
            change in prop::sample::select(vec![
                Change::Touch, Change::Replace, Change::FlipInPlace, Change::Truncate, Change::Append, Change::Remove,
            ]),
            first_look in any::<bool>(),
        ) {
            let (folder, manifest) = folder();
            let mut files = LoadedFiles::verified(folder.path(), &manifest).unwrap();
            if first_look {
                prop_assert!(files.are_unchanged().unwrap());
            }
            change.apply(&folder.path().join(FILES[file]));
            for _ in 0..2 {
                let found = files.are_unchanged();
                match change {
                    Change::Touch => prop_assert!(found.unwrap()),
                    _ if file < 4 => {
                        let error = found.unwrap_err().to_string();
                        prop_assert!(error.contains(FILES[file]), "{}", error);
                        prop_assert!(LoadedFiles::verified(folder.path(), &manifest).is_err());
                    }
                    _ => prop_assert!(!found.unwrap()),
                }
            }
            std::fs::write(folder.path().join(FILES[file]), format!("content of {}", FILES[file])).unwrap();
            prop_assert!(files.are_unchanged().unwrap());
        }
    }

    #[cfg(unix)]
    #[test]
    fn folder_or_pipe_in_place_of_a_file_is_refused() {
        let (folder, manifest) = folder();
        let mut files = LoadedFiles::verified(folder.path(), &manifest).unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(files.are_unchanged().unwrap_err().to_string().contains("not a regular file"));
        assert!(LoadedFiles::verified(folder.path(), &manifest).is_err());
    }
}
