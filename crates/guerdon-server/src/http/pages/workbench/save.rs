//! The write of a pack's text to its own file, by rename in the same folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use guerdon_text::content_hash;

/// The longest file, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// A text for a file.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) path: PathBuf,
    /// The text, with line feeds.
    pub(super) text: String,
    /// The `sha256:…` of the file when it was read.
    pub(super) expected: String,
}

/// The reason why a text is not saved.
#[derive(Debug, thiserror::Error)]
pub(super) enum SaveError {
    /// The file has another content than the one that was edited.
    #[error(
        "the file was changed since it was opened here; open it again in another window, and copy \
         your change over"
    )]
    Changed,
    /// The file is a symbolic link.
    #[error("the file is a symbolic link; edit the file that it points to")]
    Link,
    /// A renamed file would belong to another user.
    #[error(
        "the file belongs to another user or group, which a new file cannot keep; edit it on disk"
    )]
    Owner,
    /// There is no regular file.
    #[error("there is no regular file")]
    NoFile,
    /// The file is too long for the workbench.
    #[error("the file has more than {MAX_FILE} bytes; edit it on disk")]
    TooLong,
    /// The disk refused.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The text of a pack's file, and the `sha256:…` of its bytes.
///
/// # Errors
/// The file is a link, is no regular file, is too long, or cannot be read.
pub(super) fn read(path: &Path) -> Result<(String, String), SaveError> {
    checked(path)?;
    let bytes = bytes_of(path)?;
    let hash = content_hash(&bytes);
    let text = guerdon_text::decode(bytes).map_err(io::Error::other)?;
    Ok((text.replace("\r\n", "\n"), hash))
}

/// The metadata of a regular file that is no link.
fn checked(path: &Path) -> Result<fs::Metadata, SaveError> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SaveError::NoFile),
        metadata => metadata?,
    };
    if metadata.is_symlink() {
        Err(SaveError::Link)
    } else if metadata.is_file() {
        Ok(metadata)
    } else {
        Err(SaveError::NoFile)
    }
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, SaveError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE { Err(SaveError::TooLong) } else { Ok(bytes) }
}

impl Draft {
    /// Writes the text, and returns the `sha256:…` of the new file. Line ends, permissions and owner
    /// stay those of the file.
    ///
    /// # Errors
    /// [`SaveError`]. The file is then unchanged.
    pub(super) fn save(&self) -> Result<String, SaveError> {
        let metadata = checked(&self.path)?;
        let old = bytes_of(&self.path)?;
        let has_crlf = old.windows(2).any(|pair| pair == b"\r\n");
        let text = if has_crlf { self.text.replace('\n', "\r\n") } else { self.text.clone() };
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Err(SaveError::NoFile);
        };
        // Loads leave out names that begin with a dot.
        let draft = format!(".{}.{}.draft", name.to_string_lossy(), uuid::Uuid::now_v7().simple());
        let draft = folder.join(draft);
        let written = self.write(&draft, text.as_bytes(), &metadata);
        // Frees the space of a full disk. If that fails too, the first error is returned.
        written.inspect_err(|_| drop(fs::remove_file(&draft)))?;
        // The rename lasts once the folder is on disk. The file itself is whole either way.
        drop(File::open(folder).and_then(|folder| folder.sync_all()));
        Ok(content_hash(text))
    }

    fn write(&self, draft: &Path, text: &[u8], old: &fs::Metadata) -> Result<(), SaveError> {
        // A new file: a link that waits at this name is an error.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid())).map_err(|_| SaveError::Owner)?;
        }
        file.set_permissions(old.permissions())?;
        file.write_all(text)?;
        file.sync_all()?;
        // As late as possible: other programs edit the file without asking this one.
        checked(&self.path)?;
        if content_hash(bytes_of(&self.path)?) != self.expected {
            return Err(SaveError::Changed);
        }
        fs::rename(draft, &self.path)?;
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes its own files")]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use proptest::prelude::*;

    use super::*;

    fn draft(path: &Path, text: &str, old: &str) -> Draft {
        Draft { path: path.to_owned(), text: text.to_owned(), expected: content_hash(old) }
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    proptest! {
        /// A text that is read and saved without an edit leaves the bytes as they were, whichever
        /// line ends the file has, and keeps its permissions.
        #[test]
        fn saved_text_is_the_edited_one(
            lines in prop::collection::vec("[a-z: é\u{feff}]{0,12}", 0..6),
            is_crlf: bool,
            mode in prop::sample::select(vec![0o600, 0o640, 0o664]),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.yaml");
            let old = lines.join(if is_crlf { "\r\n" } else { "\n" });
            fs::write(&path, &old).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let (text, hash) = read(&path).unwrap();
            let new = Draft { path: path.clone(), text, expected: hash }.save().unwrap();
            prop_assert_eq!(fs::read_to_string(&path).unwrap(), old.clone());
            prop_assert_eq!(new, content_hash(&old));
            prop_assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode);
            prop_assert_eq!(names(folder.path()), ["a.yaml"]);
        }
    }

    #[test]
    fn changed_file_keeps_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        fs::write(&path, "theirs").unwrap();
        let saved = draft(&path, "mine", "before both").save();
        assert!(matches!(saved, Err(SaveError::Changed)), "{saved:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        assert_eq!(names(folder.path()), ["a.yaml"], "no draft is left");
    }

    #[test]
    fn links_folders_and_missing_files_are_not_written() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (target, link) = (other.path().join("t.yaml"), folder.path().join("a.yaml"));
        fs::write(&target, "old").unwrap();
        symlink(&target, &link).unwrap();
        let saved = draft(&link, "new", "old").save();
        assert!(matches!(saved, Err(SaveError::Link)), "{saved:?}");
        assert!(matches!(read(&link), Err(SaveError::Link)));
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        fs::remove_file(&link).unwrap();
        assert!(matches!(draft(&link, "new", "old").save(), Err(SaveError::NoFile)));
        fs::create_dir(&link).unwrap();
        assert!(matches!(draft(&link, "new", "old").save(), Err(SaveError::NoFile)));
        assert_eq!(names(folder.path()), ["a.yaml"]);
    }
}
