//! The builder of a diagnostic.

use std::borrow::Cow;
use std::ops::Range;

use super::diagnostic::Severity;
use crate::excerpt::cut;
use crate::suggest::nearest;

/// The code of a kind of diagnostic. A code keeps its meaning across versions, so that users can
/// search for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code {
    id: &'static str,
    severity: Severity,
}

impl Code {
    /// A code for errors, such as `R002`.
    #[must_use]
    pub const fn error(id: &'static str) -> Self {
        Self { id, severity: Severity::Error }
    }

    /// A code for warnings, such as `R101`.
    #[must_use]
    pub const fn warning(id: &'static str) -> Self {
        Self { id, severity: Severity::Warning }
    }

    /// The code as printed.
    #[must_use]
    pub const fn id(self) -> &'static str {
        self.id
    }

    /// The severity of every diagnostic with this code.
    #[must_use]
    pub const fn severity(self) -> Severity {
        self.severity
    }
}

/// A diagnostic that is being built. [`Report::add`](crate::Report::add) completes it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a finding is shown only once it is added to a report"]
pub struct Finding {
    pub(super) code: Code,
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) label: Option<String>,
    pub(super) help: Option<String>,
    /// The part of the text to replace, and its replacement.
    pub(super) fix: Option<Box<(Range<usize>, String)>>,
}

/// The longest replacement of a fix, in bytes. A longer one is not proposed.
const MAX_FIX: usize = 4_096;

impl Finding {
    /// A finding at `span`, a byte range of the text. Any span is accepted: it is clamped to the
    /// text, to character boundaries and to the line in which it starts. A crate may keep its codes
    /// in an enum of its own that converts into [`Code`].
    pub fn new(code: impl Into<Code>, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            span,
            message: message.into(),
            label: None,
            help: None,
            fix: None,
        }
    }

    /// Adds a remark about the quoted words, shown under them.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a proposed change, shown below the quoted line.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the replacement of a part of the text that removes the problem. Replacements of more
    /// than 4 KiB are left out.
    pub fn fix(mut self, span: Range<usize>, replacement: impl Into<String>) -> Self {
        let fix = Some((span, replacement.into())).filter(|(_, text)| text.len() <= MAX_FIX);
        self.fix = fix.map(Box::new);
        self
    }

    /// Proposes the entry of `known` nearest to `given`, in place of other help, and as a fix if
    /// the span is `given` as written. Changes nothing if none is near.
    pub fn nearest<'k>(mut self, given: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        if let Some(entry) = nearest(given, known) {
            self.help = Some(format!("did you mean `{entry}`?"));
            if self.span.len() == given.len() {
                return self.clone().fix(self.span, entry);
            }
        }
        self
    }

    /// Shortens every text to its first `max_chars` characters.
    pub(super) fn cut(&mut self, max_chars: usize) {
        let texts = [Some(&mut self.message), self.label.as_mut(), self.help.as_mut()];
        for text in texts.into_iter().flatten() {
            if let Cow::Owned(short) = cut(text, max_chars) {
                *text = short;
            }
        }
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The byte range of the text, as it was given.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The message and the label in one line, without the place.
    #[must_use]
    pub fn one_line(&self) -> String {
        match &self.label {
            Some(label) => format!("{}: {label}", self.message),
            None => self.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_stays_if_no_known_name_is_near() {
        let finding = Finding::new(Code::error("R002"), 0..0, "no key `x`").help("remove it");
        assert_eq!(finding.clone().nearest("x", ["points"]).help, finding.help);
        let nearest = finding.nearest("ponts", ["points"]);
        assert_eq!(nearest.help.as_deref(), Some("did you mean `points`?"));
        assert_eq!(nearest.fix, None, "the span is not the word");
        let word = Finding::new(Code::error("R002"), 2..7, "no key").nearest("ponts", ["points"]);
        assert_eq!(word.fix.as_deref(), Some(&(2..7, "points".to_owned())));
    }

    #[test]
    fn one_line_joins_message_and_label() {
        let finding = Finding::new(Code::warning("R101"), 0..0, "no `about`");
        assert_eq!(finding.one_line(), "no `about`");
        assert_eq!(finding.label("add one").one_line(), "no `about`: add one");
    }
}
