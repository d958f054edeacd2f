//! Folders: listing, reads of ranges, and writes that create.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Write as _};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;

/// The endings of files that are read from a folder.
const ENDINGS: [&str; 4] = [".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst"];

/// Deepest folder below the one that is named.
const DEPTH: usize = 32;

/// A folder, and with a pattern the files in it.
pub(super) struct Place {
    folder: PathBuf,
    /// The pattern of a file's path below the folder. Default: the known endings.
    pattern: Option<glob::Pattern>,
    name: String,
}

/// A file of the input.
#[derive(Debug)]
pub(super) struct FoundFile {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    /// A text that differs when the content does.
    pub(super) version: String,
}

impl FoundFile {
    fn new(path: PathBuf, metadata: &Metadata) -> Self {
        let (size, seconds, nanos) = (metadata.size(), metadata.mtime(), metadata.mtime_nsec());
        Self { path, size, version: format!("{seconds}.{nanos:09}") }
    }
}

/// The outcome of a write that creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Creation {
    New,
    /// The file was there before.
    AlreadyThere,
}

impl Place {
    /// The files that a path, a glob or a folder names.
    ///
    /// # Errors
    /// The pattern cannot be read.
    pub(super) fn of_pattern(text: &str) -> anyhow::Result<Self> {
        let fixed = match text.find(['*', '?', '[']) {
            Some(at) => {
                let head = text.get(..at).unwrap_or_default();
                head.rfind('/').and_then(|end| head.get(..=end)).unwrap_or_default()
            }
            None => text,
        };
        let mut place = Self::of_folder(if fixed.is_empty() { "." } else { fixed })?;
        place.name = text.to_owned();
        if fixed.len() < text.len() {
            let rest = text.get(fixed.len()..).unwrap_or_default();
            place.pattern = Some(glob::Pattern::new(rest).with_context(|| format!("--in {text}"))?);
        }
        Ok(place)
    }

    /// A folder, which need not exist.
    ///
    /// # Errors
    /// The text is the URL of something else.
    pub(super) fn of_folder(text: &str) -> anyhow::Result<Self> {
        if let Some((scheme, _)) = text.split_once("://") {
            bail!(
                "{text} has the scheme `{scheme}`, which cannot be read\n  help: mount the bucket, and name \
                 a path"
            );
        }
        let folder = std::path::absolute(text).with_context(|| text.to_owned())?;
        Ok(Self { folder, pattern: None, name: text.to_owned() })
    }

    /// The name, for messages.
    pub(super) fn name(&self) -> &str {
        self.name.trim_end_matches('/')
    }

    /// The files, sorted by their paths.
    ///
    /// # Errors
    /// They cannot be listed, or there are none.
    pub(super) fn files(&self) -> anyhow::Result<Vec<FoundFile>> {
        let cannot = || format!("cannot list {}", self.name);
        let mut files = Vec::new();
        match std::fs::metadata(&self.folder) {
            Ok(metadata) if metadata.is_dir() => {
                self.collect(&self.folder, 0, &mut files).with_context(cannot)?;
            }
            Ok(metadata) => files.push(FoundFile::new(self.folder.clone(), &metadata)),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error).with_context(cannot),
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        ensure!(
            !files.is_empty(),
            "{} names no file\n  help: name a file, a folder with {} files, or a pattern such as \
             'data/*.parquet' in quotation marks",
            self.name,
            ENDINGS.join(", ")
        );
        Ok(files)
    }

    fn collect(
        &self,
        folder: &Path,
        depth: usize,
        files: &mut Vec<FoundFile>,
    ) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let metadata = std::fs::metadata(&path)?;
            if metadata.is_dir() && depth < DEPTH {
                self.collect(&path, depth + 1, files)?;
            } else if metadata.is_file() && self.matches(&self.below(&path)) {
                files.push(FoundFile::new(path, &metadata));
            }
        }
        Ok(())
    }

    /// The path of a file below the folder. The name of the file if the folder is the file.
    pub(super) fn below(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.folder).unwrap_or(path);
        let below = match below.as_os_str().is_empty() {
            true => path.file_name().map(Path::new).unwrap_or(path),
            false => below,
        };
        below.display().to_string()
    }

    fn matches(&self, path: &str) -> bool {
        let options = glob::MatchOptions {
            require_literal_separator: true,
            require_literal_leading_dot: true,
            ..glob::MatchOptions::default()
        };
        match &self.pattern {
            Some(pattern) => pattern.matches_with(path, options),
            None => {
                let name = path.rsplit('/').next().unwrap_or(path);
                !name.starts_with(['.', '_']) && ENDINGS.iter().any(|ending| name.ends_with(ending))
            }
        }
    }

    /// The bytes `range` of a file.
    ///
    /// # Errors
    /// The file cannot be read, or has become shorter.
    pub(super) fn range(&self, file: &Path, range: Range<u64>) -> anyhow::Result<Bytes> {
        let cannot = || format!("cannot read {}", file.display());
        let length = usize::try_from(range.end.saturating_sub(range.start)).with_context(cannot)?;
        let mut bytes = vec![0; length];
        let file = File::open(file).with_context(cannot)?;
        file.read_exact_at(&mut bytes, range.start).with_context(cannot)?;
        Ok(bytes.into())
    }

    /// The names of the files directly in the folder.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub(super) fn part_names(&self) -> anyhow::Result<BTreeSet<String>> {
        let cannot = || format!("cannot list {}", self.name);
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(error).with_context(cannot),
        };
        let mut names = BTreeSet::new();
        for entry in entries {
            names.extend(entry.with_context(cannot)?.file_name().into_string());
        }
        Ok(names)
    }

    /// The content of a file in the folder.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn content(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.folder.join(name);
        #[expect(clippy::disallowed_methods, reason = "a command reads the files it is given")]
        let content = std::fs::read(&path);
        content.with_context(|| format!("cannot read {}", path.display()))
    }

    /// The last `most` bytes of a file in the folder, and its size.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn tail(&self, name: &str, most: u64) -> anyhow::Result<(Bytes, u64)> {
        let path = self.folder.join(name);
        let size = std::fs::metadata(&path).map(|metadata| metadata.size());
        let size = size.with_context(|| format!("cannot read {}", path.display()))?;
        Ok((self.range(&path, size.saturating_sub(most)..size)?, size))
    }

    /// Writes a file in the folder that was not there: a whole file appears, or none. A file that is
    /// there is left as it is.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn create(&self, name: &str, content: &[u8]) -> anyhow::Result<Creation> {
        let path = self.folder.join(name);
        let cannot = || format!("cannot write {}", path.display());
        std::fs::create_dir_all(&self.folder).with_context(cannot)?;
        let draft = tempfile::Builder::new().prefix(".guerdon-").tempfile_in(&self.folder);
        let mut draft = draft.with_context(cannot)?;
        draft.write_all(content).with_context(cannot)?;
        draft.as_file().sync_all().with_context(cannot)?;
        match draft.persist_noclobber(&path) {
            Ok(_) => Ok(Creation::New),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
                Ok(Creation::AlreadyThere)
            }
            Err(error) => Err(error.error).with_context(cannot),
        }
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
