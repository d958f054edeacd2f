//! Reading within braces and brackets.

use super::block::BlockReader;
use super::node::{CursorPlace, MAX_DEPTH, NodeKind, unquoted};

/// An open brace or bracket.
#[derive(Debug, Clone, Copy)]
struct OpenFlow {
    /// The node whose value it is.
    node: Option<usize>,
    is_mapping: bool,
    /// The key whose value is read.
    key: Option<usize>,
}

impl BlockReader<'_> {
    /// Reads a value in braces or brackets, up to its end or to the first line that is not indented
    /// more than `column`.
    pub(super) fn flow(&mut self, node: Option<usize>, column: usize) {
        let mut open: Vec<OpenFlow> = Vec::new();
        let mut too_deep = 0_usize;
        while let Some(c) = self.rest().chars().next() {
            match c {
                '{' | '[' if open.len() >= MAX_DEPTH => {
                    too_deep += 1;
                    self.at += 1;
                }
                '{' | '[' => {
                    let node = match open.last() {
                        None => node,
                        Some(OpenFlow { key: Some(key), .. }) => Some(*key),
                        Some(OpenFlow { node, is_mapping: true, .. }) => *node,
                        Some(OpenFlow { node, .. }) => {
                            Some(self.add(NodeKind::Item, *node, self.at..self.at + 1))
                        }
                    };
                    open.push(OpenFlow { node, is_mapping: c == '{', key: None });
                    self.at += 1;
                }
                '}' | ']' => {
                    self.at += 1;
                    if too_deep > 0 {
                        too_deep -= 1;
                        continue;
                    }
                    open.pop();
                    if open.is_empty() {
                        return;
                    }
                }
                ',' => {
                    if let Some(last) = open.last_mut() {
                        last.key = None;
                    }
                    self.at += 1;
                }
                '\n' if self.is_outside(self.at + 1, column) => return,
                ' ' | '\t' | '\r' | '\n' | ':' => self.at += c.len_utf8(),
                '#' => self.at += self.line_rest().len(),
                _ => {
                    let Some(last) = open.last().copied() else { return };
                    let key = self.flow_scalar(last, c, column);
                    if let Some(last) = open.last_mut() {
                        last.key = key.or(last.key);
                    }
                }
            }
        }
        if self.place.is_none()
            && too_deep == 0
            && let Some(last) = open.last()
        {
            self.place = Some(flow_place(*last, self.text.len(), None));
        }
    }

    /// Reads a key or a scalar. Returns the node of a key.
    fn flow_scalar(&mut self, open: OpenFlow, first: char, column: usize) -> Option<usize> {
        let start = self.at;
        let (end, quote) = match first {
            '\'' | '"' => {
                let (end, is_closed) = self.quoted(first, column);
                (end, (!is_closed).then_some(first))
            }
            _ => (start + plain_length(self.line_rest()), None),
        };
        let is_last = end == self.text.len();
        let written = self.text.get(start..end).unwrap_or_default();
        let trimmed = start + written.trim_end().len();
        self.at = end.max(start + first.len_utf8());
        let after = self.line_rest();
        let is_key = open.is_mapping && open.key.is_none() && after.trim_start().starts_with(':');
        if is_key {
            self.at += after.find(':').map_or(0, |colon| colon + 1);
            let name = unquoted(written.trim());
            return Some(self.add(NodeKind::Key(name), open.node, start..trimmed));
        }
        let closed = matches!(first, '\'' | '"') && quote.is_none();
        if is_last && !closed {
            let from = if quote.is_some() { start + 1 } else { start };
            self.place = Some(flow_place(open, from, quote));
        }
        match open.key {
            Some(_) => self.set_scalar(open.key, start..trimmed),
            None if open.is_mapping => {}
            None => {
                let item = self.add(NodeKind::Item, open.node, start..trimmed);
                self.set_scalar(Some(item), start..trimmed);
            }
        }
        None
    }
}

/// The place of what begins at `start` in the innermost brace or bracket.
fn flow_place(open: OpenFlow, start: usize, quote: Option<char>) -> CursorPlace {
    let is_key = open.is_mapping && open.key.is_none();
    let item = !open.is_mapping;
    let parent = open.key.or(open.node);
    CursorPlace { parent, key: is_key, value: !is_key, item, start, quote }
}

/// The length of a scalar without quotes at the start of a line's rest.
fn plain_length(rest: &str) -> usize {
    let mut after_space = false;
    for (at, c) in rest.char_indices() {
        let next = || rest.get(at + 1..).unwrap_or_default().chars().next();
        let ends = match c {
            ',' | '[' | ']' | '{' | '}' => true,
            ':' => next().is_none_or(|c| matches!(c, ' ' | ',' | ']' | '}' | '\t')),
            '#' => after_space,
            _ => false,
        };
        if ends {
            return at;
        }
        after_space = c == ' ';
    }
    rest.len()
}
