//! The lines of a pack as blocks: one for each key of the pack, of its rules, and of the keys of a
//! rule.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use super::changes::FormatChanges;
use crate::syntax::parse::{LIBRARY_KEYS, PACK_KEYS, RULE_KEYS};
use crate::syntax::yaml::{WithSpan, Yaml};

/// A line of the formatted text.
type Line<'t> = Cow<'t, str>;

/// The key of YAML that merges another mapping.
const MERGE: &str = "<<";

/// A pack by its lines.
pub(super) struct Layout<'t> {
    text: &'t str,
    tree: &'t WithSpan<Yaml>,
    /// The starts of all lines but the first.
    starts: Vec<usize>,
    /// The lines without spaces at their ends, except in texts over several lines.
    lines: Vec<&'t str>,
    /// Lines of texts over several lines, in which spaces and signs have a meaning.
    verbatim: BTreeSet<usize>,
}

/// The block of a key: the rank of the key, and its lines with the comments above it.
struct KeyBlock {
    rank: usize,
    lines: Range<usize>,
    /// The line with the key.
    key: usize,
}

/// The formatted lines, and the changes of their order.
#[derive(Default)]
struct Output<'t> {
    lines: Vec<Line<'t>>,
    changes: FormatChanges,
}

impl Output<'_> {
    fn trim_blank(&mut self) {
        while self.lines.last().is_some_and(|line| line.is_empty()) {
            self.lines.pop();
        }
    }
}

impl<'t> Layout<'t> {
    pub(super) fn new(text: &'t str, tree: &'t WithSpan<Yaml>) -> Self {
        let starts: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        let mut verbatim = BTreeSet::new();
        text_lines(text, &starts, tree, &mut verbatim);
        let lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| if verbatim.contains(&index) { line } else { line.trim_end() })
            .collect();
        Self { text, tree, starts, lines, verbatim }
    }

    /// The text with its keys in the order that they have.
    pub(super) fn spaced(&self) -> String {
        self.written(false).0
    }

    /// The text with sorted keys.
    pub(super) fn sorted(&self) -> (String, FormatChanges) {
        self.written(true)
    }

    fn written(&self, sort: bool) -> (String, FormatChanges) {
        let mut out = Output::default();
        let all = 0..self.lines.len();
        match &self.tree.value {
            Yaml::Map(entries) => {
                let is_library = entries.iter().any(|(key, _)| key.value == "library");
                let order = if is_library { LIBRARY_KEYS } else { PACK_KEYS };
                match self.blocks(entries, order, all.clone()) {
                    Some(blocks) => self.pack(blocks, sort, &mut out),
                    None => self.rules(all, sort, &mut out),
                }
            }
            _ => self.rest(all, &mut out),
        }
        out.trim_blank();
        let line_break = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
        let mut tidy = out.lines.join(line_break);
        tidy.push_str(line_break);
        (tidy, out.changes)
    }

    /// Adds lines as they are.
    fn rest(&self, lines: Range<usize>, out: &mut Output<'t>) {
        out.lines.extend(self.slice(lines).iter().map(|line| Cow::Borrowed(*line)));
    }

    fn slice(&self, lines: Range<usize>) -> &[&'t str] {
        self.lines.get(lines).unwrap_or_default()
    }

    /// Adds the keys of the pack. The comments at the start and at the end of the file stay there.
    fn pack(&self, mut blocks: Vec<KeyBlock>, sort: bool, out: &mut Output<'t>) {
        let Some(first) = blocks.first().map(|first| first.key) else { return };
        // Comments above the first key are about the file, unless others stand above them.
        let start = Some(self.comments_above(first)).filter(|above| *above > 0).unwrap_or(first);
        let mut end = self.lines.len();
        let is_tail = |line: &usize| {
            self.slice(*line..*line + 1).iter().all(|l| l.is_empty() || l.starts_with('#'))
        };
        while end > first + 1 && is_tail(&(end - 1)) && !self.verbatim.contains(&(end - 1)) {
            end -= 1;
        }
        self.rest(0..start, out);
        if let Some(first) = blocks.first_mut() {
            first.lines.start = start;
        }
        if let Some(last) = blocks.last_mut() {
            last.lines.end = last.lines.end.min(end);
        }
        out.changes.pack = sort && !blocks.is_sorted_by_key(|block| block.rank);
        if out.changes.pack {
            blocks.sort_by_key(|block| block.rank);
        }
        let rules = PACK_KEYS.iter().position(|key| *key == "rules").map(|rank| rank * 2);
        let last = blocks.len().saturating_sub(1);
        for (index, block) in blocks.iter().enumerate() {
            if Some(block.rank) == rules {
                self.rules(block.lines.clone(), sort, out);
            } else {
                self.rest(block.lines.clone(), out);
            }
            if out.changes.pack {
                let is_spaced = out.lines.last().is_some_and(|line| line.is_empty());
                out.trim_blank();
                if is_spaced && index < last {
                    out.lines.push(Cow::Borrowed(""));
                }
            }
        }
        self.rest(end..self.lines.len(), out);
    }

    /// Adds the block of `rules`.
    fn rules(&self, block: Range<usize>, sort: bool, out: &mut Output<'t>) {
        let Yaml::Map(entries) = &self.tree.value else { return };
        let rules = entries.iter().find(|(key, _)| key.value == "rules").map(|(_, list)| list);
        let Some(WithSpan { value: Yaml::List(rules), .. }) = rules else {
            return self.rest(block, out);
        };
        let firsts: Option<Vec<usize>> =
            rules.iter().map(|rule| self.dash(rule.span.start, &block)).collect();
        // A list in brackets has no dashes.
        let Some(firsts) = firsts.filter(|firsts| firsts.is_sorted_by(|a, b| a < b)) else {
            return self.rest(block, out);
        };
        let mut next = block.start;
        for (index, (rule, first)) in rules.iter().zip(&firsts).enumerate() {
            // Comments directly above a rule belong to it.
            let own = self.comments_above(*first).max(next);
            self.rest(next..own, out);
            out.trim_blank();
            if index > 0 {
                out.lines.push(Cow::Borrowed(""));
            }
            self.rest(own..*first, out);
            let end = match firsts.get(index + 1) {
                Some(after) => self.comments_above(*after),
                None => block.end,
            };
            self.rule(rule, *first..end, sort, out);
            next = end;
        }
        self.rest(next..block.end, out);
    }

    /// The line of the dash of a rule that begins at `byte`.
    fn dash(&self, byte: usize, block: &Range<usize>) -> Option<usize> {
        let first = self.line_of(byte);
        let is_dash = |line: &&'t str| line.trim_start().starts_with('-');
        let is_above = |line: &&'t str| {
            let line = line.trim_start();
            line.is_empty() || line.starts_with('#')
        };
        let mut line = first;
        loop {
            let here = self.lines.get(line).filter(|_| block.contains(&line))?;
            if is_dash(here) {
                return Some(line);
            }
            if line < first && !is_above(here) {
                return None;
            }
            line = line.checked_sub(1)?;
        }
    }

    /// Adds a rule whose dash is in the first of `lines`.
    fn rule(
        &self,
        rule: &WithSpan<Yaml>,
        mut lines: Range<usize>,
        sort: bool,
        out: &mut Output<'t>,
    ) {
        let is_blank = |line: usize| {
            !self.verbatim.contains(&line) && self.lines.get(line).is_some_and(|l| l.is_empty())
        };
        while lines.len() > 1 && is_blank(lines.end - 1) {
            lines.end -= 1;
        }
        let keys = match &rule.value {
            Yaml::Map(entries) if sort => self.blocks(entries, RULE_KEYS, lines.clone()),
            _ => None,
        };
        let Some(mut keys) = keys.filter(|keys| !keys.is_sorted_by_key(|key| key.rank)) else {
            return self.rest(lines, out);
        };
        let Some(first) = keys.first().map(|first| first.key) else { return };
        // The lines of a dash without a key stay above.
        self.rest(lines.start..first, out);
        if let Some(first) = keys.first_mut() {
            first.lines.start = first.key;
        }
        keys.sort_by_key(|key| key.rank);
        let has_dash = first == lines.start;
        let dash = self.lines.get(first).and_then(|line| line.find('-')).unwrap_or_default();
        for (index, block) in keys.iter().enumerate() {
            for line in block.lines.clone() {
                let written = self.lines.get(line).copied().unwrap_or_default();
                let is_first = index == 0 && line == block.key;
                out.lines.push(match (has_dash, line == first, is_first) {
                    (true, true, false) => with_sign(written, dash, ' '),
                    (true, false, true) => with_sign(written, dash, '-'),
                    _ => Cow::Borrowed(written),
                });
            }
        }
        out.trim_blank();
        let id = match &rule.value {
            Yaml::Map(entries) => entries.iter().find(|(key, _)| key.value == "id"),
            _ => None,
        };
        if let Some((_, WithSpan { value: Yaml::Text(id), .. })) = id {
            out.changes.rules.push(id.clone());
        }
    }

    /// The blocks of the keys of a mapping within `lines`, in the order of the text. `None` if a key
    /// does not begin its line, or is unknown.
    fn blocks(
        &self,
        entries: &[(WithSpan<String>, WithSpan<Yaml>)],
        order: &[&str],
        lines: Range<usize>,
    ) -> Option<Vec<KeyBlock>> {
        let own = |(key, _): &&(WithSpan<String>, WithSpan<Yaml>)| {
            lines.contains(&self.line_of(key.span.start))
        };
        let mut keys: Vec<(usize, usize)> = Vec::new();
        let mut column = None;
        for (key, _) in entries.iter().filter(own) {
            let line = self.line_of(key.span.start);
            let at = key.span.start - self.start_of(line);
            let before = self.lines.get(line)?.get(..at)?;
            // A key that is merged has the place of its alias.
            if before.trim_start_matches([' ', '-']).starts_with(MERGE) {
                continue;
            }
            let is_first = before.chars().all(|c| c == ' ' || c == '-');
            if !is_first || *column.get_or_insert(at) != at {
                return None;
            }
            keys.push((order.iter().position(|known| *known == key.value)? * 2, line));
        }
        // Keys that are merged have their place elsewhere.
        for line in lines.clone().filter(|line| !self.verbatim.contains(line)) {
            let merges = self.lines.get(line).and_then(|line| line.get(column?..));
            if merges.is_some_and(|rest| rest.starts_with(MERGE)) {
                keys.push((1, line));
            }
        }
        keys.sort_by_key(|(_, line)| *line);
        if keys.windows(2).any(|pair| matches!(pair, [(_, a), (_, b)] if a == b)) {
            return None;
        }
        let mut blocks: Vec<KeyBlock> = Vec::new();
        for (rank, line) in keys {
            let above = self.comments_above(line).max(lines.start);
            if let Some(last) = blocks.last_mut() {
                last.lines.end = above;
            }
            blocks.push(KeyBlock { rank, lines: above..lines.end, key: line });
        }
        Some(blocks)
    }

    /// The first of the lines with comments directly above a line.
    fn comments_above(&self, mut line: usize) -> usize {
        let is_comment = |line: &usize| {
            !self.verbatim.contains(line)
                && self.lines.get(*line).is_some_and(|above| above.trim_start().starts_with('#'))
        };
        while line.checked_sub(1).is_some_and(|above| is_comment(&above)) {
            line -= 1;
        }
        line
    }

    fn line_of(&self, byte: usize) -> usize {
        line_of(&self.starts, byte)
    }

    fn start_of(&self, line: usize) -> usize {
        line.checked_sub(1).and_then(|line| self.starts.get(line)).copied().unwrap_or_default()
    }
}

/// The line with the sign at the byte `at`, which is a space or a dash.
fn with_sign(line: &str, at: usize, sign: char) -> Line<'_> {
    let mut line = line.to_owned();
    if line.get(at..at + 1).is_some_and(|c| c == " " || c == "-") {
        line.replace_range(at..at + 1, sign.encode_utf8(&mut [0; 4]));
    }
    Cow::Owned(line)
}

/// Collects the lines of texts over several lines, in which spaces at the end have a meaning.
fn text_lines(text: &str, starts: &[usize], tree: &WithSpan<Yaml>, lines: &mut BTreeSet<usize>) {
    match &tree.value {
        Yaml::List(items) => items.iter().for_each(|item| text_lines(text, starts, item, lines)),
        Yaml::Map(entries) => {
            entries.iter().for_each(|(_, value)| text_lines(text, starts, value, lines))
        }
        Yaml::Text(value) => {
            // The span of a block text ends where the next key begins.
            let written = text.get(tree.span.clone()).unwrap_or_default().trim_end();
            let first = line_of(starts, tree.span.start);
            let last = line_of(starts, tree.span.start + written.len());
            let is_block =
                !written.starts_with(['\'', '"']) && value.ends_with(char::is_whitespace);
            if last > first || is_block {
                lines.extend(first..=last);
            }
        }
        _ => {}
    }
}

/// The line of a byte, from 0. `starts` are the starts of all lines but the first.
fn line_of(starts: &[usize], byte: usize) -> usize {
    starts.partition_point(|start| *start <= byte)
}
