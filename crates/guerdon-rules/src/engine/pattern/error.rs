//! The error of an invalid pattern, with its place and a help.

use std::ops::Range;

use regex_syntax::ast::ErrorKind;
use regex_syntax::hir;

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
            regex_syntax::Error::Translate(error) => {
                let help = match error.kind() {
                    hir::ErrorKind::UnicodePropertyNotFound
                    | hir::ErrorKind::UnicodePropertyValueNotFound => {
                        "such as \\p{Han} for Chinese or \\p{Latin} for Latin letters"
                    }
                    _ => "write characters of Unicode; `(?-u)` is not allowed",
                };
                (error.span(), error.kind().to_string(), help)
            }
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
        ErrorKind::RepetitionCountDecimalEmpty | ErrorKind::DecimalEmpty => {
            "braces count repetitions, such as {2,5}; a `{` as a character is written `\\{`"
        }
        ErrorKind::RepetitionCountInvalid => "write the smaller count first, such as {1,3}",
        ErrorKind::FlagUnrecognized | ErrorKind::FlagUnexpectedEof => {
            "groups are (...), (?:...) and (?P<name>...); atomic groups such as (?>...) are not \
             needed in linear time"
        }
        ErrorKind::GroupNameDuplicate { .. } => {
            "give each group a name of its own; for several values use `any` with a regex each"
        }
        ErrorKind::GroupNameEmpty
        | ErrorKind::GroupNameInvalid
        | ErrorKind::GroupNameUnexpectedEof => "a named group is written (?P<value>...)",
        ErrorKind::ClassRangeInvalid | ErrorKind::ClassRangeLiteral => {
            "write the lower end first, such as [a-z]; a `-` as a character stands at the end"
        }
        ErrorKind::ClassEscapeInvalid => "write \\b, \\A and \\z outside of brackets",
        ErrorKind::EscapeUnrecognized => {
            "a backslash that is meant as a character is written `\\\\`"
        }
        ErrorKind::EscapeUnexpectedEof => "a backslash at the end is written `\\\\`",
        ErrorKind::EscapeHexEmpty
        | ErrorKind::EscapeHexInvalid
        | ErrorKind::EscapeHexInvalidDigit => "hexadecimal digits, such as \\x{4E00}",
        ErrorKind::UnicodeClassInvalid => "such as \\p{Han} or \\p{Latin}",
        _ => "simplify the pattern; the syntax is that of the regex crate",
    }
}
