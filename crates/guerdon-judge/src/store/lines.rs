//! Lines appended to a file by a writer thread, so that no caller waits for the disk. The queue is
//! bounded: a slow disk delays callers instead of losing lines. Each line is written through to the
//! operating system, so a killed process loses none.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

/// Lines that may wait for the thread.
const QUEUE: usize = 4096;

/// Rotation: the size at which a file is rotated, and the number of rotated files kept, as `name.1`
/// (the newest), `name.2`, …
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rotation {
    pub(crate) max_bytes: u64,
    pub(crate) keep: u32,
}

/// A file that lines are appended to.
#[derive(Debug)]
pub(crate) struct LineWriter {
    /// `None` only while it is dropped.
    queue: Option<mpsc::Sender<String>>,
    writer: Option<JoinHandle<()>>,
}

impl LineWriter {
    /// Opens `path` for appending; makes it and its folder if they are missing.
    pub(crate) fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        if path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo()) {
            let wrong = "is a pipe, whose other end could delay every call; name a regular file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, wrong));
        }
        let file = append(path)?;
        let written = file.metadata()?.len();
        let writer = LineThread { path: path.to_owned(), file, written, rotation };
        let (queue, lines) = mpsc::channel(QUEUE);
        let writer = std::thread::Builder::new()
            .name("judge-lines".to_owned())
            .spawn(move || writer.run(lines))?;
        Ok(Self { queue: Some(queue), writer: Some(writer) })
    }

    /// Appends `line`; the line end is added.
    pub(crate) async fn append(&self, mut line: String) {
        line.push('\n');
        if let Some(queue) = &self.queue {
            // The thread ends only with this value.
            drop(queue.send(line).await);
        }
    }
}

impl Drop for LineWriter {
    /// Waits until every line is written.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

struct LineThread {
    path: PathBuf,
    file: File,
    written: u64,
    rotation: Option<Rotation>,
}

impl LineThread {
    fn run(mut self, mut lines: mpsc::Receiver<String>) {
        while let Some(line) = lines.blocking_recv() {
            if let Err(error) = self.write(&line) {
                tracing::error!("{}: a line is lost: {error}", self.path.display());
            }
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let bytes = line.len() as u64;
        if let Some(rotation) = self.rotation
            && self.written > 0
            && self.written + bytes > rotation.max_bytes
        {
            self.rotate(rotation)?;
        }
        self.file.write_all(line.as_bytes())?;
        self.written += bytes;
        Ok(())
    }

    fn rotate(&mut self, rotation: Rotation) -> io::Result<()> {
        for older in (1..=rotation.keep).rev() {
            let from = if older == 1 { self.path.clone() } else { aside(&self.path, older - 1) };
            if from.exists() {
                std::fs::rename(from, aside(&self.path, older))?;
            }
        }
        if rotation.keep == 0 {
            std::fs::remove_file(&self.path)?;
        }
        self.file = append(&self.path)?;
        self.written = 0;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the test inspects the written file")]
    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_its_other_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(LineWriter::open(&path, None).unwrap_err().to_string().contains("is a pipe"));
    }

    #[tokio::test]
    async fn lines_are_appended_and_a_full_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/audit.jsonl");
        for line in ["one", "two", "three", "four", "five"] {
            let lines = LineWriter::open(&path, Some(Rotation { max_bytes: 9, keep: 2 })).unwrap();
            lines.append(line.to_owned()).await;
        }
        assert_eq!(text(&path), "five\n");
        assert_eq!(text(&aside(&path, 1)), "four\n");
        assert_eq!(text(&aside(&path, 2)), "three\n");
        assert!(!aside(&path, 3).exists());
    }
}
