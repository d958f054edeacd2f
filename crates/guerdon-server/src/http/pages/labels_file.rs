//! The labels' file: a line for each answer, beside the ledger.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use guerdon_inspector::Answer;
use rustix::fs::OFlags;

/// The longest file, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// The answers of a file; none if it does not exist.
///
/// # Errors
/// The file is a link or no regular file, or cannot be read.
pub(super) fn read(path: &Path) -> io::Result<Vec<Answer>> {
    let mut bytes = Vec::new();
    match opened(OpenOptions::new().read(true), path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?.take(MAX_FILE).read_to_end(&mut bytes)?,
    };
    Ok(Answer::read(&String::from_utf8_lossy(&bytes)))
}

/// Adds a line, which is on disk when this returns.
///
/// # Errors
/// As [`read`]; or the file would be too long, or the disk refuses.
pub(super) fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut file = opened(OpenOptions::new().read(true).append(true).create(true), path)?;
    let length = file.metadata()?.len();
    if length + line.len() as u64 > MAX_FILE {
        let full = format!("the file of labels has no room below {MAX_FILE} bytes; move it away");
        return Err(io::Error::other(full));
    }
    let mut last = [b'\n'];
    if length > 0 {
        file.seek(SeekFrom::Start(length - 1))?;
        file.read_exact(&mut last)?;
    }
    // A line that a full disk has cut ends here, and is left out by readers.
    let line = if last == [b'\n'] { line.to_owned() } else { format!("\n{line}") };
    file.write_all(line.as_bytes())?;
    file.sync_data()
}

/// Opens a regular file, not through a link. A pipe does not block.
fn opened(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = options.mode(0o600).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("the file of labels is no regular file"))
    }
}
