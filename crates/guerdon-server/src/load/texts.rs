//! Rule packs and judge prompts from disk: the one walk over the files and folders that a
//! configuration or a command line names.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use guerdon_rules::{PackFiles, UnreadableFile};
use guerdon_text::SourceText;

use crate::error::LoadError;
use crate::load::file_set::{Extensions, FileSet};

/// The extensions of rule packs.
pub const PACKS: [&str; 2] = ["yaml", "yml"];
/// The extension of judge prompts.
pub const PROMPTS: [&str; 1] = ["md"];

/// The largest number of files to which imports are added.
const MAX_TEXTS: usize = 20_000;

/// The texts of the named files, and of the files in named folders that have one of `extensions`,
/// are not a README and do not begin with a dot. Paths are relative to `root`; reports quote them
/// as they were named.
///
/// # Errors
/// [`LoadError::Read`] naming the file that cannot be read.
pub fn texts(
    root: &Path,
    paths: &[PathBuf],
    extensions: &'static [&'static str],
) -> Result<Vec<SourceText>, LoadError> {
    let mut files = FileSet::default();
    let mut texts = Vec::new();
    for named in paths {
        texts.extend(texts_at(&mut files, root, named, extensions)?);
    }
    Ok(texts)
}

/// The rule packs of the named files and folders, chosen as [`texts`] does, and the files that they
/// import. Files that cannot be read stand next to the others, so that one of them does not hide
/// the errors of the rest.
///
/// # Errors
/// [`LoadError::Read`] naming a folder that cannot be listed, or a named file that does not exist.
pub fn packs(root: &Path, paths: &[PathBuf]) -> Result<PackFiles, LoadError> {
    let mut files = FileSet::default();
    let mut packs = PackFiles::default();
    for named in paths {
        add_packs(&mut files, root, named, &mut packs)?;
    }
    add_imports(&mut files, root, &mut packs);
    Ok(packs)
}

/// Adds the packs of the file or folder `named`.
///
/// # Errors
/// [`LoadError::Read`] naming a folder that cannot be listed, or a named file that does not exist.
fn add_packs(
    files: &mut FileSet,
    root: &Path,
    named: &Path,
    packs: &mut PackFiles,
) -> Result<(), LoadError> {
    for (name, file) in files_at(files, root, named, &PACKS)? {
        let is_named = name == named;
        let name = name.display().to_string();
        match files.read(&file) {
            Ok(text) => packs.texts.push(SourceText::new(name, &*text)),
            Err(cause) if cause.kind() == ErrorKind::NotFound && is_named => {
                return Err(LoadError::Read { path: file, cause });
            }
            Err(cause) => packs.unreadable.push(UnreadableFile::new(name, &cause)),
        }
    }
    Ok(())
}

/// Adds the files that rule packs import and that no path names. A file that does not exist is left
/// out: it is an error of the pack that imports it.
pub(crate) fn add_imports(files: &mut FileSet, root: &Path, packs: &mut PackFiles) {
    let named = packs.texts.iter().map(|text| text.name.as_str());
    let unreadable = packs.unreadable.iter().map(UnreadableFile::name);
    let mut known: HashSet<String> = named.chain(unreadable).map(str::to_owned).collect();
    let mut next = 0;
    while let Some(text) = packs.texts.get(next) {
        next += 1;
        for name in guerdon_rules::imports(text) {
            if packs.texts.len() >= MAX_TEXTS || !known.insert(name.clone()) {
                continue;
            }
            match files.read(&root.join(&name)) {
                Ok(text) => packs.texts.push(SourceText::new(name, &*text)),
                Err(cause) if cause.kind() == ErrorKind::NotFound => {}
                Err(cause) => packs.unreadable.push(UnreadableFile::new(name, &cause)),
            }
        }
    }
}

/// The rule packs of one named path.
pub(crate) enum NamedPacks {
    /// At least one file that is not blank, or that cannot be read.
    Found,
    /// Nothing, with the reason as the end of a sentence.
    Nothing(&'static str),
}

impl NamedPacks {
    /// Adds the packs of the file or folder `named` to `packs`, unless there are none.
    ///
    /// # Errors
    /// [`LoadError::Read`] for a folder that cannot be listed.
    pub(crate) fn read(
        files: &mut FileSet,
        root: &Path,
        named: &Path,
        packs: &mut PackFiles,
    ) -> Result<Self, LoadError> {
        let mut found = PackFiles::default();
        match add_packs(files, root, named, &mut found) {
            Err(LoadError::Read { path, cause })
                if cause.kind() == ErrorKind::NotFound && path == root.join(named) =>
            {
                return Ok(Self::Nothing("does not exist"));
            }
            added => added?,
        }
        if found.unreadable.is_empty()
            && let Some(why) = lack(&found.texts)
        {
            return Ok(Self::Nothing(why));
        }
        packs.texts.extend(found.texts);
        packs.unreadable.extend(found.unreadable);
        Ok(Self::Found)
    }
}

/// The reason for which texts are as good as none.
fn lack(texts: &[SourceText]) -> Option<&'static str> {
    if texts.is_empty() {
        Some("has no file of this kind")
    } else {
        texts.iter().all(|text| is_blank(&text.text)).then_some("has no text but comments")
    }
}

/// The content of one named path.
pub(crate) enum NamedTexts {
    /// At least one text that is not blank.
    Found(Vec<SourceText>),
    /// Nothing, with the reason as the end of a sentence.
    Nothing(&'static str),
}

impl NamedTexts {
    /// Reads the file or folder `named` through `files`.
    ///
    /// # Errors
    /// [`LoadError::Read`] for a file that exists and cannot be read.
    pub(crate) fn read(
        files: &mut FileSet,
        root: &Path,
        named: &Path,
        extensions: Extensions,
    ) -> Result<Self, LoadError> {
        let texts = match texts_at(files, root, named, extensions) {
            Err(LoadError::Read { path, cause })
                if cause.kind() == ErrorKind::NotFound && path == root.join(named) =>
            {
                return Ok(Self::Nothing("does not exist"));
            }
            texts => texts?,
        };
        Ok(lack(&texts).map_or(Self::Found(texts), Self::Nothing))
    }
}

fn texts_at(
    files: &mut FileSet,
    root: &Path,
    named: &Path,
    extensions: Extensions,
) -> Result<Vec<SourceText>, LoadError> {
    let found = files_at(files, root, named, extensions)?;
    let read = |(named, file): (PathBuf, PathBuf)| {
        let text = files.read(&file).map_err(|cause| LoadError::Read { path: file, cause })?;
        Ok(SourceText::new(named.display().to_string(), &*text))
    };
    found.into_iter().map(read).collect()
}

/// The files of a named path: as they are named, and where they are.
fn files_at(
    files: &mut FileSet,
    root: &Path,
    named: &Path,
    extensions: Extensions,
) -> Result<Vec<(PathBuf, PathBuf)>, LoadError> {
    let path = root.join(named);
    if !files.is_folder(&path) {
        return Ok(vec![(named.to_owned(), path)]);
    }
    // The folder itself is part of the set, so that a file added to it is a change.
    let listed = files.list(&path, extensions);
    let listed = listed.map_err(|cause| LoadError::Read { path: path.clone(), cause })?;
    Ok(listed.into_iter().filter_map(|file| Some((named.join(file.file_name()?), file))).collect())
}

/// True if a text has only white space and comments of YAML.
fn is_blank(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines()
        .map(str::trim)
        .all(|line| line.is_empty() || line.starts_with('#') || matches!(line, "---" | "..."))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes its own files")]
mod tests {
    use super::*;

    fn found(folder: &Path, named: &str) -> Result<Vec<String>, &'static str> {
        let mut packs = PackFiles::default();
        let read = NamedPacks::read(&mut FileSet::default(), folder, Path::new(named), &mut packs);
        match read.unwrap() {
            NamedPacks::Found => Ok(packs.texts.into_iter().map(|text| text.name).collect()),
            NamedPacks::Nothing(why) => Err(why),
        }
    }

    #[test]
    fn folder_without_packs_is_nothing_and_hidden_files_are_no_packs() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(found(folder.path(), "rules"), Err("does not exist"));
        std::fs::create_dir(folder.path().join("rules")).unwrap();
        assert_eq!(found(folder.path(), "rules"), Err("has no file of this kind"));
        for name in ["README.md", "README.yaml", ".hidden.yaml", ".yaml", "notes.txt", "a.yaml~"] {
            std::fs::write(folder.path().join("rules").join(name), "pack: x").unwrap();
            assert_eq!(found(folder.path(), "rules"), Err("has no file of this kind"), "{name}");
        }
        for blank in ["", " \n", "# only\n---\n", "\u{feff}#\r\n"] {
            std::fs::write(folder.path().join("rules/a.yaml"), blank).unwrap();
            assert_eq!(found(folder.path(), "rules"), Err("has no text but comments"), "{blank:?}");
            assert_eq!(found(folder.path(), "rules/a.yaml"), Err("has no text but comments"));
        }
        std::fs::write(folder.path().join("rules/b.yml"), "pack: x").unwrap();
        let both = ["rules/a.yaml", "rules/b.yml"].map(str::to_owned);
        assert_eq!(found(folder.path(), "rules"), Ok(both.to_vec()), "the report names a.yaml");
    }

    #[test]
    fn imported_files_are_read_once_and_followed() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        write("a.yaml", "pack: a\nimport: [words.yaml, gone.yaml, ../b.yaml]\nrules: []\n");
        write("words.yaml", "library: w\nimport: [units.yaml, a.yaml]\n");
        write("units.yaml", "library: u\n");
        let mut files = FileSet::default();
        let texts = texts_at(&mut files, folder.path(), Path::new("a.yaml"), &PACKS).unwrap();
        let mut packs = PackFiles { texts, ..PackFiles::default() };
        add_imports(&mut files, folder.path(), &mut packs);
        let names: Vec<&str> = packs.texts.iter().map(|text| text.name.as_str()).collect();
        assert_eq!(names, ["a.yaml", "words.yaml", "units.yaml"]);
        assert!(!files.has_changed());
        write("gone.yaml", "library: g\n");
        assert!(files.has_changed(), "a missing import is followed");
    }

    #[test]
    fn an_unreadable_file_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), b"pack: \xff\xfe").unwrap();
        std::fs::write(folder.path().join("b.yaml"), "pack: b\nimport: [words.yaml]\n").unwrap();
        std::fs::create_dir(folder.path().join("words.yaml")).unwrap();
        let here = [PathBuf::from("a.yaml"), PathBuf::from("b.yaml")];
        let found = packs(folder.path(), &here).unwrap();
        let unreadable: Vec<&str> = found.unreadable.iter().map(UnreadableFile::name).collect();
        assert_eq!((found.texts.len(), unreadable), (1, vec!["a.yaml", "words.yaml"]));
        assert!(packs(folder.path(), &[PathBuf::from("c.yaml")]).is_err());
    }

    #[test]
    fn dangling_link_in_a_folder_is_a_file_that_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("a.yaml")).unwrap();
        let mut files = FileSet::default();
        let mut packs = PackFiles::default();
        let read = NamedPacks::read(&mut files, folder.path(), Path::new("."), &mut packs);
        assert!(matches!(read, Ok(NamedPacks::Found)));
        assert_eq!(packs.unreadable.len(), 1);
    }
}
