//! Rule packs and judge prompts from disk: the one walk over the files and folders that people name.

use std::path::{Path, PathBuf};

use crate::error::LoadError;

/// The extensions of rule packs.
pub const PACKS: [&str; 2] = ["yaml", "yml"];
/// The extension of judge prompts.
pub const PROMPTS: [&str; 1] = ["md"];

/// The named files, and in named folders those with one of `extensions` that are not a README; each with the name to
/// quote in reports and its text. `files_read` gets every file and folder that was read or tried.
///
/// # Errors
/// [`LoadError::Read`] naming the file that cannot be read.
pub fn texts(
    root: &Path,
    paths: &[PathBuf],
    extensions: &[&str],
    files_read: &mut Vec<PathBuf>,
) -> Result<Vec<(String, String)>, LoadError> {
    let mut texts = Vec::new();
    for named in paths {
        let path = root.join(named);
        let read = |cause| LoadError::Read { path: path.clone(), cause };
        let mut files = vec![(named.clone(), path.clone())];
        if path.is_dir() {
            // The folder itself is watched, so that a file added to it is seen.
            files_read.push(path.clone());
            files.clear();
            for entry in std::fs::read_dir(&path).map_err(read)? {
                let file = entry.map_err(read)?.path();
                let wanted =
                    file.extension().is_some_and(|e| extensions.iter().any(|wanted| e == *wanted));
                let readme = file.file_stem().is_some_and(|stem| stem == "README");
                if let (true, false, Some(last)) = (wanted, readme, file.file_name()) {
                    files.push((named.join(last), file));
                }
            }
            files.sort();
        }
        for (named, file) in files {
            files_read.push(file.clone());
            #[expect(
                clippy::disallowed_methods,
                reason = "packs and prompts are read where configuration is loaded"
            )]
            let text = std::fs::read_to_string(&file)
                .map_err(|cause| LoadError::Read { path: file, cause })?;
            texts.push((named.display().to_string(), text));
        }
    }
    Ok(texts)
}
