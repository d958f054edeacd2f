//! Mistakes in quoted texts: escapes that YAML does not know, quotes that are not closed, and
//! quotes within quotes.

use std::ops::Range;

use super::entries::looks_like_entry;
use super::{SlipScan, single_quoted};

/// The place of a quoted text within others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QuotePlace {
    /// A value of its own.
    Alone,
    /// An item or a key between brackets.
    InBrackets,
}

impl SlipScan<'_> {
    /// Skips a quoted text and examines it and what follows it.
    pub(super) fn quoted(&mut self, place: QuotePlace) {
        let start = self.at;
        let Some(quote) = self.peek() else { return };
        let closed = if quote == '"' { self.skip_double(start) } else { self.skip_single() };
        let end = self.at;
        if !closed {
            let reach = start..self.text.len();
            let mark = start..self.line_end(start);
            self.slip_within(mark, reach, "the quote is not closed", "close the quote on its line");
            return;
        }
        let whole = self.text.get(start..end).unwrap_or_default();
        if whole.lines().skip(1).any(|line| looks_like_entry(line.trim_start())) {
            // A text over several lines is valid, but it rarely contains keys.
            let reach = start..self.next_line_end(end);
            let mark = start..self.line_end(start);
            self.slip_within(mark, reach, "the quote is not closed", "close the quote on its line");
        }
        self.after_quote(start..end, quote, place);
    }

    /// Skips a text in single quotes. Returns false if it is not closed.
    fn skip_single(&mut self) -> bool {
        self.at += 1;
        loop {
            let Some(end) = self.rest().find('\'') else {
                self.at = self.text.len();
                return false;
            };
            self.at += end + 1;
            if self.peek() != Some('\'') {
                return true;
            }
            self.at += 1;
        }
    }

    /// Skips a text in double quotes and reports its first unknown escape.
    fn skip_double(&mut self, start: usize) -> bool {
        self.at += 1;
        let mut unknown: Option<Range<usize>> = None;
        let closed = loop {
            let Some(next) = self.rest().find(['"', '\\']) else {
                self.at = self.text.len();
                break false;
            };
            self.at += next;
            if self.peek() == Some('"') {
                self.at += 1;
                break true;
            }
            let length = escape(self.rest());
            if let Err(length) = length {
                unknown.get_or_insert(self.at..self.at + length);
            }
            let (Ok(length) | Err(length)) = length;
            self.at += length;
        };
        if let Some(mark) = unknown {
            let reach = start..self.line_end(self.at);
            let inner = self.text.get(start + 1..self.at.saturating_sub(1)).unwrap_or_default();
            let written = closed && !inner.contains("\\\"") && !inner.contains('\n');
            let fix = written.then(|| (start..self.at, single_quoted(inner)));
            let message = "a backslash in double quotes begins an escape of YAML";
            let help = "write the text in single quotes, in which a backslash is a backslash";
            self.slip_within(mark, reach, message, help).fix = fix;
        }
        closed
    }

    /// Examines what follows a quoted text on its line.
    fn after_quote(&mut self, text: Range<usize>, quote: char, place: QuotePlace) {
        let rest = self.rest();
        let follows = rest.trim_start_matches([' ', '\t']);
        let at = self.at + rest.len() - follows.len();
        let Some(next) = follows.chars().next() else { return };
        let is_apart = at > self.at;
        let allowed = match place {
            QuotePlace::Alone => ":",
            QuotePlace::InBrackets => ",]}:",
        };
        if allowed.contains(next) || "\r\n".contains(next) || (next == '#' && is_apart) {
            return;
        }
        let inner = self.text.get(text.start + 1..text.end - 1).unwrap_or_default();
        let joins = inner.ends_with(char::is_alphanumeric) && !is_apart;
        let others = self.line().matches(quote).count();
        let (mark, reach) = (text.end - 1..text.end, text.start..self.next_line_end(text.end));
        let end = self.line_end(at);
        if quote == '\'' && joins && next.is_alphanumeric() {
            let help = "within single quotes write an apostrophe twice: ''";
            self.slip_within(mark, reach, "the text ends at the apostrophe", help);
        } else if !is_apart && others % 2 == 1 {
            let mark = text.start..text.end;
            self.slip_within(mark, reach, "the quote is not closed", "close the quote on its line");
        } else if !is_apart && others > 0 {
            let help =
                format!("within the text write {}", if quote == '"' { "\\\"" } else { "''" });
            self.slip_within(mark, reach, "the text ends at the inner quote", help);
        } else if place == QuotePlace::InBrackets {
            self.no_comma(at, reach);
        } else {
            let mark = at..end;
            self.slip_within(mark, reach, "text follows the quote", "quote the whole text");
        }
    }

    /// Reports a value that no comma separates from the one before.
    pub(super) fn no_comma(&mut self, at: usize, reach: Range<usize>) {
        let help = "write a comma between the two";
        self.slip_within(at..at + 1, reach, "a comma is missing", help).fix =
            Some((at..at, ", ".to_owned()));
    }
}

/// The length of the escape at the start of `text`, as an error if YAML does not know it.
fn escape(text: &str) -> Result<usize, usize> {
    let mut chars = text.chars().skip(1);
    let Some(kind) = chars.next() else { return Err(1) };
    let digits = match kind {
        '0' | 'a' | 'b' | 't' | '\t' | 'n' | 'v' | 'f' | 'e' | ' ' | '"' | '/' | '\\' | 'N'
        | '_' | 'L' | 'P' | '\n' | '\r' => return Ok(1 + kind.len_utf8()),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return Err(1 + kind.len_utf8()),
    };
    let found = chars.take(digits).take_while(char::is_ascii_hexdigit).count();
    if found == digits { Ok(2 + digits) } else { Err(2 + found) }
}
