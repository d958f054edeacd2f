//! The error of an invalid pattern, with its place and a help.

use std::ops::Range;

use regex_syntax::ast::ErrorKind;

/// The error of an invalid pattern.
#[derive(Debug)]
pub(crate) struct PatternError {
    /// The position in the pattern as written, in bytes; `None` for the whole pattern.
    pub(crate) at: Option<Range<usize>>,
    pub(crate) message: String,
    pub(crate) help: &'static str,
}

impl PatternError {
    pub(super) fn whole(message: impl Into<String>, help: &'static str) -> Self {
        Self { at: None, message: message.into(), help }
    }

    pub(super) fn syntax(error: &regex_syntax::Error) -> Self {
        let (span, message, help) = match error {
            regex_syntax::Error::Parse(error) => {
                (error.span(), error.kind().to_string(), help(error.kind()))
            }
            regex_syntax::Error::Translate(error) => (
                error.span(),
                error.kind().to_string(),
                "see docs/reference/rules.md for the regex syntax",
            ),
            other => return Self::whole(other.to_string(), "simplify the pattern"),
        };
        Self { at: Some(span.start.offset..span.end.offset), message, help }
    }
}

/// The help for a syntax error.
const fn help(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::UnsupportedBackreference | ErrorKind::UnsupportedLookAround => {
            "not supported in linear time; `near` and `not_near` test the words around a hit"
        }
        ErrorKind::GroupUnclosed | ErrorKind::GroupUnopened => {
            "close the group; a bracket that is meant as a character is written `\\(` or `\\)`"
        }
        ErrorKind::ClassUnclosed => {
            "close the class; a bracket that is meant as a character is written `\\[`"
        }
        ErrorKind::RepetitionMissing | ErrorKind::RepetitionCountUnclosed => {
            "a `*`, `+`, `?` or `{` as a character needs a backslash"
        }
        ErrorKind::EscapeUnrecognized => {
            "a backslash that is meant as a character is written `\\\\`"
        }
        _ => "see docs/reference/rules.md for the regex syntax",
    }
}
