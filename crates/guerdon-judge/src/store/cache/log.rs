//! The append-only file of answers, and the index of its lines.
//!
//! A line is a checksum (half of its SHA-256), a keyword and its arguments. Lines with a wrong
//! checksum are skipped: the torn end of a write that a kill cut short, or blocks that a power cut
//! left empty. A write begins with a line end, so that nothing is appended to such a torn line.
//! Reading continues at the last offset, so lines written before, by this process and by other
//! processes are all read in the same way.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use crate::ask::answer::JudgeAnswer;
use crate::ask::key::QuestionKey;

/// The first line.
const HEADER: &str = "guerdon judge answers, form 1\n";
/// Hexadecimal digits of a checksum.
const SUM: usize = 32;
/// Files smaller than this are not worth tidying.
const SMALL: u64 = 1 << 20;

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum LogChange {
    Keep(QuestionKey, JudgeAnswer),
    Forget(QuestionKey),
    /// Adds to the spending of an account.
    Spend(String, f64),
}

/// The lines of `changes`.
pub(super) fn frame<'a>(changes: impl IntoIterator<Item = &'a LogChange>) -> io::Result<String> {
    let mut lines = String::new();
    for change in changes {
        lines.push_str(&line(&match change {
            LogChange::Keep(key, answer) => {
                format!("keep {} {}", String::from(*key), serde_json::to_string(answer)?)
            }
            LogChange::Forget(key) => format!("forget {}", String::from(*key)),
            LogChange::Spend(account, cost) => format!("spend {cost:?} {account}"),
        }));
    }
    Ok(lines)
}

fn line(body: &str) -> String {
    format!("{} {body}\n", sum(body))
}

fn sum(body: &str) -> String {
    let mut sum = guerdon_text::sha256_hex(body);
    sum.truncate(SUM);
    sum
}

/// Appends `frame`, lines that belong together. They are with the operating system when this
/// returns: a process that is killed loses none of them, a machine that loses power those that were
/// not [synced](File::sync_data).
pub(super) fn append(mut file: &File, frame: &str) -> io::Result<()> {
    let frame = format!("\n{frame}");
    loop {
        match file.write(frame.as_bytes()) {
            // Not the rest: another process may have written in between. What is there already is
            // passed over.
            Ok(written) if written < frame.len() && written > 0 => {}
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sets a file aside whose first write was cut short, as by a full disk. It holds no answer. No
/// other process may have it open.
pub(super) fn set_aside_if_torn(path: &Path) -> io::Result<()> {
    if is_torn(path)? {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".torn");
        std::fs::rename(path, &aside)?;
        tracing::warn!(
            path = %path.display(), aside = %Path::new(&aside).display(),
            "the file of answers ends within its first line, as after a full disk; it is set aside"
        );
    }
    Ok(())
}

/// Opens `path` for appending; makes it if it is missing.
pub(super) fn open(path: &Path) -> io::Result<File> {
    check_kind(path)?;
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    if file.metadata()?.len() == 0 {
        // The rest of the file is invalid without the header.
        if let Err(error) = file.write_all(HEADER.as_bytes()).and_then(|()| file.sync_all()) {
            // The next start finds an empty file and not half a header.
            file.set_len(0)?;
            return Err(error);
        }
    }
    Ok(file)
}

/// Refuses a pipe, a socket or a device: opening a pipe would wait for its other end.
pub(super) fn check_kind(path: &Path) -> io::Result<()> {
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() => {
            let wrong = "is not a regular file; name another one";
            Err(io::Error::new(io::ErrorKind::InvalidInput, wrong))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns true if the file holds the start of a header and nothing else but zeros, which a power
/// cut leaves.
fn is_torn(path: &Path) -> io::Result<bool> {
    /// A torn write leaves at most one block of the file system.
    const BLOCK: usize = 64 << 10;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut start = Vec::new();
    file.take(BLOCK as u64 + 1).read_to_end(&mut start)?;
    let written = start.len() - start.iter().rev().take_while(|byte| **byte == 0).count();
    let torn = start.get(..written).unwrap_or_default();
    let is_part = HEADER.as_bytes().starts_with(torn) && torn.len() < HEADER.len();
    Ok(!start.is_empty() && start.len() <= BLOCK && is_part)
}

/// Byte range of an answer in the file, as JSON.
#[derive(Debug, Clone, Copy)]
struct AnswerPlace {
    at: u64,
    len: usize,
}

/// The content of a file, up to the last offset read.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    read_to: u64,
    answers: HashMap<QuestionKey, AnswerPlace>,
    spent: BTreeMap<String, f64>,
}

impl Log {
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut header = String::new();
        (&mut file).take(HEADER.len() as u64).read_to_string(&mut header).unwrap_or_default();
        if header != HEADER {
            let wrong = "is not a file of judge answers of this version; name another file";
            return Err(io::Error::new(io::ErrorKind::InvalidData, wrong));
        }
        let read_to = header.len() as u64;
        let mut log = Self { file, read_to, answers: HashMap::new(), spent: BTreeMap::new() };
        log.follow()?;
        Ok(log)
    }

    /// Reads the lines appended since the last call.
    pub(super) fn follow(&mut self) -> io::Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.read_to))?;
        let mut lines = BufReader::with_capacity(1 << 16, file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let bytes = lines.read_until(b'\n', &mut line)? as u64;
            // A line that is not ended yet is read again when there is more.
            let Some((b'\n', body)) = line.split_last() else { return Ok(()) };
            if let Some(body) = checked(body) {
                learn(&mut self.answers, &mut self.spent, body, self.read_to + bytes - 1);
            }
            self.read_to += bytes;
        }
    }

    pub(super) fn answer(&self, key: &QuestionKey) -> io::Result<Option<JudgeAnswer>> {
        let Some(place) = self.answers.get(key) else { return Ok(None) };
        let json = self.json(*place)?;
        // What an older or newer guerdon wrote in another form is as good as not there.
        Ok(serde_json::from_slice(&json).ok())
    }

    fn json(&self, AnswerPlace { at, len }: AnswerPlace) -> io::Result<Vec<u8>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(at))?;
        let mut json = vec![0; len];
        file.read_exact(&mut json)?;
        Ok(json)
    }

    /// The keys of all answers, in their order.
    pub(super) fn keys(&self) -> Vec<QuestionKey> {
        let mut keys: Vec<QuestionKey> = self.answers.keys().copied().collect();
        keys.sort_unstable();
        keys
    }

    pub(super) const fn spent(&self) -> &BTreeMap<String, f64> {
        &self.spent
    }
}

/// The content of a line, if its checksum is correct.
fn checked(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?;
    let (own, body) = line.split_at_checked(SUM)?;
    let body = body.strip_prefix(' ')?;
    (own == sum(body)).then_some(body)
}

/// `end` is where the line's end stands. What is in no known form is passed over: another guerdon
/// may know it.
fn learn(
    answers: &mut HashMap<QuestionKey, AnswerPlace>,
    spent: &mut BTreeMap<String, f64>,
    body: &str,
    end: u64,
) {
    let Some((word, rest)) = body.split_once(' ') else { return };
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    match word {
        "keep" => {
            if let Ok(key) = QuestionKey::try_from(first.to_owned()) {
                answers
                    .insert(key, AnswerPlace { at: end - second.len() as u64, len: second.len() });
            }
        }
        "forget" => {
            if let Ok(key) = QuestionKey::try_from(first.to_owned()) {
                answers.remove(&key);
            }
        }
        "spend" => {
            if let Ok(cost) = first.parse::<f64>() {
                *spent.entry(second.to_owned()).or_default() += cost;
            }
        }
        _ => {}
    }
}

/// Rewrites the file if more than half of it is obsolete. No other process may have it open.
pub(super) fn tidy(path: &Path) -> io::Result<()> {
    let log = Log::read(path)?;
    let live: usize = log.answers.values().map(|place| place.len + SUM + 72).sum();
    if log.read_to < SMALL || (live as u64) * 2 > log.read_to {
        return Ok(());
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(".tidy");
    let mut file = io::BufWriter::new(File::create(&aside)?);
    file.write_all(HEADER.as_bytes())?;
    let mut places: Vec<(&QuestionKey, &AnswerPlace)> = log.answers.iter().collect();
    places.sort_unstable_by_key(|(_, place)| place.at);
    for (key, place) in places {
        let json = String::from_utf8(log.json(*place)?).map_err(|_| io::ErrorKind::InvalidData)?;
        file.write_all(line(&format!("keep {} {json}", String::from(*key))).as_bytes())?;
    }
    for (account, cost) in &log.spent {
        file.write_all(frame([&LogChange::Spend(account.clone(), *cost)])?.as_bytes())?;
    }
    file.into_inner()?.sync_all()?;
    std::fs::rename(&aside, path)
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::{answer, key};
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the test inspects the written file")]
    fn bytes(path: &Path) -> Vec<u8> {
        std::fs::read(path).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "a test makes the file that is to be read")]
    fn make(path: &Path, bytes: &[u8]) {
        std::fs::write(path, bytes).unwrap();
    }

    fn kept(path: &Path, changes: &[LogChange]) {
        let file = open(path).unwrap();
        for change in changes {
            append(&file, &frame([change]).unwrap()).unwrap();
        }
    }

    #[test]
    fn torn_write_loses_no_other_line() {
        let folder = tempfile::tempdir().unwrap();
        let (path, torn) = (folder.path().join("whole"), folder.path().join("torn"));
        let before =
            [LogChange::Keep(key(1), answer("a", 7)), LogChange::Spend("run:x y".to_owned(), 0.25)];
        kept(&path, &before);
        let intact = std::fs::metadata(&path).unwrap().len();
        kept(&path, &[LogChange::Keep(key(2), answer("cut short", 8))]);
        let bytes = bytes(&path);
        for cut in usize::try_from(intact).unwrap()..bytes.len() {
            make(&torn, &bytes[..cut]);
            kept(&torn, &[LogChange::Keep(key(3), answer("after", 9))]);
            let log = Log::read(&torn).unwrap();
            assert_eq!(log.answer(&key(1)).unwrap(), Some(answer("a", 7)), "cut at {cut}");
            // Only its line end is missing, and the next write brings one.
            assert_eq!(
                log.answer(&key(2)).unwrap().is_some(),
                cut == bytes.len() - 1,
                "cut at {cut}"
            );
            assert_eq!(log.answer(&key(3)).unwrap(), Some(answer("after", 9)), "cut at {cut}");
            assert!((log.spent()["run:x y"] - 0.25).abs() < 1e-12);
        }
    }

    #[test]
    fn a_byte_that_changed_costs_its_own_line_and_empty_blocks_cost_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        kept(
            &path,
            &[
                LogChange::Keep(key(1), answer("first", 7)),
                LogChange::Keep(key(2), answer("second", 8)),
            ],
        );
        let whole = bytes(&path);
        let from = HEADER.len() + 1;
        for at in from..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            bytes.extend([0; 512]);
            make(&path, &bytes);
            kept(&path, &[LogChange::Keep(key(3), answer("third", 9))]);
            let log = Log::read(&path).unwrap();
            assert_eq!(log.answer(&key(3)).unwrap(), Some(answer("third", 9)));
            let left = [log.answer(&key(1)).unwrap(), log.answer(&key(2)).unwrap()];
            assert!(left.iter().flatten().count() >= 1, "at {at}");
            assert!(left[0].as_ref().is_none_or(|one| *one == answer("first", 7)), "at {at}");
            assert!(left[1].as_ref().is_none_or(|one| *one == answer("second", 8)), "at {at}");
        }
    }

    #[test]
    fn a_reader_goes_on_where_it_stopped_and_waits_for_the_end_of_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        kept(&path, &[LogChange::Keep(key(1), answer("a", 7))]);
        let mut log = Log::read(&path).unwrap();
        let frame = frame([&LogChange::Keep(key(2), answer("b", 8))]).unwrap();
        let mut file = open(&path).unwrap();
        let (half, rest) = frame.split_at(frame.len() / 2);
        file.write_all(half.as_bytes()).unwrap();
        log.follow().unwrap();
        assert_eq!(log.answer(&key(2)).unwrap(), None);
        file.write_all(rest.as_bytes()).unwrap();
        kept(&path, &[LogChange::Forget(key(1))]);
        log.follow().unwrap();
        assert_eq!((log.answer(&key(2)).unwrap(), log.keys().len()), (Some(answer("b", 8)), 1));
    }

    #[test]
    fn a_file_that_mostly_says_nothing_any_more_is_written_anew_and_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = open(&path).unwrap();
        for at in 0..4000 {
            let keep =
                LogChange::Keep(key(u8::try_from(at % 3).unwrap()), answer(&"x".repeat(200), at));
            append(&file, &frame([&keep, &LogChange::Spend("day:1 m".to_owned(), 0.5)]).unwrap())
                .unwrap();
        }
        let before = std::fs::metadata(&path).unwrap().len();
        tidy(&path).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() * 100 < before);
        let log = Log::read(&path).unwrap();
        let at = |byte| log.answer(&key(byte)).unwrap().unwrap().at;
        assert_eq!((at(0), at(1), at(2), log.keys().len()), (3999, 3997, 3998, 3));
        assert!((log.spent()["day:1 m"] - 2000.0).abs() < 1e-9);
    }

    #[test]
    fn a_header_cut_short_anywhere_is_set_aside_and_a_new_file_is_made() {
        for zeros in [0, 1, 4096] {
            for cut in 0..HEADER.len() {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("log");
                let torn = [&HEADER.as_bytes()[..cut], &vec![0; zeros]].concat();
                make(&path, &torn);
                set_aside_if_torn(&path).unwrap();
                kept(&path, &[LogChange::Keep(key(1), answer("a", 7))]);
                let log = Log::read(&path).unwrap();
                assert_eq!(log.answer(&key(1)).unwrap(), Some(answer("a", 7)), "{cut}, {zeros}");
                if !torn.is_empty() {
                    assert_eq!(bytes(&folder.path().join("log.torn")), torn);
                }
            }
        }
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_its_other_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(open(&path).unwrap_err().to_string().contains("not a regular file"));
        assert!(open(folder.path()).is_err(), "a folder");
    }

    #[test]
    fn a_file_of_something_else_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letter");
        make(&path, b"Dear all");
        assert!(
            Log::read(&path).unwrap_err().to_string().contains("is not a file of judge answers")
        );
        assert_eq!(bytes(&path), b"Dear all");
    }
}
