//! Reads the rollouts of a file: JSON lines, a JSON list, or the body of a score request, plain or
//! compressed with gzip or zstd.
//!
//! | file | content |
//! |---|---|
//! | `file.rs` | opens and decompresses the file |
//! | `lines.rs` | lines of bounded length |
//! | `form.rs` | tells JSON lines from a document |
//! | `entry.rs` | one rollout, or the error of one |

mod entry;
mod file;
mod form;
mod lines;

use std::collections::HashMap;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, bail};
use guerdon_types::{RolloutId, ScoreRequest};
use sha2::{Digest as _, Sha256};

use self::entry::EntryText;
use self::file::InputFile;
use self::form::{DOCUMENT_BYTES, FirstLine, JsonDocument};
use self::lines::{BoundedLines, LINE_BYTES, RawLine};

pub(super) use self::entry::{InputEntry, Place, without_reward};
pub(super) use self::file::FileId;

/// An input that was read once. JSON lines are read again while they are scored, so that a large
/// file needs little memory.
pub(super) struct Input {
    file: InputFile,
    document: Option<JsonDocument>,
    /// The number of rollouts, with those that cannot be scored.
    pub(super) rollouts: usize,
    /// The hash of the decompressed content.
    pub(super) sha256: String,
    shared: SharedIds,
}

impl Input {
    /// Opens and reads the input.
    ///
    /// # Errors
    /// It cannot be read, or its format cannot.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = InputFile::open(path)?;
        let cannot = || format!("cannot read {}", file.name);
        let mut lines = BoundedLines::new(file.reader()?);
        let mut first = Vec::new();
        let mut form = FirstLine::Rollout;
        // The first line may be a whole document.
        while let Some(line) = lines.next_line(DOCUMENT_BYTES).with_context(cannot)? {
            let is_blank = line.is_blank();
            if !is_blank {
                form = FirstLine::of(&line.bytes);
            }
            first.push(line);
            if !is_blank {
                break;
            }
        }
        let mut document = None;
        if form != FirstLine::Rollout {
            document = whole(&file, &first, &form)?;
        }
        let mut shared = SharedIds::default();
        let mut rollouts = 0;
        let mut count = |line: &RawLine| {
            if !line.is_blank() {
                shared.add(&line_text(rollouts, line));
                rollouts += 1;
            }
        };
        if document.is_none() {
            first.iter().for_each(&mut count);
        }
        while let Some(line) = lines.next_line(LINE_BYTES).with_context(cannot)? {
            if document.is_none() {
                count(&line);
            }
        }
        let sha256 = lines.sha256();
        if let Some(document) = &document {
            rollouts = document.rollouts.len();
            for index in 0..rollouts {
                shared.add(&document_text(document, index));
            }
        }
        shared.retain_shared();
        Ok(Self { file, document, rollouts, sha256, shared })
    }

    /// The name, for messages.
    pub(super) fn name(&self) -> &str {
        &self.file.name
    }

    /// The file that was named.
    pub(super) const fn id(&self) -> FileId {
        self.file.id
    }

    /// The settings of an input that is a whole request.
    pub(super) fn settings(&self) -> Option<&ScoreRequest> {
        self.document.as_ref()?.settings.as_deref()
    }

    /// The rollouts, in order.
    pub(super) fn entries(&self) -> anyhow::Result<Entries<'_>> {
        let lines = match self.document {
            Some(_) => None,
            None => Some(BoundedLines::new(self.file.reader()?)),
        };
        Ok(Entries { input: self, lines, index: 0 })
    }
}

/// The document that the input is, if it is one.
fn whole(
    file: &InputFile,
    first: &[RawLine],
    form: &FirstLine,
) -> anyhow::Result<Option<JsonDocument>> {
    if *form == FirstLine::WholeDocument {
        // Lists or requests on several lines are lines with errors.
        let mut lines = BoundedLines::new(file.reader()?);
        let mut content = 0;
        while let Some(line) = lines.next_line(LINE_BYTES)? {
            content += usize::from(!line.is_blank());
            if content > 1 {
                return Ok(None);
            }
        }
    }
    let mut bytes = Vec::new();
    let most = DOCUMENT_BYTES as u64 + 1;
    file.reader()?.take(most).read_to_end(&mut bytes)?;
    let is_list = *form == FirstLine::ListBegins
        || first.last().is_some_and(|line| line.bytes.trim_ascii_start().starts_with(b"["));
    let name = &file.name;
    if bytes.len() > DOCUMENT_BYTES {
        if is_list {
            bail!(
                "{name} is a JSON list of more than {} GiB\n  help: write one rollout per line, as `jq -c '.[]'` does",
                DOCUMENT_BYTES >> 30
            );
        }
        return Ok(None);
    }
    match String::from_utf8(bytes) {
        Ok(text) => {
            let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
            JsonDocument::read(text, name)
        }
        Err(error) if is_list => {
            let at = error.utf8_error().valid_up_to() + 1;
            bail!("{name} is a JSON list, and byte {at} is not UTF-8\n  help: save it as UTF-8")
        }
        Err(_) => Ok(None),
    }
}

fn line_text(index: usize, line: &RawLine) -> EntryText<'_> {
    let place = Place::Line(line.number);
    let is_cut = line.is_cut || line.bytes.len() > LINE_BYTES;
    EntryText { index, place, bytes: &line.bytes, is_cut }
}

fn document_text(document: &JsonDocument, index: usize) -> EntryText<'_> {
    let bytes = document.text(index).unwrap_or_default();
    let is_cut = bytes.len() > LINE_BYTES;
    EntryText { index, place: Place::Rollout(index + 1), bytes, is_cut }
}

/// Iterator over the rollouts of an input.
pub(super) struct Entries<'a> {
    input: &'a Input,
    lines: Option<BoundedLines<BufReader<Box<dyn Read>>>>,
    index: usize,
}

impl Entries<'_> {
    /// The next rollout; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read, or has changed since it was opened.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<InputEntry>> {
        let Input { document, shared, .. } = self.input;
        if let Some(document) = document {
            let index = self.index;
            if index >= document.rollouts.len() {
                return Ok(None);
            }
            self.index += 1;
            let text = document_text(document, index);
            return Ok(Some(text.read(|id| shared.other(id, text.place))));
        }
        let cannot = || format!("cannot read {}", self.input.name());
        while let Some(lines) = &mut self.lines {
            match lines.next_line(LINE_BYTES).with_context(cannot)? {
                Some(line) if line.is_blank() => {}
                Some(line) => {
                    let text = line_text(self.index, &line);
                    self.index += 1;
                    return Ok(Some(text.read(|id| shared.other(id, text.place))));
                }
                None => {
                    let read = self.lines.take().map(BoundedLines::sha256);
                    if read.is_some_and(|read| read != self.input.sha256) {
                        bail!("{} was changed while it was scored", self.input.name());
                    }
                }
            }
        }
        Ok(None)
    }
}

/// The ids that several rollouts have. A caller could not tell their results apart.
#[derive(Debug, Default)]
struct SharedIds {
    /// For the hash of an id: the places of the first two rollouts that have it. Hashes, so that
    /// long ids need no memory.
    places: HashMap<[u8; 16], (Place, Option<Place>)>,
}

impl SharedIds {
    fn add(&mut self, text: &EntryText<'_>) {
        if let Some(id) = text.parse().id {
            self.places
                .entry(key(&id))
                .and_modify(|(_, second)| {
                    second.get_or_insert(text.place);
                })
                .or_insert((text.place, None));
        }
    }

    fn retain_shared(&mut self) {
        self.places.retain(|_, (_, second)| second.is_some());
        self.places.shrink_to_fit();
    }

    /// The place of another rollout with `id` than the one at `place`.
    fn other(&self, id: &RolloutId, place: Place) -> Option<Place> {
        let (first, second) = self.places.get(&key(id))?;
        if *first == place { *second } else { Some(*first) }
    }
}

fn key(id: &RolloutId) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(id.as_str().as_bytes()).into();
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use guerdon_types::ProblemCode;

    use super::*;

    const GOOD: &str = r#"{"messages": [{"role": "assistant", "content": "a"}]}"#;

    fn read(content: &[u8]) -> anyhow::Result<(Input, Vec<InputEntry>)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all(content).unwrap();
        let input = Input::open(file.path())?;
        let mut found = Vec::new();
        let mut entries = input.entries()?;
        while let Some(entry) = entries.next()? {
            found.push(entry);
        }
        drop(entries);
        Ok((input, found))
    }

    fn entries(lines: &[&str]) -> Vec<InputEntry> {
        read(lines.join("\n").as_bytes()).unwrap().1
    }

    #[test]
    fn line_without_an_id_has_its_index_as_id() {
        let entries = entries(&["", GOOD, "", GOOD]);
        assert_eq!(entries[1].rollout.as_ref().unwrap().id.as_ref().unwrap().as_str(), "1");
        assert_eq!(entries[1].place, Place::Line(4));
    }

    #[test]
    fn line_that_cannot_be_scored_becomes_a_result_with_the_error() {
        let named = r#"{"id": "r", "messages": [{"role": "assistant", "content": "a"}]}"#;
        let lines = entries(&[
            r#"{"messages": [{"role": "robot"}]}"#,
            r#"{"messages": []}"#,
            named,
            GOOD,
            named,
        ]);
        let error =
            |index: usize| lines[index].rollout.as_ref().unwrap_err().error.clone().unwrap();
        assert!(error(0).detail.starts_with("line 1: "), "{}", error(0).detail);
        assert_eq!(error(0).pointer.as_deref(), Some("/messages/0/role"));
        assert_eq!(error(1).code, ProblemCode::NoAssistantTurn);
        for (shared, other) in [(2, "line 5"), (4, "line 3")] {
            assert_eq!(lines[shared].rollout.as_ref().unwrap_err().id.as_str(), "r");
            assert_eq!(error(shared).pointer.as_deref(), Some("/id"));
            assert!(error(shared).detail.ends_with(other), "{}", error(shared).detail);
        }
        assert!(lines[3].rollout.is_ok());
    }

    #[test]
    fn every_form_gives_the_same_rollouts() {
        let (a, b) = (GOOD, GOOD.replace("\"a\"", "\"b\""));
        let pretty = |text: &str| text.replace(", ", ",\n  ").replace('{', "{\n ");
        for content in [
            format!("{a}\n{b}\n"),
            format!("\u{feff}{a}\r\n\r\n\u{feff}{b}"),
            format!("[{a}, {b}]"),
            format!("\n\n[\n{}\n,\n{}]\n", pretty(a), pretty(&b)),
            format!("\u{feff}[{a},\n{b}\n]"),
            format!("{{\"rollouts\": [{a}, {b}]}}\n\n"),
            format!("{{\n\"profile\": \"p\",\n\"rollouts\": [{a}, {b}]}}"),
            format!("{}\n{}\n", pretty(a), pretty(&b)),
        ] {
            let (input, found) = read(content.as_bytes()).unwrap();
            assert_eq!((input.rollouts, found.len()), (2, 2), "{content}");
            assert_eq!(input.sha256, guerdon_text::sha256_hex(&content));
            for (entry, text) in found.iter().zip(["a", "b"]) {
                assert_eq!(entry.rollout.as_ref().unwrap().messages[0].content, text, "{content}");
            }
        }
    }

    #[test]
    fn invalid_utf8_and_other_values_lose_only_their_line() {
        let lines: Vec<&[u8]> = vec![
            GOOD.as_bytes(),
            b"{\"messages\": [{\"role\": \"assistant\", \"content\": \"\xff\"}]}",
            b"[{\"role\": \"assistant\", \"content\": \"a\"}]",
            b"{\"rollouts\": []}",
            b"{\"messages\": [",
            b"\0\0\0",
            GOOD.as_bytes(),
        ];
        let (_, found) = read(&lines.join(&b'\n')).unwrap();
        let ok: Vec<bool> = found.iter().map(|entry| entry.rollout.is_ok()).collect();
        assert_eq!(ok, [true, false, false, false, false, false, true]);
        let error =
            |index: usize| found[index].rollout.as_ref().unwrap_err().error.clone().unwrap();
        assert!(error(1).detail.starts_with("line 2: byte 49 is not UTF-8"), "{}", error(1).detail);
        assert!(error(2).detail.ends_with("this is a list"), "{}", error(2).detail);
        assert!(error(3).hint.unwrap().contains("one rollout per line"));
    }
}
