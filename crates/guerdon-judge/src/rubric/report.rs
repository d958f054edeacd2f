//! Errors and warnings about judge prompts, shown the way a compiler shows them: file, line, column, the line quoted.
//!
//! A diagnostic is rendered where it is made, while the text is at hand, so that a [`Report`] owns everything it says.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Whether a prompt can be used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Severity {
    /// The prompt does not load.
    Error,
    /// The prompt loads; look at it.
    Warning,
}

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Whether the prompt can be used all the same.
    pub severity: Severity,
    /// The prompt's name, as it was given to [`Prompts::compile`](crate::Prompts::compile).
    pub file: String,
    /// Counts from 1.
    pub line: usize,
    /// Counts characters from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to change.
    pub help: Option<String>,
    rendered: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered)
    }
}

/// What was found in a set of prompts. Errors mean that none of the set is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Whether at least one diagnostic is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }

    /// Everything found, in the order of the texts.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// A text that diagnostics point into.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// An error at `span`, a byte range of the text.
    pub(crate) fn error(&self, span: Range<usize>, message: impl Into<String>) -> Pending<'_> {
        Pending {
            source: *self,
            severity: Severity::Error,
            span,
            message: message.into(),
            help: None,
        }
    }

    /// A warning at `span`.
    pub(crate) fn warning(&self, span: Range<usize>, message: impl Into<String>) -> Pending<'_> {
        Pending { severity: Severity::Warning, ..self.error(span, message) }
    }
}

/// A diagnostic on its way into a report.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    source: Source<'a>,
    severity: Severity,
    span: Range<usize>,
    message: String,
    help: Option<String>,
}

impl Pending<'_> {
    /// What to change.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The nearest of `known` to `given`, if one is near.
    pub(crate) fn nearest<'k>(
        mut self,
        given: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Self {
        if let Some(near) = nearest(given, known) {
            self.help = Some(format!("did you mean `{near}`?"));
        }
        self
    }

    pub(crate) fn into(self, report: &mut Report) {
        let Self { source, severity, span, message, help } = self;
        let span = on_char_boundaries(source.text, span);
        let before = source.text.get(..span.start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;

        let level = match severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let snippet = Snippet::source(source.text)
            .path(source.file)
            .annotation(AnnotationKind::Primary.span(span));
        let group = level.primary_title(message.as_str()).element(snippet);
        let group = match &help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        };
        let rendered = Renderer::plain().render(&[group]);
        report.push(Diagnostic {
            severity,
            file: source.file.to_owned(),
            line,
            column,
            message,
            help,
            rendered,
        });
    }
}

/// The nearest of `known` to `given`, if it is likely a slip of the pen.
pub(crate) fn nearest<'k>(
    given: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(given, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Spans come from two parsers; a diagnostic must not panic over one that splits a character or leaves the text.
fn on_char_boundaries(text: &str, span: Range<usize>) -> Range<usize> {
    let floor = |at: usize| {
        (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
    };
    let start = floor(span.start);
    // A line's own end is not worth a second line of carets.
    let marked = text.get(start..floor(span.end).max(start)).unwrap_or_default();
    start..start + marked.trim_end_matches(['\r', '\n']).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_quotes_the_line_and_counts_characters() {
        let source = Source { file: "a.md", text: "一\n二三 pints\n" };
        let mut report = Report::default();
        source
            .error(11..16, "unknown key `pints`")
            .nearest("pints", ["name", "points"])
            .into(&mut report);
        let found = &report.diagnostics()[0];
        assert_eq!((found.line, found.column), (2, 4));
        let shown = report.to_string();
        assert!(shown.contains("a.md:2:4"), "{shown}");
        assert!(shown.contains("二三 pints"), "{shown}");
        assert!(shown.contains("^^^^^"), "{shown}");
        assert!(shown.contains("did you mean `points`?"), "{shown}");
    }

    #[test]
    fn a_span_beyond_the_text_or_inside_a_character_does_not_panic() {
        let source = Source { file: "a.md", text: "一" };
        let mut report = Report::default();
        source.error(1..99, "x").into(&mut report);
        source.warning(Range { start: 7, end: 3 }, "y").into(&mut report);
        assert!(report.has_errors());
    }
}
