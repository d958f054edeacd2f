//! Reading by indentation, line by line.

use std::ops::Range;

use super::node::{CursorPlace, MAX_DEPTH, NodeKind, OutlineNode, unquoted};

/// A mapping's key or a list's dash that lines below can belong to.
#[derive(Debug, Clone, Copy)]
struct OpenNode {
    column: usize,
    node: usize,
}

/// Reads a text from its start.
#[derive(Debug)]
pub(super) struct BlockReader<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
    pub(super) nodes: Vec<OutlineNode>,
    open: Vec<OpenNode>,
    /// The place at the end of the text.
    pub(super) place: Option<CursorPlace>,
}

impl<'t> BlockReader<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self { text, at: 0, nodes: Vec::new(), open: Vec::new(), place: None }
    }

    /// Reads to the end of the text.
    pub(super) fn read(&mut self) {
        if self.text.starts_with('\u{feff}') {
            self.at = '\u{feff}'.len_utf8();
        }
        while self.at < self.text.len() {
            self.line();
        }
    }

    /// The place at the end of the text, after it was read.
    pub(super) fn place(mut self) -> Option<CursorPlace> {
        if self.place.is_none() && (self.text.is_empty() || self.text.ends_with('\n')) {
            self.close(0, false);
            self.place_at_start(self.text.len());
        }
        self.place
    }

    pub(super) fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The rest of the line, without its end.
    pub(super) fn line_rest(&self) -> &'t str {
        let line = self.rest().split('\n').next().unwrap_or_default();
        line.strip_suffix('\r').unwrap_or(line)
    }

    /// The innermost open node.
    fn parent(&self) -> Option<usize> {
        self.open.last().map(|open| open.node)
    }

    /// Notes the cursor before a key, an item or a scalar of the innermost open node.
    fn place_at_start(&mut self, start: usize) {
        let parent = self.parent();
        let (key, value) = (true, parent.is_some());
        self.place = Some(CursorPlace { parent, key, value, item: false, start, quote: None });
    }

    /// Closes the nodes that a line at `column` does not belong to. A dash may stand in the column
    /// of the key whose list it continues.
    fn close(&mut self, column: usize, is_item: bool) {
        while let Some(OpenNode { column: open, node }) = self.open.last().copied() {
            let is_key = self.nodes.get(node).is_some_and(|node| node.kind != NodeKind::Item);
            if open < column || (open == column && is_item && is_key) {
                break;
            }
            self.open.pop();
        }
    }

    pub(super) fn add(
        &mut self,
        kind: NodeKind,
        parent: Option<usize>,
        head: Range<usize>,
    ) -> usize {
        self.nodes.push(OutlineNode { kind, parent, head, scalar: None });
        self.nodes.len() - 1
    }

    /// Goes to the start of the next line.
    fn next_line(&mut self) {
        let rest = self.rest();
        self.at += rest.find('\n').map_or(rest.len(), |end| end + 1);
    }

    /// True if the text ends in this line.
    pub(super) fn is_last(&self) -> bool {
        !self.rest().contains('\n')
    }

    fn line(&mut self) {
        let line = self.line_rest();
        let content = line.trim_start_matches([' ', '\t']);
        let mut column = line.len() - content.len();
        let start_of_line = self.at;
        if content.starts_with('#') {
            self.next_line();
            return;
        }
        if content.is_empty() {
            if self.is_last() {
                self.close(column, false);
                self.place_at_start(self.text.len());
            }
            self.next_line();
            return;
        }
        if column == 0 && (content.starts_with("---") || content.starts_with("...")) {
            self.open.clear();
            self.next_line();
            return;
        }
        let is_dash = |text: &str| text == "-" || text.starts_with("- ") || text.starts_with("-\t");
        self.close(column, is_dash(content));
        self.at += column;
        while is_dash(self.line_rest()) && self.open.len() < MAX_DEPTH {
            let head = self.at..self.at + 1;
            let node = self.add(NodeKind::Item, self.parent(), head);
            self.open.push(OpenNode { column, node });
            self.at += 1;
            let rest = self.line_rest();
            self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
            column = self.at - start_of_line;
        }
        self.entry(column);
    }

    /// Reads a key with its value, or a scalar, at a column.
    fn entry(&mut self, column: usize) {
        let line = self.line_rest();
        if line.is_empty() {
            if self.is_last() {
                self.place_at_start(self.at);
            }
            return self.next_line();
        }
        let Some((name, length)) = key(line) else {
            let parent = self.parent();
            let start = self.at;
            let is_last = self.value(parent, column);
            if is_last {
                // What is typed may still become a key.
                if let Some(place) = &mut self.place {
                    place.key |= place.start == start && place.quote.is_none();
                }
            }
            return;
        };
        let head = self.at..self.at + length;
        let parent = self.parent();
        let node = self.add(NodeKind::Key(name), parent, head);
        if self.open.len() < MAX_DEPTH {
            self.open.push(OpenNode { column, node });
        }
        self.at += length;
        let rest = self.line_rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', ':']).len();
        self.value(Some(node), column);
    }

    /// Reads a value of `node`, and goes to the line behind it. Returns true if the text ends in it.
    fn value(&mut self, node: Option<usize>, column: usize) -> bool {
        self.skip_anchor();
        let line = self.line_rest();
        let start = self.at;
        match line.chars().next() {
            Some('{' | '[') => {
                self.flow(node, column);
                let ended = self.place.is_some();
                self.next_line();
                return ended;
            }
            Some('|' | '>') => {
                self.block_text(node, column);
                return false;
            }
            Some(quote @ ('\'' | '"')) => {
                let (end, is_closed) = self.quoted(quote, column);
                self.set_scalar(node, start..end);
                self.at = end;
                if !is_closed && end == self.text.len() {
                    self.place = Some(value_place(node, start + 1, Some(quote)));
                    return true;
                }
                self.next_line();
                return false;
            }
            Some('#') => {
                self.next_line();
                return false;
            }
            _ => {}
        }
        let scalar = line.find(" #").map_or(line, |end| line.get(..end).unwrap_or(line));
        let is_comment = scalar.len() < line.len();
        let scalar = scalar.trim_end();
        if !scalar.is_empty() {
            self.set_scalar(node, start..start + scalar.len());
        }
        let is_last = self.is_last() && !is_comment;
        if is_last {
            self.place = Some(value_place(node, start, None));
        }
        self.next_line();
        is_last
    }

    /// Skips an anchor before a value, such as `&accepts`.
    fn skip_anchor(&mut self) {
        let line = self.line_rest();
        if line.starts_with('&') {
            let rest = line.trim_start_matches(|c: char| !c.is_whitespace());
            self.at += line.len() - rest.trim_start_matches(' ').len();
        }
    }

    pub(super) fn set_scalar(&mut self, node: Option<usize>, span: Range<usize>) {
        if let Some(node) = node.and_then(|node| self.nodes.get_mut(node)) {
            node.scalar.get_or_insert(span);
        }
    }

    /// Reads a text after `|` or `>`: all lines that are indented more than its key.
    fn block_text(&mut self, node: Option<usize>, column: usize) {
        self.next_line();
        let start = self.at;
        let mut end = start;
        while self.at < self.text.len() {
            let line = self.line_rest();
            let content = line.trim_start_matches(' ');
            if !content.is_empty() && line.len() - content.len() <= column {
                break;
            }
            self.next_line();
            end = self.at;
        }
        self.set_scalar(node, start..end);
    }

    /// The end of a quoted text that starts here, and whether it is closed. A text that is not
    /// closed ends before the first line that is not indented more than `column`.
    pub(super) fn quoted(&self, quote: char, column: usize) -> (usize, bool) {
        let bytes = self.text.as_bytes();
        let mut at = self.at + 1;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'\\' if quote == '"' => at += 1,
                b'\n' if self.is_outside(at + 1, column) => return (at, false),
                _ if char::from(*byte) == quote => {
                    if quote == '\'' && bytes.get(at + 1) == Some(&b'\'') {
                        at += 1;
                    } else {
                        return (at + 1, true);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        (self.text.len(), false)
    }

    /// True if the line at `start` has content and is not indented more than `column`.
    pub(super) fn is_outside(&self, start: usize, column: usize) -> bool {
        let rest = self.text.get(start..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default();
        let content = line.trim_start_matches([' ', '\t']);
        let closes = content.starts_with([']', '}']);
        !content.trim_end().is_empty() && line.len() - content.len() <= column && !closes
    }
}

/// The place of a value of `node` that begins at `start`.
const fn value_place(node: Option<usize>, start: usize, quote: Option<char>) -> CursorPlace {
    let value = node.is_some();
    CursorPlace { parent: node, key: false, value, item: false, start, quote }
}

/// The key at the start of a line and its length as written. A colon and a space, or the end of the
/// line, follow it.
fn key(line: &str) -> Option<(String, usize)> {
    let length = match line.chars().next()? {
        '{' | '[' | '#' | '|' | '>' => return None,
        quote @ ('\'' | '"') => {
            let inner = line.get(1..)?;
            let end = inner.find(quote)? + 2;
            line.get(end..)?.starts_with(':').then_some(end)?
        }
        _ => line.match_indices(':').map(|(at, _)| at).find(|at| {
            line.get(at + 1..).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
        })?,
    };
    let written = line.get(..length)?;
    if written.contains(" #") {
        return None;
    }
    Some((unquoted(written.trim_end()), length))
}
