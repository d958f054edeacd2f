//! The files that are checked together with an open document: those of its folder, the files that
//! they import, and the files of the folders above that import one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use guerdon_rules::{PackFiles, SourceText, UnreadableFile, imports};

use crate::documents::OpenDocuments;

/// The largest number of files that are checked together.
const MAX_FILES: usize = 2_000;

/// The largest size of all files that are checked together, in bytes.
const MAX_BYTES: u64 = 32 << 20;

/// The largest number of folders above a document that are searched for files that import it.
const MAX_FOLDERS_ABOVE: usize = 3;

/// Files that are checked together.
#[derive(Debug, Default)]
pub(crate) struct FileGroup {
    pub(crate) files: PackFiles,
    /// Set if there are more files than are checked together, so that some are missing.
    pub(crate) is_cut: bool,
    bytes: u64,
    names: BTreeSet<String>,
}

impl FileGroup {
    /// The document at `path` and what belongs to it.
    pub(crate) fn around(path: &Path, documents: &OpenDocuments) -> Self {
        let mut group = Self::default();
        group.add(path, documents);
        group.add_imports(documents);
        let mut folder = path.parent();
        for file in folder.map(|folder| files_in(folder, documents)).unwrap_or_default() {
            group.add(&file, documents);
        }
        group.add_imports(documents);
        for _ in 0..MAX_FOLDERS_ABOVE {
            folder = folder.and_then(Path::parent);
            let Some(above) = folder else { break };
            group.add_importers(above, documents);
        }
        group
    }

    /// The document at `path` and the files that it imports.
    pub(crate) fn imported_by(path: &Path, documents: &OpenDocuments) -> Self {
        let mut group = Self::default();
        group.add(path, documents);
        group.add_imports(documents);
        group
    }

    /// Adds a file, as it is in the editor or on the disk. A file that is missing or does not fit is
    /// left out.
    fn add(&mut self, path: &Path, documents: &OpenDocuments) {
        let name = path.display().to_string();
        if self.names.contains(&name) {
            return;
        }
        let open = documents.at(path).map(|document| document.text().text.clone());
        let text = match open.map_or_else(|| read(path, MAX_BYTES), Ok) {
            Ok(text) => text,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return,
            Err(cause) => {
                self.names.insert(name.clone());
                self.files.unreadable.push(UnreadableFile::new(name, &cause));
                return;
            }
        };
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        if self.files.texts.len() >= MAX_FILES || self.bytes > MAX_BYTES {
            self.is_cut = true;
            return;
        }
        self.names.insert(name.clone());
        self.files.texts.push(SourceText::new(name, text));
    }

    fn add_imports(&mut self, documents: &OpenDocuments) {
        let mut next = 0;
        while let Some(text) = self.files.texts.get(next) {
            next += 1;
            for name in imports(text) {
                self.add(Path::new(&name), documents);
            }
        }
    }

    /// Adds the files of a folder that import a file of the group.
    fn add_importers(&mut self, folder: &Path, documents: &OpenDocuments) {
        for file in files_in(folder, documents) {
            if self.names.contains(&file.display().to_string()) {
                continue;
            }
            let mut other = Self::default();
            other.add(&file, documents);
            let Some(text) = other.files.texts.first() else { continue };
            if imports(text).iter().any(|name| self.names.contains(name)) {
                self.add(&file, documents);
                self.add_imports(documents);
            }
        }
    }

    /// The names of the files that `names` import, directly or through others, with `names`.
    pub(crate) fn with_imports(&self, names: &BTreeSet<String>) -> BTreeSet<String> {
        let mut found = names.clone();
        let mut open: Vec<String> = names.iter().cloned().collect();
        while let Some(name) = open.pop() {
            let text = self.files.texts.iter().find(|text| text.name == name);
            let imported = text.map(imports).unwrap_or_default();
            open.extend(imported.into_iter().filter(|other| found.insert(other.clone())));
        }
        found
    }

    /// The names of the files that import `names`, directly or through others.
    pub(crate) fn importers(&self, names: &BTreeSet<String>) -> BTreeSet<String> {
        let imported: BTreeMap<&str, Vec<String>> =
            self.files.texts.iter().map(|text| (text.name.as_str(), imports(text))).collect();
        let mut found = names.clone();
        loop {
            let more: Vec<&str> = imported
                .iter()
                .filter(|(name, list)| {
                    !found.contains(**name) && list.iter().any(|other| found.contains(other))
                })
                .map(|(name, _)| *name)
                .collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more.into_iter().map(str::to_owned));
        }
    }
}

/// The files of a folder that the loader reads as packs, in the order of their names.
fn files_in(folder: &Path, documents: &OpenDocuments) -> Vec<PathBuf> {
    let mut files: BTreeSet<PathBuf> = BTreeSet::new();
    let listed = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.extend(listed.take(MAX_FILES * 4).map(|entry| entry.path()));
    files.extend(
        documents.iter().filter(|d| d.path.parent() == Some(folder)).map(|d| d.path.clone()),
    );
    files
        .into_iter()
        .filter(|file| has_pack_name(file))
        .filter(|file| is_pack(file, documents))
        .collect()
}

/// True if a folder's loader reads a file of this name.
fn has_pack_name(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let ending = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    ending
        && !name.starts_with('.')
        && path.file_stem().is_none_or(|stem| !stem.eq_ignore_ascii_case("readme"))
}

fn is_pack(path: &Path, documents: &OpenDocuments) -> bool {
    match documents.at(path) {
        Some(document) => looks_like_pack(&document.text().text),
        None => read(path, MAX_BYTES).is_ok_and(|text| looks_like_pack(&text)),
    }
}

/// True if a line of a text begins with a key that only rule packs and libraries have.
pub(crate) fn looks_like_pack(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().any(|line| {
        ["pack", "library"].iter().any(|key| {
            let line = line.trim_start_matches(['"', '\'']);
            let rest = line.strip_prefix(key).map(|rest| rest.trim_start_matches(['"', '\'', ' ']));
            rest.is_some_and(|rest| rest.starts_with(':'))
        })
    })
}

#[expect(clippy::disallowed_methods, reason = "an editor's file is read as it is, whole")]
fn read(path: &Path, largest: u64) -> io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    if metadata.len() > largest {
        let message = format!("larger than {} MiB", largest >> 20);
        return Err(io::Error::new(ErrorKind::FileTooLarge, message));
    }
    let text = guerdon_text::decode(std::fs::read(path)?);
    text.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// The names of the other files in the folder of `path` that only declare.
pub(crate) fn libraries_beside(path: &Path, documents: &OpenDocuments) -> Vec<String> {
    let files = path.parent().map(|folder| files_in(folder, documents)).unwrap_or_default();
    let others = files.into_iter().filter(|file| file != path).filter_map(|file| {
        let open = documents.at(&file).map(|document| document.text().text.clone());
        let text = open.or_else(|| read(&file, MAX_BYTES).ok())?;
        let is_library = text.lines().any(|line| line.starts_with("library:"));
        is_library.then(|| file.file_name().map(|name| name.to_string_lossy().into_owned()))?
    });
    others.collect()
}
