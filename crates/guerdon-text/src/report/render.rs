//! Renders a finding with the line it is about.

use std::borrow::Cow;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use super::diagnostic::Severity;
use super::finding::Finding;
use crate::excerpt::floor_char_boundary;
use crate::source_text::Line;

/// The longest line that is quoted whole, in bytes.
const WHOLE_LINE: usize = 1_000;

/// Bytes that are quoted before and after the place in a longer line.
const AROUND: usize = 100;

/// A finding as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RenderedFinding {
    pub(super) plain: String,
    /// The same with a terminal's colours.
    pub(super) coloured: String,
}

impl RenderedFinding {
    pub(super) fn new(name: &str, line: &Line<'_>, finding: &Finding) -> Self {
        let level = match finding.code.severity() {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let (text, span) = excerpt(line);
        let mut caret = AnnotationKind::Primary.span(span);
        if let Some(label) = &finding.label {
            caret = caret.label(label.as_str());
        }
        let whole = matches!(text, Cow::Borrowed(_));
        let snippet = Snippet::source(text).line_start(line.location.line).annotation(caret);
        let title = level.primary_title(finding.message.as_str()).id(finding.code.id());
        let mut group = if whole {
            title.element(snippet.path(name))
        } else {
            let place = Origin::path(name).line(line.location.line);
            title.element(place.char_column(line.location.column)).element(snippet)
        };
        if let Some(help) = &finding.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let groups = [group];
        Self {
            plain: Renderer::plain().render(&groups),
            coloured: Renderer::styled().render(&groups),
        }
    }
}

/// The line with the span in it. Only the part around the span of a long line.
fn excerpt<'a>(line: &Line<'a>) -> (Cow<'a, str>, Range<usize>) {
    let Range { start, end } = line.span;
    if line.text.len() <= WHOLE_LINE {
        return (Cow::Borrowed(line.text), start..end);
    }
    let end = floor_char_boundary(line.text, end.min(start + AROUND));
    let from = floor_char_boundary(line.text, start.saturating_sub(AROUND));
    let to = floor_char_boundary(line.text, end + AROUND);
    let before = if from > 0 { "…" } else { "" };
    let after = if to < line.text.len() { "…" } else { "" };
    let part = line.text.get(from..to).unwrap_or_default();
    let shift = |at: usize| at - from + before.len();
    (Cow::Owned(format!("{before}{part}{after}")), shift(start)..shift(end))
}
