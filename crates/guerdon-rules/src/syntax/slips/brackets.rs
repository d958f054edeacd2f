//! Mistakes between brackets: brackets that are not closed or closed twice, comments that hide the
//! closing bracket, and missing commas.

use std::ops::Range;

use super::entries::{indent_of, looks_like_entry};
use super::quotes::QuotePlace;
use super::{SlipScan, value_length};

/// An open bracket.
#[derive(Debug, Clone, Copy)]
struct Open {
    bracket: char,
    at: usize,
}

impl Open {
    const fn closing(self) -> char {
        if self.bracket == '[' { ']' } else { '}' }
    }
}

impl SlipScan<'_> {
    /// Skips a list or mapping in brackets, which begins here, and examines it. Stops before a line
    /// that cannot belong to it.
    pub(super) fn brackets(&mut self) {
        let (first, known) = (self.at, self.slips.len());
        let start = self.line_start(first);
        let before = self.text.get(start..first).unwrap_or_default();
        // The column of the key before the bracket; of the line, if there is none.
        let dashes = before.len() - before.trim_start_matches([' ', '-']).len();
        let indent = if dashes < before.len() { dashes } else { indent_of(before) };
        let mut open: Vec<Open> = Vec::new();
        let mut comment: Option<Range<usize>> = None;
        // Set after a value that a comma must separate from the next one.
        let mut complete = false;
        while let Some(c) = self.peek().filter(|_| !self.is_full()) {
            match c {
                '[' | '{' => {
                    if complete {
                        self.no_comma(self.at, first..self.next_line_end(self.at));
                    }
                    open.push(Open { bracket: c, at: self.at });
                    complete = false;
                    self.at += 1;
                }
                ']' | '}' => {
                    self.closes(&mut open, c);
                    complete = true;
                    self.at += 1;
                    if open.is_empty() {
                        self.after_brackets(first);
                        return;
                    }
                }
                '\'' | '"' if !self.is_within_word() => {
                    if complete {
                        self.no_comma(self.at, first..self.next_line_end(self.at));
                    }
                    self.quoted(QuotePlace::InBrackets);
                    complete = false;
                }
                '#' if self.is_after_space() => {
                    comment.get_or_insert(self.at..self.line_end(self.at));
                    self.at = self.line_end(self.at);
                }
                '\n' => {
                    self.at += 1;
                    let line = self.line();
                    if indent_of(line) <= indent && looks_like_entry(line.trim_start()) {
                        break;
                    }
                }
                ',' | ':' => {
                    complete = false;
                    self.at += 1;
                }
                _ => {
                    if complete && !c.is_whitespace() {
                        self.no_comma(self.at, first..self.next_line_end(self.at));
                        complete = false;
                    }
                    self.at += c.len_utf8();
                }
            }
        }
        self.unclosed(&open, comment, known);
    }

    /// Reports brackets that were not closed. `known` is the number of mistakes before them.
    fn unclosed(&mut self, open: &[Open], comment: Option<Range<usize>>, known: usize) {
        let Some(last) = open.last() else { return };
        let inner = self.slips.get(known..).unwrap_or_default();
        if inner.iter().any(|slip| slip.at.start > last.at) {
            // A mistake between the brackets explains it.
            return;
        }
        let reach = last.at..self.text.len();
        match comment {
            Some(mark) => {
                let text = self.text.get(mark.clone()).unwrap_or_default();
                let help = "quote a text that contains ` #`: 'like #1'";
                let mark = mark.start..mark.start + value_length(text);
                self.slip_within(mark, reach, "a comment begins here and hides the end", help);
            }
            None => {
                let message = format!("`{}` is not closed", last.bracket);
                let help = format!("close it with `{}`", last.closing());
                self.slip_within(last.at..last.at + 1, reach, &message, help);
            }
        }
    }

    /// Removes the bracket that `closing` closes.
    fn closes(&mut self, open: &mut Vec<Open>, closing: char) {
        let Some(last) = open.last().copied() else { return };
        if last.closing() == closing {
            open.pop();
            return;
        }
        let at = self.at;
        let reach = last.at..self.text.len();
        let later = self.line().get(1..).unwrap_or_default().contains(last.closing());
        if let Some(outer) = open.iter().rposition(|one| one.closing() == closing) {
            let message = format!("`{}` is not closed", last.bracket);
            let help = format!("close it with `{}`", last.closing());
            self.slip_within(last.at..last.at + 1, reach, &message, help);
            open.truncate(outer);
        } else if later {
            let message = format!("`{closing}` closes nothing");
            self.slip_within(at..at + 1, reach, &message, "remove it").fix =
                Some((at..at + 1, String::new()));
        } else {
            let message = format!("`{}` is closed by `{closing}`", last.bracket);
            let help = format!("close it with `{}`", last.closing());
            self.slip_within(last.at..last.at + 1, reach, &message, help).fix =
                Some((at..at + 1, last.closing().to_string()));
            open.pop();
        }
    }

    /// Examines what follows the last closing bracket.
    fn after_brackets(&mut self, first: usize) {
        let line = self.line();
        let follows = line.trim_start();
        let at = self.at + line.len() - follows.len();
        let Some(next) = follows.chars().next().filter(|next| !"#:\r".contains(*next)) else {
            return;
        };
        let reach = first..self.next_line_end(at);
        if "]}".contains(next) {
            let message = format!("`{next}` closes nothing");
            self.slip_within(at..at + 1, reach, &message, "remove it").fix =
                Some((at..at + 1, String::new()));
        } else {
            let end = at + value_length(follows);
            let help = "quote a text that begins with a bracket: '{like} this'";
            let whole = self.text.get(first..end).unwrap_or_default();
            let fix = Some((first..end, super::single_quoted(whole)));
            self.slip_within(at..end, reach, "text follows the bracket", help).fix = fix;
        }
    }

    fn is_after_space(&self) -> bool {
        self.text.get(..self.at).is_some_and(|before| before.ends_with(char::is_whitespace))
    }

    /// Returns true in the middle of an unquoted text.
    fn is_within_word(&self) -> bool {
        let before = self.text.get(..self.at).unwrap_or_default().trim_end_matches(' ');
        !before.ends_with(['[', '{', ',', ':', '\n', '\'', '"', ']', '}'])
    }
}
