//! Diagnostics of the loader as the protocol's, and their fixes as quick fixes.

use std::collections::HashMap;

use guerdon_text::{Diagnostic, Fix, Severity};
use ls_types::{
    CodeAction, CodeActionKind, DiagnosticSeverity, NumberOrString, Range, TextEdit, WorkspaceEdit,
};

use crate::documents::OpenDocument;
use crate::position::IndexedText;

/// The kind of the action that applies all fixes.
pub(crate) const FIX_ALL: CodeActionKind = CodeActionKind::new("source.fixAll.guerdon");

/// A diagnostic as a client shows it.
pub(crate) fn shown(found: &Diagnostic, text: &IndexedText) -> ls_types::Diagnostic {
    let mut message = found.message.clone();
    if let Some(label) = &found.label {
        message.push_str(": ");
        message.push_str(label);
    }
    if let Some(help) = &found.help {
        message.push_str("\nhelp: ");
        message.push_str(help);
    }
    ls_types::Diagnostic {
        range: range(found, text),
        severity: Some(match found.severity {
            Severity::Error => DiagnosticSeverity::ERROR,
            Severity::Warning => DiagnosticSeverity::WARNING,
        }),
        code: Some(NumberOrString::String(found.code.clone())),
        source: Some("guerdon".to_owned()),
        message,
        ..ls_types::Diagnostic::default()
    }
}

/// The marked part. An empty one is shown as the character at its place, or before the line's end.
fn range(found: &Diagnostic, text: &IndexedText) -> Range {
    let start = text.reported(found.line, found.column);
    let end = text.reported(found.end_line, found.end_column).max(start);
    if end > start {
        return text.range(&(start..end));
    }
    let line_end = |c: &char| matches!(c, '\n' | '\r');
    let after = text.text.get(start..).and_then(|rest| rest.chars().next());
    let before = text.text.get(..start).and_then(|rest| rest.chars().next_back());
    let bytes = match (after.filter(|c| !line_end(c)), before.filter(|c| !line_end(c))) {
        (Some(c), _) => start..start + c.len_utf8(),
        (None, Some(c)) => start - c.len_utf8()..start,
        (None, None) => start..start,
    };
    text.range(&bytes)
}

/// The quick fixes of the diagnostics that touch `range`, and the action that applies all fixes of
/// the document.
pub(crate) fn actions(
    found: &[Diagnostic],
    document: &OpenDocument,
    asked: Range,
) -> Vec<CodeAction> {
    let text = document.text();
    let touches = |range: Range| range.start <= asked.end && asked.start <= range.end;
    let mut actions = Vec::new();
    let mut edits: Vec<(std::ops::Range<usize>, TextEdit)> = Vec::new();
    for found in found {
        let Some(fix) = &found.fix else { continue };
        let (bytes, edit) = edit(fix, text);
        let marked = shown(found, text);
        if touches(marked.range) || touches(edit.range) {
            actions.push(CodeAction {
                title: title(fix, text.text.get(bytes.clone()).unwrap_or_default()),
                kind: Some(CodeActionKind::QUICKFIX),
                diagnostics: Some(vec![marked]),
                edit: Some(change(document, vec![edit.clone()])),
                is_preferred: Some(true),
                ..CodeAction::default()
            });
        }
        let overlaps =
            |other: &std::ops::Range<usize>| bytes.start <= other.end && other.start <= bytes.end;
        if !edits.iter().any(|(other, _)| overlaps(other)) {
            edits.push((bytes, edit));
        }
    }
    if !edits.is_empty() {
        let edits: Vec<TextEdit> = edits.into_iter().map(|(_, edit)| edit).collect();
        actions.push(CodeAction {
            title: format!("Apply all fixes of the pack ({})", edits.len()),
            kind: Some(FIX_ALL),
            edit: Some(change(document, edits)),
            ..CodeAction::default()
        });
    }
    actions
}

fn edit(fix: &Fix, text: &IndexedText) -> (std::ops::Range<usize>, TextEdit) {
    let bytes = text.reported_range(fix.range);
    let edit = TextEdit { range: text.range(&bytes), new_text: fix.replacement.clone() };
    (bytes, edit)
}

/// The longest part of a text that a title quotes, in characters.
const MAX_QUOTED: usize = 40;

fn title(fix: &Fix, replaced: &str) -> String {
    let quoted =
        |text: &str| format!("`{}`", guerdon_text::cut(&text.replace('\n', "⏎"), MAX_QUOTED));
    match (replaced.is_empty(), fix.replacement.is_empty()) {
        (true, _) => format!("Insert {}", quoted(&fix.replacement)),
        (_, true) => format!("Remove {}", quoted(replaced)),
        _ => format!("Replace {} with {}", quoted(replaced), quoted(&fix.replacement)),
    }
}

fn change(document: &OpenDocument, edits: Vec<TextEdit>) -> WorkspaceEdit {
    WorkspaceEdit {
        changes: Some(HashMap::from([(document.uri.clone(), edits)])),
        ..WorkspaceEdit::default()
    }
}
