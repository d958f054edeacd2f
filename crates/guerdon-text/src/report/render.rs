//! Renders a finding with the line it is about.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::diagnostic::Severity;
use super::finding::Finding;
use crate::source_text::Line;

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
        let mut caret = AnnotationKind::Primary.span(line.span.clone());
        if let Some(label) = &finding.label {
            caret = caret.label(label.as_str());
        }
        let snippet =
            Snippet::source(line.text).line_start(line.location.line).path(name).annotation(caret);
        let mut group =
            level.primary_title(finding.message.as_str()).id(finding.code.id()).element(snippet);
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
