//! Reads the rollouts of a file: JSON lines, a JSON list, or the body of a score request, plain or
//! compressed with gzip or zstd; or Parquet.
//!
//! | file | content |
//! |---|---|
//! | `file.rs` | opens and decompresses the file |
//! | `lines.rs` | lines of bounded length |
//! | `form.rs` | tells JSON lines from a document |
//! | `entry.rs` | the rollouts of one row, or their errors |

mod entry;
mod file;
mod form;
mod lines;

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, bail};
use guerdon_parquet::RowReader;
use guerdon_types::{RolloutId, ScoreRequest};
use sha2::{Digest as _, Sha256};

use self::entry::RowText;
use self::file::InputFile;
use self::form::{DOCUMENT_BYTES, FirstLine, JsonDocument};
use self::lines::{BoundedLines, RawLine};
use super::rows::{RowOptions, RowOrigin};

pub(super) use self::entry::{InputEntry, Place, without_reward};
pub(super) use self::file::FileId;
pub(super) use self::lines::LINE_BYTES;

/// An input that was read once. Rows are read again while they are scored, so that a large file
/// needs little memory.
pub(super) struct Input {
    file: InputFile,
    document: Option<JsonDocument>,
    pub(super) options: RowOptions,
    /// The number of rollouts, with those that cannot be scored.
    pub(super) rollouts: usize,
    /// The hash of the decompressed content.
    pub(super) sha256: String,
    /// The indices of the chosen replies of preference pairs. The rejected ones follow them.
    pub(super) pairs: Vec<usize>,
    shared: SharedIds,
}

impl Input {
    /// Opens and reads the input.
    ///
    /// # Errors
    /// It cannot be read, or its format cannot.
    pub(super) fn open(path: &Path, options: RowOptions) -> anyhow::Result<Self> {
        let file = InputFile::open(path)?;
        let mut contents = Contents { options, ..Contents::default() };
        let (document, sha256) = match file.is_parquet() {
            true => {
                contents.add_all(RowTexts::Parquet(file.rows()?, 0), &file.name)?;
                let hash = guerdon_text::sha256_hex_of_reader(file.reader()?);
                (None, hash.with_context(|| format!("cannot read {}", file.name))?)
            }
            false => read_text(&file, &mut contents)?,
        };
        let Contents { rollouts, pairs, mut shared, .. } = contents;
        shared.retain_shared();
        Ok(Self { file, document, options, rollouts, sha256, pairs, shared })
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
        let texts = match &self.document {
            Some(document) => RowTexts::Document(document, 0),
            None if self.file.is_parquet() => RowTexts::Parquet(self.file.rows()?, 0),
            None => {
                let lines = BoundedLines::new(self.file.reader()?);
                RowTexts::Lines(Box::new(lines), self.options.origin)
            }
        };
        Ok(Entries { input: self, texts: Some(texts), waiting: VecDeque::new(), index: 0 })
    }
}

/// Summary of an input that was read once.
#[derive(Default)]
struct Contents {
    options: RowOptions,
    rollouts: usize,
    pairs: Vec<usize>,
    shared: SharedIds,
}

impl Contents {
    fn add(&mut self, text: &RowText<'_>) {
        let read = text.parse(&self.options);
        if read.is_pair {
            self.pairs.push(self.rollouts);
        }
        for entry in &read.entries {
            self.shared.add(entry.id.as_ref(), text.place);
        }
        self.rollouts += read.entries.len();
    }

    fn add_all(&mut self, mut texts: RowTexts<'_>, name: &str) -> anyhow::Result<()> {
        while let Some(text) = texts.next().with_context(|| format!("cannot read {name}"))? {
            self.add(&text);
        }
        Ok(())
    }
}

/// Reads an input of JSON lines, or one JSON document. Returns the document and the hash of the
/// content.
fn read_text(
    file: &InputFile,
    contents: &mut Contents,
) -> anyhow::Result<(Option<JsonDocument>, String)> {
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
    let document = match form {
        FirstLine::Rollout => None,
        _ => whole(file, &first, &form)?,
    };
    let has_lines = document.is_none();
    let origin = contents.options.origin;
    for line in first.into_iter().filter(|line| has_lines && !line.is_blank()) {
        contents.add(&line_text(line, origin));
    }
    while let Some(line) = lines.next_line(LINE_BYTES).with_context(cannot)? {
        if has_lines && !line.is_blank() {
            contents.add(&line_text(line, origin));
        }
    }
    if let Some(document) = &document {
        contents.add_all(RowTexts::Document(document, 0), &file.name)?;
    }
    Ok((document, lines.sha256()))
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

fn line_text(line: RawLine, origin: RowOrigin) -> RowText<'static> {
    let is_cut = line.is_cut || line.bytes.len() > LINE_BYTES;
    let place = match origin {
        RowOrigin::Rows { first } => Place::Row(first + line.number),
        RowOrigin::Bytes { start } if start > 0 => Place::RangeLine(line.number, start),
        _ => Place::Line(line.number),
    };
    RowText { place, bytes: Cow::Owned(line.bytes), is_cut }
}

/// The texts of the rows of an input, in order.
enum RowTexts<'a> {
    Lines(Box<BoundedLines<BufReader<Box<dyn Read>>>>, RowOrigin),
    /// A document, and the index of the next rollout in it.
    Document(&'a JsonDocument, usize),
    /// The rows of a table, and the number of those that were read.
    Parquet(RowReader, usize),
}

impl<'a> RowTexts<'a> {
    /// The next text; `None` at the end.
    fn next(&mut self) -> anyhow::Result<Option<RowText<'a>>> {
        match self {
            Self::Lines(lines, origin) => loop {
                match lines.next_line(LINE_BYTES)? {
                    Some(line) if line.is_blank() => {}
                    line => return Ok(line.map(|line| line_text(line, *origin))),
                }
            },
            Self::Document(document, index) => {
                let Some(bytes) = document.text(*index) else { return Ok(None) };
                *index += 1;
                let (place, is_cut) = (Place::Rollout(*index), bytes.len() > LINE_BYTES);
                Ok(Some(RowText { place, bytes: Cow::Borrowed(bytes), is_cut }))
            }
            Self::Parquet(rows, count) => {
                let Some(row) = rows.next().transpose()? else { return Ok(None) };
                *count += 1;
                let bytes = serde_json::to_vec(&row)?;
                let is_cut = bytes.len() > LINE_BYTES;
                Ok(Some(RowText { place: Place::Row(*count), bytes: Cow::Owned(bytes), is_cut }))
            }
        }
    }
}

/// Iterator over the rollouts of an input.
pub(super) struct Entries<'a> {
    input: &'a Input,
    texts: Option<RowTexts<'a>>,
    /// The other rollouts of the last row.
    waiting: VecDeque<InputEntry>,
    index: usize,
}

impl Entries<'_> {
    /// The next rollout; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read, or has changed since it was opened.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<InputEntry>> {
        let Input { options, shared, sha256, .. } = self.input;
        let cannot = || format!("cannot read {}", self.input.name());
        while self.waiting.is_empty()
            && let Some(texts) = &mut self.texts
        {
            match texts.next().with_context(cannot)? {
                Some(text) => {
                    let place = text.place;
                    let read = text.read(options, self.index, |id| shared.other(id, place));
                    self.index += read.len();
                    self.waiting.extend(read);
                }
                None => {
                    if let Some(RowTexts::Lines(lines, _)) = self.texts.take()
                        && lines.sha256() != *sha256
                    {
                        bail!("{} was changed while it was scored", self.input.name());
                    }
                }
            }
        }
        Ok(self.waiting.pop_front())
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
    fn add(&mut self, id: Option<&RolloutId>, place: Place) {
        if let Some(id) = id {
            self.places
                .entry(key(id))
                .and_modify(|(_, second)| {
                    second.get_or_insert(place);
                })
                .or_insert((place, None));
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
        let input = Input::open(file.path(), RowOptions::default())?;
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
