//! The form of an input: JSON lines, or one JSON document with all rollouts.

use std::ops::Range;

use anyhow::bail;
use guerdon_types::{IncomingRequest, ScoreRequest};
use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;

/// Largest document. It is held in memory; JSON lines are not.
pub(super) const DOCUMENT_BYTES: usize = 1 << 30;

/// A JSON document that is a list of rollouts, a request, or rollouts that span several lines.
#[derive(Debug)]
pub(super) struct JsonDocument {
    text: String,
    /// The places of the rollouts in `text`.
    pub(super) rollouts: Vec<Range<usize>>,
    /// The settings of a request.
    pub(super) settings: Option<Box<ScoreRequest>>,
}

/// The form that the first line suggests.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FirstLine {
    /// A rollout, or something else that stands for itself.
    Rollout,
    /// A whole list or request, if nothing follows.
    WholeDocument,
    /// The beginning of a list.
    ListBegins,
    /// The beginning of an object.
    ObjectBegins,
}

#[derive(Deserialize)]
struct RequestMark<'a> {
    #[serde(borrow)]
    rollouts: Option<&'a RawValue>,
}

impl FirstLine {
    pub(super) fn of(line: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(line) else { return Self::Rollout };
        let is_list = text.trim_ascii_start().starts_with('[');
        match serde_json::from_str::<&RawValue>(text) {
            Ok(_) if is_list => Self::WholeDocument,
            Ok(value) if has_rollouts(value) => Self::WholeDocument,
            Err(error) if error.classify() == Category::Eof => {
                if is_list {
                    Self::ListBegins
                } else {
                    Self::ObjectBegins
                }
            }
            _ => Self::Rollout,
        }
    }
}

fn has_rollouts(value: &RawValue) -> bool {
    serde_json::from_str::<RequestMark<'_>>(value.get()).is_ok_and(|mark| mark.rollouts.is_some())
}

impl JsonDocument {
    /// Reads a document. `None` if `text` is not one, and may be JSON lines with an error.
    ///
    /// # Errors
    /// `text` is a list or a request with an error.
    pub(super) fn read(text: String, name: &str) -> anyhow::Result<Option<Self>> {
        let is_list = text.trim_ascii_start().starts_with('[');
        let values: Result<Vec<&RawValue>, _> =
            serde_json::Deserializer::from_str(&text).into_iter().collect();
        let values = match values {
            Ok(values) => values,
            Err(error) if is_list => {
                bail!("{name} starts as a JSON list, and is not one: {error}")
            }
            Err(_) => return Ok(None),
        };
        let (rollouts, settings) = match values[..] {
            [list] if is_list => (serde_json::from_str::<Vec<&RawValue>>(list.get())?, None),
            [request] if has_rollouts(request) => {
                let settings = IncomingRequest::parse(request.get().as_bytes(), usize::MAX)
                    .map_err(|invalid| {
                        anyhow::anyhow!("{name} is a request with an error: {invalid}")
                    })?
                    .settings;
                let mark: RequestMark<'_> = serde_json::from_str(request.get())?;
                let list = mark.rollouts.map_or("[]", RawValue::get);
                (serde_json::from_str(list)?, Some(Box::new(settings)))
            }
            _ => (values, None),
        };
        let start = text.as_ptr().addr();
        let place = |value: &&RawValue| {
            let from = value.get().as_ptr().addr() - start;
            from..from + value.get().len()
        };
        let rollouts = rollouts.iter().map(place).collect();
        Ok(Some(Self { text, rollouts, settings }))
    }

    /// The text of a rollout.
    pub(super) fn text(&self, index: usize) -> Option<&[u8]> {
        self.text.as_bytes().get(self.rollouts.get(index)?.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let document = JsonDocument::read(text.to_owned(), "x").unwrap().unwrap();
        let text = |index| String::from_utf8(document.text(index).unwrap().to_vec()).unwrap();
        (0..document.rollouts.len()).map(text).collect()
    }

    #[test]
    fn first_line_decides_the_form() {
        for (line, form) in [
            ("{\"messages\": []}", FirstLine::Rollout),
            ("17", FirstLine::Rollout),
            ("{\"a\": tru}", FirstLine::Rollout),
            ("{\"rollouts\": []}", FirstLine::WholeDocument),
            (" [{}]", FirstLine::WholeDocument),
            ("[", FirstLine::ListBegins),
            ("{", FirstLine::ObjectBegins),
            ("{\"messages\": [{\"role", FirstLine::ObjectBegins),
        ] {
            assert_eq!(FirstLine::of(line.as_bytes()), form, "{line}");
        }
        assert_eq!(FirstLine::of(b"{\"a\": \"\xff"), FirstLine::Rollout);
    }

    #[test]
    fn lists_requests_and_rollouts_over_several_lines_are_documents() {
        assert_eq!(texts("[\n {\"a\": 1},\n 3\n]\n"), ["{\"a\": 1}", "3"]);
        assert_eq!(texts("{\n\"a\": 1}\n{\n\"b\": 2}"), ["{\n\"a\": 1}", "{\n\"b\": 2}"]);
        let request = "{\"rollouts\": [{\"a\": 1}], \"profile\": \"p\"}";
        assert_eq!(texts(request), ["{\"a\": 1}"]);
        let settings =
            JsonDocument::read(request.to_owned(), "x").unwrap().unwrap().settings.unwrap();
        assert_eq!(settings.profile, Some("p".into()));
    }

    #[test]
    fn broken_list_or_request_is_an_error_of_the_whole() {
        let error =
            |text: &str| JsonDocument::read(text.to_owned(), "x.json").unwrap_err().to_string();
        assert!(error("[\n{},\n").starts_with("x.json starts as a JSON list"));
        assert!(error("{\"rollouts\": [],\n\"profil\": 1}").contains("profil"));
        assert!(JsonDocument::read("{\n\"a\": 1\n\n{}".to_owned(), "x").unwrap().is_none());
    }
}
