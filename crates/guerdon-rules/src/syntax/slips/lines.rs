//! Mistakes outside brackets: indentation, tabs, keys, dashes, and values that need quotes.

use super::entries::{indent_of, key_of, looks_like_entry};
use super::quotes::QuotePlace;
use super::{Slip, SlipScan, single_quoted, value_length};

/// A block of keys or items that begin in one column.
#[derive(Debug, Clone)]
struct Block {
    column: usize,
    /// The first key, or `-`.
    first: String,
    /// The byte of the first entry.
    at: usize,
    entries: usize,
}

/// The blocks around a line.
#[derive(Debug, Default)]
struct Blocks {
    open: Vec<Block>,
    /// Set after a key or a dash without a value, which a deeper block may follow.
    expects_value: bool,
}

impl SlipScan<'_> {
    /// The likely mistakes of the text.
    pub(super) fn run(mut self) -> Vec<Slip> {
        let mut blocks = Blocks::default();
        while self.at < self.text.len() && !self.is_full() {
            let line = self.line();
            let content = line.trim();
            if content.is_empty() || content.starts_with('#') {
                self.skip_line();
                continue;
            }
            self.at += indent_of(line);
            if matches!(content, "---" | "...") {
                blocks = Blocks { expects_value: true, ..Blocks::default() };
                self.skip_line();
                continue;
            }
            if self.peek() == Some('\t') {
                self.tab();
            }
            self.entry(&mut blocks);
        }
        self.slips
    }

    fn skip_line(&mut self) {
        self.at = (self.line_end(self.at) + 1).min(self.text.len());
    }

    fn tab(&mut self) {
        let tabs = self.rest().len() - self.rest().trim_start_matches(['\t', ' ']).len();
        let span = self.at..self.at + tabs;
        let help = "indent with spaces; YAML does not allow tabs";
        self.slip(span, "a tab indents the line", help);
        self.at += tabs;
    }

    fn column(&self) -> usize {
        self.at - self.line_start(self.at)
    }

    /// Examines the entry that begins here, after the indentation: dashes, a key, a value.
    fn entry(&mut self, blocks: &mut Blocks) {
        while self.rest().starts_with("- ") || self.line().trim_end() == "-" {
            self.in_block(blocks, "-");
            blocks.expects_value = true;
            self.at += 1;
            let line = self.line();
            self.at += line.len() - line.trim_start_matches(' ').len();
            if self.line().trim().is_empty() {
                return self.skip_line();
            }
        }
        if self.rest().starts_with("-\t") {
            self.in_block(blocks, "-");
            blocks.expects_value = true;
            self.at += 1;
            self.tab();
        }
        let line = self.line();
        let Some(key) = key_of(line) else {
            return self.without_key(blocks);
        };
        self.in_block(blocks, key.trim_matches(['\'', '"']));
        blocks.expects_value = false;
        let parent = self.column();
        self.at += key.len();
        let after = self.line();
        self.at += after.len() - after.trim_start().len();
        if self.peek() == Some(':') {
            self.at += 1;
        }
        self.value(blocks, parent);
    }

    /// Places the entry that begins here in the blocks around it, and reports a column that fits
    /// none of them.
    fn in_block(&mut self, blocks: &mut Blocks, first: &str) {
        let column = self.column();
        let mut closed: Option<Block> = None;
        while let Some(block) = blocks.open.pop_if(|block| block.column > column) {
            closed = Some(block);
        }
        if let Some(top) = blocks.open.last_mut().filter(|top| top.column == column) {
            top.entries += 1;
            return;
        }
        let new = Block { column, first: first.to_owned(), at: self.at, entries: 1 };
        // An item is meant to stand with items, a key with keys, and both with what is nearest.
        let is_item = first == "-";
        let top =
            blocks.open.last().map(|top| ((top.first == "-") != is_item, column - top.column));
        let near = match closed {
            None if blocks.expects_value => None,
            Some(closed)
                if top.is_none_or(|top| {
                    ((closed.first == "-") != is_item, closed.column - column) <= top
                }) =>
            {
                Some(closed)
            }
            _ => blocks.open.pop(),
        };
        let Some(near) = near else { return blocks.open.push(new) };
        let parent = blocks.open.last().map_or(0, |parent| parent.column);
        let is_odd = |column: usize| column.saturating_sub(parent) % 2 == 1;
        if near.entries == 1 && is_odd(near.column) && !is_odd(column) && column > parent {
            // The entry above is the one that is not indented like others.
            self.misplaced(near.at, &new);
            blocks.open.push(new);
        } else {
            self.misplaced(self.at, &near);
            blocks.open.push(near);
        }
    }

    /// Reports the entry at `at`, which does not begin in the column of `block`.
    fn misplaced(&mut self, at: usize, block: &Block) {
        let start = self.line_start(at);
        let line = self.text.get(at..self.line_end(at)).unwrap_or_default();
        let mark = at..at + line.split(':').next().unwrap_or_default().len();
        let name = match block.first.as_str() {
            "-" if block.at > at => "the next dash".to_owned(),
            "-" => "the dash above".to_owned(),
            key => format!("`{key}`"),
        };
        let help = format!("begin it in the same column as {name}");
        let is_first = self.text.get(start..at).is_some_and(|before| before.trim().is_empty());
        let fix = is_first.then(|| (start..at, " ".repeat(block.column)));
        let reach = self.line_start(start.saturating_sub(1))..self.next_line_end(self.at);
        self.slip_within(mark, reach, "the indentation fits no line next to it", help).fix = fix;
    }

    /// Examines a line that is no key: an item, or the continuation of a text.
    fn without_key(&mut self, blocks: &mut Blocks) {
        let column = self.column();
        let fits = blocks.open.iter().any(|block| block.column == column && block.first != "-");
        let line = self.line();
        let is_joined =
            line.strip_prefix('-').is_some_and(|rest| rest.starts_with(char::is_alphabetic));
        if is_joined && line.contains(": ") {
            let name = line.find(':').unwrap_or_default();
            let (mark, gap) = (self.at..self.at + name, self.at + 1);
            let help = "write `- `, with a space";
            self.slip(mark, "a dash without a space begins no item", help).fix =
                Some((gap..gap, " ".to_owned()));
        } else if fits || !blocks.expects_value {
            self.broken_key(line);
        }
        if blocks.expects_value {
            blocks.expects_value = false;
            return self.value(blocks, column);
        }
        self.skip_line();
    }

    /// Reports a line that is nearly a key with a value.
    fn broken_key(&mut self, line: &str) {
        let name = line.find(|c: char| !(c.is_alphanumeric() || "_-.".contains(c)));
        let name = name.unwrap_or(line.len());
        let (key, rest) = line.split_at(name);
        if key.is_empty() {
            return;
        }
        let after = rest.trim_start();
        let gap = self.at + name;
        let end = self.at + value_length(line);
        let mark = self.at..end.max(gap);
        if rest.starts_with(':') {
            let help = "write a space after the colon";
            let fix = Some((gap + 1..gap + 1, " ".to_owned()));
            self.slip(mark, "a colon without a space ends no key", help).fix = fix;
        } else if let Some(sign) = after.chars().next().filter(|c| "=：".contains(*c)) {
            let from = gap + rest.len() - after.len() + sign.len_utf8();
            let space =
                self.text.get(from..).map_or(0, |s| s.len() - s.trim_start_matches(' ').len());
            let help = "a key ends with `:` and a space";
            let fix = Some((gap..from + space, ": ".to_owned()));
            self.slip(mark, &format!("`{sign}` ends no key"), help).fix = fix;
        } else if !after.is_empty() {
            let help = format!("write `{key}: ...`, with a colon and a space");
            let fix = Some((gap..gap + rest.len() - after.len(), ": ".to_owned()));
            self.slip(mark, "a key without `:`", help).fix = fix;
        }
    }

    /// Examines the value after a key or a dash. `parent` is the column of the key.
    fn value(&mut self, blocks: &mut Blocks, parent: usize) {
        let line = self.line();
        self.at += line.len() - line.trim_start_matches(' ').len();
        while self.peek() == Some('&') {
            // An anchor: the value follows it.
            let line = self.line();
            let name = line.find(' ').unwrap_or(line.len());
            let after = line.get(name..).unwrap_or_default();
            self.at += line.len() - after.trim_start_matches(' ').len();
        }
        let value = self.line();
        match value.chars().next() {
            None | Some('#' | '\r') => {
                blocks.expects_value = true;
                self.skip_line();
            }
            Some('|' | '>') => self.block_text(parent),
            Some('\'' | '"') => {
                self.quoted(QuotePlace::Alone);
                self.skip_line();
            }
            Some('[' | '{') => {
                self.brackets();
                if self.column() > 0 {
                    self.skip_line();
                }
            }
            Some(sign @ ('*' | '@' | '`' | '%')) => {
                self.reserved(sign, value);
                self.skip_line();
            }
            Some(_) => {
                self.plain(value);
                self.skip_line();
            }
        }
    }

    /// Skips a text after `|` or `>`, which ends at the first line that is not indented.
    fn block_text(&mut self, parent: usize) {
        self.skip_line();
        let mut is_empty = true;
        while self.at < self.text.len() {
            let line = self.line();
            let indent = indent_of(line);
            if !line.trim().is_empty() && indent <= parent {
                break;
            }
            is_empty &= line.trim().is_empty();
            self.skip_line();
        }
        let line = self.line();
        let content = line.trim_start();
        if is_empty && !content.is_empty() && !looks_like_entry(content) {
            let from = self.at + line.len() - content.len();
            let help = "indent the text deeper than its key";
            self.slip(from..from + content.trim_end().len(), "the text after `|` is empty", help);
        }
    }

    /// Reports a text that begins with a sign that YAML uses for itself.
    fn reserved(&mut self, sign: char, value: &str) {
        let whole = self.at..self.at + value_length(value);
        let text = self.text.get(whole.clone()).unwrap_or_default();
        let quoted = Some((whole.clone(), single_quoted(text)));
        let word = text.get(1..).unwrap_or_default();
        let is_name = word.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        match sign {
            '*' if is_name => {
                let help = format!("declare it before this line: &{word}; a text needs quotes");
                self.slip(whole, "no value is named like this", help);
            }
            _ => {
                let help = format!("quote a text that begins with `{sign}`");
                self.slip(whole, &format!("`{sign}` cannot begin a text"), help).fix = quoted;
            }
        }
    }

    /// Reports a colon within a text without quotes.
    fn plain(&mut self, value: &str) {
        let length = value_length(value);
        let text = value.get(..length).unwrap_or_default();
        let colon = text.find(": ").or_else(|| text.ends_with(':').then(|| length - 1));
        if let Some(colon) = colon {
            let (start, at) = (self.at, self.at + colon);
            let help = "quote a text that contains `: `";
            self.slip(at..at + 1, "a colon ends a key here", help).fix =
                Some((start..start + length, single_quoted(text)));
        }
    }
}
