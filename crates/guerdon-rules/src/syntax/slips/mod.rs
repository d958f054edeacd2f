//! Explains why a text is not YAML. A YAML parser reports the place where it cannot continue, which
//! may be far below the mistake. A tolerant scan of the text lists the likely mistakes, and the one
//! whose effects reach the parser's place is reported.

mod brackets;
mod entries;
mod lines;
mod quotes;

use std::ops::Range;

use guerdon_text::Finding;

use crate::syntax::codes::PackCode;

/// A likely mistake.
#[derive(Debug, Clone)]
struct Slip {
    /// The part of the text to mark.
    at: Range<usize>,
    /// The part in which a parser may notice it.
    reach: Range<usize>,
    message: String,
    help: String,
    fix: Option<(Range<usize>, String)>,
}

/// The finding for a text at whose byte `stop` a parser gave up, if the mistake is found.
pub(super) fn explain(text: &str, stop: usize) -> Option<Finding> {
    let stop = stop.min(text.len());
    let slips = SlipScan::new(text).run();
    let slip = slips
        .into_iter()
        .filter(|slip| slip.reach.start <= stop && stop <= slip.reach.end)
        .min_by_key(|slip| slip.at.start)?;
    let finding =
        Finding::new(PackCode::Syntax, slip.at, format!("not valid YAML: {}", slip.message))
            .help(slip.help);
    Some(match slip.fix {
        Some((span, replacement)) => finding.fix(span, replacement),
        None => finding,
    })
}

/// A position in the text, with the mistakes found so far.
struct SlipScan<'t> {
    text: &'t str,
    at: usize,
    slips: Vec<Slip>,
}

/// The number of mistakes after which a scan ends.
const MAX_SLIPS: usize = 1_000;

impl<'t> SlipScan<'t> {
    /// Returns true if the scan has found enough.
    const fn is_full(&self) -> bool {
        self.slips.len() >= MAX_SLIPS
    }

    const fn new(text: &'t str) -> Self {
        Self { text, at: 0, slips: Vec::new() }
    }

    /// The text from the position on.
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The text from the position to the end of its line.
    fn line(&self) -> &'t str {
        let rest = self.rest();
        rest.get(..rest.find('\n').unwrap_or(rest.len())).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// The start of the line of `byte`.
    fn line_start(&self, byte: usize) -> usize {
        self.text.get(..byte).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1)
    }

    /// The end of the line of `byte`, without its line break.
    fn line_end(&self, byte: usize) -> usize {
        let rest = self.text.get(byte..).unwrap_or_default();
        byte + rest.find('\n').unwrap_or(rest.len())
    }

    /// The end of the line after that of `byte`.
    fn next_line_end(&self, byte: usize) -> usize {
        let end = self.line_end(byte);
        if end < self.text.len() { self.line_end(end + 1) } else { end }
    }

    /// Adds a mistake that a parser notices in its line, the line before or the line after.
    fn slip(&mut self, at: Range<usize>, message: &str, help: impl Into<String>) -> &mut Slip {
        let before = self.line_start(self.line_start(at.start).saturating_sub(1));
        let reach = before..self.next_line_end(at.end);
        self.slip_within(at, reach, message, help)
    }

    fn slip_within(
        &mut self,
        at: Range<usize>,
        reach: Range<usize>,
        message: &str,
        help: impl Into<String>,
    ) -> &mut Slip {
        let slip = Slip { at, reach, message: message.to_owned(), help: help.into(), fix: None };
        self.slips.push(slip);
        let last = self.slips.len() - 1;
        &mut self.slips[last]
    }
}

/// `text` as a YAML text in single quotes.
fn single_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The length of a value that ends at a comment or at the end of its line.
fn value_length(line: &str) -> usize {
    let end = line.find(" #").unwrap_or(line.len());
    line.get(..end).unwrap_or_default().trim_end().len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_line_of_anchors_and_open_brackets_ends() {
        for text in ["a: & & & ".repeat(50_000), "a: [\n".repeat(50_000), "['x', ".repeat(50_000)] {
            let _ = explain(&text, text.len());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_scanned_without_panic(
            text in "([\\[\\]{}'\"#:,&*!|>=：\\\\\t\r -]|\n|a|价|- a: ){0,60}",
            stop in 0_usize..99,
        ) {
            let _ = explain(&text, stop);
        }
    }
}
