//! The documents that the client has open.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ls_types::{Position, TextDocumentContentChangeEvent, Uri};
use ropey::Rope;

use crate::outline::Outline;
use crate::position::{Encoding, IndexedText};

/// A version of an open document.
#[derive(Debug)]
pub(crate) struct OpenDocument {
    pub(crate) uri: Uri,
    /// The file; for a document that is none, a name in the current folder.
    pub(crate) path: PathBuf,
    pub(crate) version: i32,
    rope: Rope,
    encoding: Encoding,
    text: OnceLock<IndexedText>,
    outline: OnceLock<Outline>,
}

impl OpenDocument {
    fn new(uri: Uri, version: i32, rope: Rope, encoding: Encoding) -> Self {
        let path = path_of(&uri);
        let (text, outline) = (OnceLock::new(), OnceLock::new());
        Self { uri, path, version, rope, encoding, text, outline }
    }

    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The text. Made on first use, which takes time linear in its length.
    pub(crate) fn text(&self) -> &IndexedText {
        self.text.get_or_init(|| IndexedText::new(self.rope.to_string(), self.encoding))
    }

    /// The outline. Made on first use, which takes time linear in the length of the text.
    pub(crate) fn outline(&self) -> &Outline {
        self.outline.get_or_init(|| Outline::read(&self.text().text))
    }
}

/// The open documents at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenDocuments {
    by_uri: HashMap<String, Arc<OpenDocument>>,
}

impl OpenDocuments {
    pub(crate) fn open(&mut self, uri: Uri, version: i32, text: &str, encoding: Encoding) {
        let key = uri.as_str().to_owned();
        let document = OpenDocument::new(uri, version, Rope::from_str(text), encoding);
        self.by_uri.insert(key, Arc::new(document));
    }

    /// Applies changes in their order. Returns false if the document is not open.
    pub(crate) fn change(
        &mut self,
        uri: &Uri,
        version: i32,
        changes: Vec<TextDocumentContentChangeEvent>,
    ) -> bool {
        let Some(document) = self.by_uri.get_mut(uri.as_str()) else { return false };
        let encoding = document.encoding;
        let mut rope = document.rope.clone();
        for TextDocumentContentChangeEvent { range, text, .. } in changes {
            let Some(range) = range else {
                rope = Rope::from_str(&text);
                continue;
            };
            let start = char_at(&rope, range.start, encoding);
            let end = char_at(&rope, range.end, encoding).max(start);
            // Both are within the text, so neither fails.
            let _ = rope.try_remove(start..end);
            let _ = rope.try_insert(start, &text);
        }
        *document = Arc::new(OpenDocument::new(document.uri.clone(), version, rope, encoding));
        true
    }

    pub(crate) fn close(&mut self, uri: &Uri) -> bool {
        self.by_uri.remove(uri.as_str()).is_some()
    }

    pub(crate) fn get(&self, uri: &Uri) -> Option<&Arc<OpenDocument>> {
        self.by_uri.get(uri.as_str())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<OpenDocument>> {
        self.by_uri.values()
    }

    /// The open document of a file.
    pub(crate) fn at(&self, path: &Path) -> Option<&Arc<OpenDocument>> {
        self.iter().find(|document| document.path == path)
    }
}

/// The character at a position, clamped to the line and to the text.
fn char_at(rope: &Rope, position: Position, encoding: Encoding) -> usize {
    let line = position.line as usize;
    if line >= rope.len_lines() {
        return rope.len_chars();
    }
    let start = rope.line_to_char(line);
    let slice = rope.line(line);
    let mut length = slice.len_chars();
    while length > 0 && matches!(slice.get_char(length - 1), Some('\n' | '\r')) {
        length -= 1;
    }
    let line = slice.slice(..length);
    let wanted = position.character as usize;
    let within = match encoding {
        Encoding::Utf8 => line.byte_to_char(wanted.min(line.len_bytes())),
        Encoding::Utf16 => line.utf16_cu_to_char(wanted.min(line.len_utf16_cu())),
        Encoding::Utf32 => wanted.min(length),
    };
    start + within
}

/// The path of a file's URI.
pub(crate) fn path_of(uri: &Uri) -> PathBuf {
    let is_file = uri.scheme().as_str().eq_ignore_ascii_case("file");
    match uri.to_file_path() {
        Some(path) if is_file => path.into_owned(),
        _ => PathBuf::from(uri.as_str().replace(['/', ':'], "_")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uri() -> Uri {
        "file:///rules/a.yaml".parse().unwrap()
    }

    fn edit(start: (u32, u32), end: (u32, u32), text: &str) -> TextDocumentContentChangeEvent {
        let range =
            ls_types::Range::new(Position::new(start.0, start.1), Position::new(end.0, end.1));
        TextDocumentContentChangeEvent { range: Some(range), range_length: None, text: text.into() }
    }

    proptest! {
        /// The rope is edited as a plain text would be, whatever the positions are.
        #[test]
        fn edits_are_those_of_a_plain_text(
            text in "[a价😀\r\n]{0,20}",
            edits in proptest::collection::vec(
                ((0_u32..6, 0_u32..9), (0_u32..6, 0_u32..9), "[b元🎉\r\n]{0,5}"), 0..6),
            encoding in prop_oneof![
                Just(Encoding::Utf8), Just(Encoding::Utf16), Just(Encoding::Utf32)],
        ) {
            let mut documents = OpenDocuments::default();
            documents.open(uri(), 1, &text, encoding);
            let mut plain = text;
            for (start, end, with) in &edits {
                let index = IndexedText::new(plain.clone(), encoding);
                let from = index.byte(Position::new(start.0, start.1));
                let to = index.byte(Position::new(end.0, end.1)).max(from);
                plain.replace_range(from..to, with);
            }
            let changes = edits.iter().map(|(start, end, with)| edit(*start, *end, with)).collect();
            prop_assert!(documents.change(&uri(), 2, changes));
            let document = documents.get(&uri()).unwrap();
            prop_assert_eq!(&document.text().text, &plain);
            prop_assert_eq!(document.version, 2);
        }
    }

    #[test]
    fn a_change_without_a_range_replaces_the_text() {
        let mut documents = OpenDocuments::default();
        documents.open(uri(), 1, "old", Encoding::Utf16);
        let whole =
            TextDocumentContentChangeEvent { range: None, range_length: None, text: "new".into() };
        assert!(documents.change(&uri(), 2, vec![whole, edit((0, 3), (9, 9), "er")]));
        assert_eq!(documents.get(&uri()).unwrap().text().text, "newer");
        assert!(documents.close(&uri()) && !documents.change(&uri(), 3, Vec::new()));
    }

    #[test]
    fn a_path_with_spaces_and_chinese_is_decoded() {
        let uri: Uri = "file:///a%20b/%E8%A7%84%E5%88%99.yaml".parse().unwrap();
        assert_eq!(path_of(&uri), Path::new("/a b/规则.yaml"));
        assert_eq!(
            path_of(&"untitled:Untitled-1".parse().unwrap()),
            Path::new("untitled_Untitled-1")
        );
    }
}
