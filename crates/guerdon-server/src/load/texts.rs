//! Rule packs and judge prompts from disk: the one walk over the files and folders that a
//! configuration or a command line names.

use std::path::{Path, PathBuf};

use guerdon_text::SourceText;

use crate::error::LoadError;
use crate::load::file_set::FileSet;

/// The extensions of rule packs.
pub const PACKS: [&str; 2] = ["yaml", "yml"];
/// The extension of judge prompts.
pub const PROMPTS: [&str; 1] = ["md"];

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
    texts_of(&mut FileSet::default(), root, paths, extensions)
}

/// As [`texts`], through `files`.
pub(crate) fn texts_of(
    files: &mut FileSet,
    root: &Path,
    paths: &[PathBuf],
    extensions: &'static [&'static str],
) -> Result<Vec<SourceText>, LoadError> {
    let mut texts = Vec::new();
    for named in paths {
        let path = root.join(named);
        let mut found = vec![(named.clone(), path.clone())];
        if files.is_folder(&path) {
            // The folder itself is part of the set, so that a file added to it is a change.
            let listed = files.list(&path, extensions);
            found = listed
                .map_err(|cause| LoadError::Read { path: path.clone(), cause })?
                .into_iter()
                .filter_map(|file| Some((named.join(file.file_name()?), file)))
                .collect();
        }
        for (named, file) in found {
            let text = files.read(&file).map_err(|cause| LoadError::Read { path: file, cause })?;
            texts.push(SourceText::new(named.display().to_string(), &*text));
        }
    }
    Ok(texts)
}
